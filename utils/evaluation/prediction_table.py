"""Predictions files: CSV with a line a picture, its path and a number for each attribute of the header."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from alm.errors import AlmError
from utils.data.catalog import one_spelling
from utils.io.atomic import whole_file
from utils.io.untrusted import read_text

DELIMITERS = (",", "\t", ";")
NAMED = 5  # of many pictures
DIGITS = 9  # that give a float32 back
SCALES = ("auto", "logits", "probabilities")


@dataclass(frozen=True)
class PredictionsFile:
    """The text of a predictions file: `columns`, the header behind its first cell, and of each picture its
    path in `names`, its line number in `lines`, and its `cells`, one for each column.
    """

    path: str
    columns: list[str]
    names: list[str]
    lines: list[int]
    cells: list[list[str]]


def write_predictions(
    path: str | Path, names: Sequence[str], attributes: Sequence[str], logits: np.ndarray
) -> None:
    """Write pictures' paths and logits (N, K), whole or not at all, with the digits of a float32.

    Raises OSError, naming the file.
    """
    with whole_file(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *attributes])
        for name, row in zip(names, logits.tolist(), strict=True):
            writer.writerow([name, *(f"{logit:.{DIGITS}g}" for logit in row)])


def read_predictions(path: str | Path) -> PredictionsFile:
    """Read a predictions file, ours or any other program's: separated by commas, tabs or semicolons, the path
    in the first column, whatever it is called.

    Raises AlmError, naming the line, where there is no header, or a line has other cells than it;
    DataError where the file cannot be read or is not text.
    """
    text = read_text(path)
    first = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(DELIMITERS, key=first.count))
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise AlmError(f"{path}:{reader.line_num}: not a CSV file ({error})") from error
    if len(rows) < 2:
        raise AlmError(f"{path} has no predictions; give a CSV with a header and a line a picture")
    (first_line, (_, *columns)), *rows = rows
    columns = [column.strip() for column in columns]
    if not columns or all(map(is_number, columns)):
        raise AlmError(f"{path}:{first_line}: this is no header; name the columns there, as in path,Hat,Male")
    for column, count in Counter(columns).items():
        if count > 1:
            raise AlmError(f"{path}:{first_line}: {count} columns are called {column!r}; keep one")
    for line, row in rows:
        if len(row) != len(columns) + 1:
            raise AlmError(
                f"{path}:{line}: {len(row)} cells, where the header has {len(columns) + 1}; give each "
                "picture a number for each attribute"
            )
    lines, rows = zip(*rows, strict=True)
    names = [row[0].strip() for row in rows]
    return PredictionsFile(str(path), columns, names, list(lines), [row[1:] for row in rows])


def numbers_of(file: PredictionsFile, spellings: Iterable[Sequence[str]]) -> np.ndarray:
    """Return the columns of K attributes, float64 (N, K), in the file's order of pictures.

    `spellings` has an attribute's names, of which the first that is there counts. Raises AlmError
    where none is, or a cell is NaN or no number.
    """
    places = {column: k for k, column in enumerate(file.columns)}
    chosen = []
    for known_as in spellings:
        found = [places[name] for name in known_as if name in places]
        if not found:
            nearest = get_close_matches(known_as[0], file.columns, 1)
            hint = f" ({nearest[0]!r} is the nearest)" if nearest else ""
            raise AlmError(
                f"{file.path} has no column {known_as[0]!r}{hint}; name the columns as the attributes are"
            )
        chosen.append(found[0])
    cells = [[row[k] for k in chosen] for row in file.cells]
    try:
        values = np.array([[float(cell) for cell in row] for row in cells])
    except ValueError:
        values = None
    if values is None or np.isnan(values).any():
        raise AlmError(cell_fault(file, chosen, cells))
    return values


def cell_fault(file: PredictionsFile, chosen: list[int], cells: list[list[str]]) -> str:
    """Return what is wrong with cells that are NaN or no numbers: how many, and the first of them."""
    faults = [
        (line, file.columns[k], cell)
        for line, row in zip(file.lines, cells, strict=True)
        for k, cell in zip(chosen, row, strict=True)
        if not is_number(cell)
    ]
    line, column, cell = faults[0]
    return (
        f"{file.path}:{line}: {cell[:40]!r} in the column {column!r} is no number, the first of "
        f"{len(faults)} such cells; predict a number for each attribute of each picture"
    )


def is_number(text: str) -> bool:
    """Whether a text is a number, and not NaN."""
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def in_list_order(file: PredictionsFile, names: Sequence[str], list_path: str | Path) -> list[int]:
    """Return for each picture of a list where it is in the file.

    Paths are the same however the separators and PETA's directory are spelt. Raises AlmError where
    pictures are missing, or not in the list, or either has one twice.
    """
    listed, given = [one_spelling(name) for name in names], [one_spelling(name) for name in file.names]
    refuse(repeated(listed), f"{list_path} has", "more than once; keep one line of each")
    refuse(repeated(given), f"{file.path} has", "more than once; keep one line of each")
    row_of = {name: row for row, name in enumerate(given)}
    remedy = "; give the list that was evaluated"
    refuse([name for name in listed if name not in row_of], f"{file.path} lacks", f"of {list_path}{remedy}")
    known = set(listed)
    refuse(
        [name for name in given if name not in known], f"{file.path} has", f"that {list_path} lacks{remedy}"
    )
    return [row_of[name] for name in listed]


def predicted(values: np.ndarray, scale: str, path: str, option: str) -> np.ndarray:
    """Return where attributes are predicted, bool (N, K): a logit above 0, or a probability above 0.5.

    `scale` is one of SCALES; "auto" takes numbers for logits where any is negative. Raises AlmError
    where none is, which `option` would decide, or a probability is not from 0 to 1.
    """
    if scale == "auto" and values.min() >= 0:
        raise AlmError(
            f"{path}: no number is negative, so these may be probabilities, predicted above 0.5, or logits, "
            f"predicted above 0; say which with {option} probabilities or {option} logits"
        )
    if scale == "probabilities" and (values.min() < 0 or values.max() > 1):
        wrong = values[(values < 0) | (values > 1)]
        raise AlmError(
            f"{path}: {len(wrong)} numbers are no probabilities, {wrong[0]:g} the first of them; logits are "
            f"{option} logits"
        )
    return values > (0.5 if scale == "probabilities" else 0)


def repeated(names: Sequence[str]) -> list[str]:
    """Return the names that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def refuse(names: Sequence[str], before: str, after: str) -> None:
    """Raise AlmError about pictures, if there are any: how many, and the first five of them."""
    if names:
        first = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        pictures = "1 picture" if len(names) == 1 else f"{len(names)} pictures"
        raise AlmError(f"{before} {pictures} {after}: {first}")
