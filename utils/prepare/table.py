"""Your own labels: a table with one row per picture, its columns separated by commas or tabs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from alm.constants import UNKNOWN
from alm.inference.image_io import SUFFIXES
from utils.data.catalog import read_names
from utils.errors import DataError
from utils.io.phrases import counted, nearest
from utils.io.untrusted import read_text
from utils.prepare.lists import DataSet, Rows, check_attributes, check_choice

LABELS = {"0": 0, "false": 0, "no": 0, "1": 1, "true": 1, "yes": 1, "2": UNKNOWN}
PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
         "test": "test", "testing": "test"}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table's N pictures and K attributes; `parts` says what each picture is for, if a column does."""

    rows: Rows
    attributes: tuple[str, ...]
    parts: list[str] | None = None


@dataclass(frozen=True)
class Layout:
    """Where a table has what: the columns of its labels and of the split, and the attributes' names.

    If `joined`, one column holds the labels of all attributes, separated by commas.
    """

    width: int
    columns: list[int]
    attributes: tuple[str, ...]
    joined: bool
    split: int | None


def read_table(
    path: str | Path,
    attributes_file: str | Path | None = None,
    *,
    negative: str | None = None,
    split_column: str | None = None,
) -> Table:
    """Return the pictures, labels and attributes of a table.

    The first column has the pictures, and each other column an attribute's labels (0, 1, 2, true, false, yes,
    no), under a header with the attributes' names. Or the second column has all labels, joined by commas, and
    `attributes_file` the names. If there is a header beside that file, the file chooses among the columns.
    `negative` is the word for no, in place of the usual ones; `split_column` is the column with train, val or
    test. Raises DataError, naming the file and the line.
    """
    lines = read_cells(path)
    header = None if is_picture(lines[0][1][0]) else lines.pop(0)[1]
    if not lines:
        raise DataError(f"{path} has a header and no pictures; give a row for each picture")
    layout = find_layout(path, header, lines[0][1], attributes_file, split_column)
    meanings = LABELS if negative is None else meanings_with(negative)
    line_of: dict[str, int] = {}
    labels, parts = [], []
    for number, cells in lines:
        try:
            name, values, part = read_row(cells, layout, meanings)
            if name in line_of:
                raise DataError(f"{name} is on line {line_of[name]} already; keep one of the two")
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        line_of[name] = number
        labels.append(values)
        parts.append(part)
    rows = Rows(list(line_of), np.array(labels, np.uint8))
    return Table(rows, layout.attributes, None if layout.split is None else parts)


def table_data_set(table: Table, parts: Mapping[str, Sequence[int]] | None = None) -> DataSet:
    """Return the data set of a table; `parts` are indices of its rows, by default what its column says."""
    if parts is None:
        parts = {
            part: [i for i, other in enumerate(table.parts) if other == part]
            for part in ("train", "val", "test")
            if part in table.parts
        }
    if "train" not in parts:
        raise DataError("the split column has no picture for training; write train for those")
    lists = {part: table.rows.take(indices) for part, indices in parts.items()}
    return DataSet("custom", table.attributes, lists, list_name="{part}.txt", names_file="attributes.txt")


def read_cells(path: str | Path) -> list[tuple[int, list[str]]]:
    """Return a table's rows, each with its line number, without blank ones and empty cells at the end."""
    text = read_text(path)
    first = next((line for line in text.split("\n") if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in first else ",")
    rows = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}; save the table again") from None
    if not rows:
        raise DataError(f"{path} is empty; give a table with a row for each picture")
    return rows


def is_picture(cell: str) -> bool:
    return PurePath(cell.replace("\\", "/")).suffix.lower() in SUFFIXES


def find_layout(
    path: str | Path,
    header: list[str] | None,
    first: list[str],
    attributes_file: str | Path | None,
    split_column: str | None,
) -> Layout:
    """Return where a table has what, from its header, its first row and the options."""
    width = len(header or first)
    split = None if split_column is None else find_column(path, header, split_column)
    columns = [column for column in range(1, width) if column != split]
    if not columns:
        raise DataError(f"{path}: no labels behind the pictures; separate the columns by commas or tabs")
    names = None if attributes_file is None else read_names(attributes_file)
    joined = len(columns) == 1 and "," in "".join(first[columns[0] : columns[0] + 1])
    if not joined and header:
        titles = [header[column] for column in columns]
        if names is not None:
            check_choice(names, titles, f"the header of {path}")
            columns = [columns[titles.index(name)] for name in names]
        names = names or titles
    elif names is None:
        fault = "one cell of labels" if joined else "no header"
        raise DataError(f"{path} has {fault}; give the attributes' names with --attributes FILE")
    elif not joined and len(names) != len(columns):
        raise DataError(
            f"{path} has {len(columns)} columns of labels, but {attributes_file} {len(names)} names; "
            "give one for each"
        )
    check_attributes(names, f"the header of {path}")
    return Layout(width, columns, tuple(names), joined, split)


def find_column(path: str | Path, header: list[str] | None, name: str) -> int:
    if header is None:
        raise DataError(f"{path} has no header, so no column {name!r}; give it a header")
    if name not in header[1:]:
        raise DataError(
            f"{path} has no column {name!r} behind the pictures; the nearest is {nearest(name, header[1:])!r}"
        )
    return header.index(name, 1)


def meanings_with(negative: str) -> dict[str, int]:
    """Return what words mean if `negative`, and nothing else, means no."""
    return {word: label for word, label in LABELS.items() if label} | {plain(negative): 0}


def read_row(
    cells: list[str], layout: Layout, meanings: Mapping[str, int]
) -> tuple[str, list[int], str | None]:
    """Return a row's picture, its labels, and what it is for. DataError as in read_table."""
    name = cells[0].replace("\\", "/").removeprefix("./")
    if not is_picture(name):
        raise DataError(f"{name!r} is no picture ({', '.join(sorted(SUFFIXES))}); name one")
    cells = cells + [""] * (layout.width - len(cells))
    if len(cells) > layout.width:
        raise DataError(f"{len(cells)} cells, but the first line has {layout.width}; give as many")
    values = [cells[column] for column in layout.columns]
    if not any(values):
        raise DataError(f"{name} has no labels; write them, or delete the line")
    if layout.joined:
        values = [value.strip() for value in values[0].removesuffix(",").split(",")]
        if len(values) != len(layout.attributes):
            raise DataError(
                f"{counted(values, 'label')} for {counted(layout.attributes, 'attribute')}; give one for each"
            )
    labels = [
        read_label(value, attribute, meanings)
        for value, attribute in zip(values, layout.attributes, strict=True)
    ]
    return name, labels, None if layout.split is None else read_part(cells[layout.split])


def read_label(value: str, attribute: str, meanings: Mapping[str, int]) -> int:
    label = meanings.get(plain(value))
    if label is None:
        known = ", ".join(meanings)
        hint = "; if -1 means no, add --negative -1" if plain(value) == "-1" else ""
        raise DataError(f"{attribute} is {value!r}, and a label is one of {known} (2 is unknown){hint}")
    return label


def plain(value: str) -> str:
    """Return a cell as words are compared: in lower case, whole numbers without a fraction."""
    return value.strip().lower().removesuffix(".0")


def read_part(value: str) -> str:
    if value.lower() not in PARTS:
        raise DataError(f"the split is {value!r}; write train, val or test")
    return PARTS[value.lower()]
