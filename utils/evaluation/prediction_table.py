"""Predictions files: CSV with one line per picture, its path and one number per attribute of the header."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.constants import THRESHOLD
from alm.errors import AlmError
from utils.data.catalog import one_spelling
from utils.io.atomic import whole_file
from utils.io.phrases import counted, first_few, nearest
from utils.io.table import is_number, number, read_rows

FOUND, LEVEL = "found", "level"  # with an attribute before it, columns of what predict.py writes
SCALES = ("auto", "logits", "probabilities")
ROUNDING = 1e-6  # a probability may be so far outside of 0 to 1
FEW = 0.01  # fewer negative numbers than this share may be marks or mistakes among probabilities


@dataclass(frozen=True)
class PredictionsFile:
    """The text of a predictions file.

    Attributes:
        columns: the header without its first cell.
        names, lines: each picture's path, and the number of its line.
        cells: each picture's cells, one per column.
    """

    path: str
    columns: list[str]
    names: list[str]
    lines: list[int]
    cells: list[list[str]]


def write_predictions(
    path: str | Path, names: Sequence[str], attributes: Sequence[str], logits: np.ndarray
) -> None:
    """Write pictures' paths and logits (N, K) with the digits of a float32, whole or not at all.

    Raises OSError, naming the file.
    """
    with whole_file(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *attributes])
        for name, row in zip(names, logits.tolist(), strict=True):
            writer.writerow([name, *(f"{logit:.9g}" for logit in row)])  # gives a float32 back


def read_predictions(path: str | Path) -> PredictionsFile:
    """Read a predictions file, ours or any other program's. The first column holds the path, whatever its
    name is.

    Raises AlmError, naming the line, if there is no header or a line has another number of cells; DataError
    as read_rows does.
    """
    rows = read_rows(path)
    if len(rows) < 2:
        raise AlmError(f"{path} has no predictions; give a CSV with a header and one line per picture")
    (first_line, (_, *columns)), *rows = rows
    columns = [" ".join(column.split()) for column in columns]
    if not columns or all(map(is_number, columns)):
        raise AlmError(f"{path}:{first_line}: this is no header; name the columns in it, as in path,Hat,Male")
    for column, count in Counter(columns).items():
        if count > 1:
            raise AlmError(f"{path}:{first_line}: {count} columns are called {column!r}; keep one")
    for line, row in rows:
        if len(row) != len(columns) + 1:
            raise AlmError(
                f"{path}:{line}: {len(row)} cells, but the header has {len(columns) + 1}; give each "
                "picture one number per attribute"
            )
    lines, rows = zip(*rows, strict=True)
    names = [row[0] for row in rows]
    return PredictionsFile(str(path), columns, names, list(lines), [row[1:] for row in rows])


def numbers_of(file: PredictionsFile, spellings: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the columns of K attributes, float64 (N, K), in the file's order of pictures.

    `spellings` has the names of each attribute; the first one that the file has counts. Raises AlmError if it
    lacks any, or if a cell is no finite number.
    """
    places = {column: k for k, column in enumerate(file.columns)}
    columns = [next((places[name] for name in names if name in places), None) for names in spellings]
    if absent := [names[0] for names, column in zip(spellings, columns, strict=True) if column is None]:
        similar = nearest(absent[0], file.columns, 0.6)
        hint = f" ({similar!r} is the nearest)" if similar else ""
        others = f", nor of {counted(len(absent) - 1, 'other attribute')}" if absent[1:] else ""
        raise AlmError(
            f"{file.path} has no column {absent[0]!r}{hint}{others}; name each column as its attribute"
        )
    cells = [[row[k] for k in columns] for row in file.cells]
    try:
        values = np.array([[number(cell) for cell in row] for row in cells])
    except ValueError:
        values = None
    if values is not None and np.isfinite(values).all():
        return values
    faults = [
        (line, file.columns[k], cell)
        for line, row in zip(file.lines, cells, strict=True)
        for k, cell in zip(columns, row, strict=True)
        if not is_number(cell)
    ]
    line, column, cell = faults[0]
    raise AlmError(
        f"{file.path}:{line}: {cell[:40]!r} in the column {column!r} is no finite number, the first of "
        f"{len(faults)} such cells; give each picture one number per attribute"
    )


def is_of_predict(file: PredictionsFile, spellings: Sequence[Sequence[str]]) -> bool:
    """Whether the file has columns that only predict.py writes; version 1.1 wrote LEVEL alone."""
    columns = set(file.columns)
    return any(
        all(any(f"{name} {word}" in columns for name in names) for names in spellings)
        for word in (FOUND, LEVEL)
    )


def in_list_order(file: PredictionsFile, names: Sequence[str], list_path: str | Path) -> list[int]:
    """Return each listed picture's index in the file.

    Two spellings of the separators, or of PETA's directory, are one path. Raises AlmError if the file lacks
    pictures or has others, or if either has one twice.
    """
    listed, in_file = [one_spelling(name) for name in names], [one_spelling(name) for name in file.names]
    for path, paths in ((list_path, listed), (file.path, in_file)):
        twice = [name for name, count in Counter(paths).items() if count > 1]
        refuse(twice, f"{path} has", "more than once; keep one line of each")
    index_of = {name: index for index, name in enumerate(in_file)}
    remedy = "give the list that was evaluated, or predict the pictures of this one with predict.py LIST"
    known = set(listed)
    others = [name for path, name in zip(in_file, file.names, strict=True) if path not in known]
    also = f" has paths such as {others[0]}, and" if others else ""
    lacking = [name for name in listed if name not in index_of]
    refuse(lacking, f"{file.path}{also} lacks", f"of {list_path}; {remedy}")
    refuse(others, f"{file.path} has", f"that {list_path} lacks; {remedy}")
    return [index_of[name] for name in listed]


def refuse(names: Sequence[str], before: str, after: str) -> None:
    if names:
        raise AlmError(f"{before} {counted(names, 'picture')} {after}: {first_few(names)}")


def predicted(
    file: PredictionsFile, spellings: Sequence[Sequence[str]], scale: str, option: str
) -> np.ndarray:
    """Return which of K attributes are predicted, bool (N, K): a logit above 0, or a probability above 0.5.

    `scale` is one of SCALES; with "auto", the numbers are probabilities if predict.py wrote them, logits if
    more than FEW are negative. Raises AlmError if neither is so, which `option` would decide, or if a
    probability is not from 0 to 1; and what `numbers_of` raises.
    """
    values, path = numbers_of(file, spellings), file.path
    if scale == "auto" and is_of_predict(file, spellings):
        scale = "probabilities"
    if scale == "auto" and (values < -ROUNDING).mean() < FEW:
        raise AlmError(
            f"{path}: hardly any number is negative, so these may be probabilities, predicted above 0.5, or "
            f"logits, predicted above 0; say which with {option} probabilities or {option} logits"
        )
    wrong = values[(values < -ROUNDING) | (values > 1 + ROUNDING)]
    if scale == "probabilities" and len(wrong):
        raise AlmError(
            f"{path}: {wrong[0]:g} is no probability, the first of {len(wrong)} such numbers; "
            f"if they are logits, say {option} logits"
        )
    return values > (THRESHOLD if scale == "probabilities" else 0)
