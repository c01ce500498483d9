"""Your own labels: a table with one row per picture."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from alm.constants import UNKNOWN
from alm.inference.image_io import SUFFIXES
from utils.data.catalog import read_names
from utils.errors import DataError
from utils.io.phrases import counted, nearest
from utils.io.table import read_rows
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
    positive: str | None = None,
    unknown: str | None = None,
    split_column: str | None = None,
) -> Table:
    """Return the pictures, labels and attributes of a table.

    The first column has the pictures, and each other column an attribute's labels (0, 1, 2, true, false, yes,
    no), under a header with the attributes' names. Or the second column has all labels, joined by commas, and
    `attributes_file` the names. If there is a header beside that file, the file chooses among the columns.
    `negative`, `positive` and `unknown` are the words for no, yes and unknown, in place of the usual ones;
    `split_column` is the column with train, val or test. Raises DataError, naming the file and the line, also
    if a column does not tell which of its words means yes (see check_coding).
    """
    lines = [(number, without_empty_end(cells)) for number, cells in read_rows(path)]
    if not lines:
        raise DataError(f"{path} is empty; give a table with a row for each picture")
    header = None
    if not is_picture(lines[0][1][0]):
        header = [" ".join(title.split()) for title in lines.pop(0)[1]]
    if not lines:
        raise DataError(f"{path} has a header and no pictures; give a row for each picture")
    layout = find_layout(path, header, lines[0][1], attributes_file, split_column)
    own = {plain(word): label for label, word in enumerate((negative, positive, unknown)) if word is not None}
    meanings = {word: label for word, label in LABELS.items() if label not in own.values()} | own
    line_of: dict[str, int] = {}
    words: list[Counter[str]] = [Counter() for _ in layout.attributes]
    labels, parts = [], []
    for number, cells in lines:
        try:
            name, values, part = read_row(cells, layout, meanings)
            if name in line_of:
                raise DataError(f"{name} is on line {line_of[name]} already; keep one of the two")
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        line_of[name] = number
        labels.append([meanings[value] for value in values])
        parts.append(part)
        for known, value in zip(words, values, strict=True):
            known[value] += 1
    if len(own) < 2:
        for attribute, known in zip(layout.attributes, words, strict=True):
            check_coding(path, attribute, known, meanings, own)
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


def without_empty_end(cells: list[str]) -> list[str]:
    return cells[: max(index for index, cell in enumerate(cells, start=1) if cell)]


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
        raise DataError(
            f"{path}: no labels behind the pictures; separate the columns by commas, semicolons or tabs"
        )
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


def check_coding(
    path: str | Path, attribute: str, words: Counter[str], meanings: Mapping[str, int], own: Mapping[str, int]
) -> None:
    """Raise DataError if the words of a column, with their numbers of lines, do not tell no from yes.

    Market-1501's and Duke's annotations have 1 for no and 2 for yes, others 0 for unknown, or three classes.
    So a 2 is taken for unknown only if it is rarer than no and than yes, and a 1 alone for yes only if the
    user has named a word, as `own` has it.
    """
    count: Counter[int] = Counter()
    for word, lines in words.items():
        count[meanings[word]] += lines
    if count[UNKNOWN] >= max(1, min(count[0], count[1])) or (words.keys() == {"1"} and not own):
        shown = ", ".join(f"{word} on {counted(words[word], 'line')}" for word in sorted(words))
        raise DataError(
            f"{path}: {attribute} is {shown}, which does not tell no from yes; name the words: --negative 1 "
            "--positive 2 (and --unknown 0 if 0 is unknown), or --negative 0 --positive 1 if 2 is unknown; "
            "if they are classes, give each class a column of its own"
        )


def read_row(
    cells: list[str], layout: Layout, meanings: Mapping[str, int]
) -> tuple[str, list[str], str | None]:
    """Return a row's picture, the words of its labels, and what it is for. DataError as in read_table."""
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
    words = [plain(value) for value in values]
    for attribute, word in zip(layout.attributes, words, strict=True):
        if word not in meanings:
            raise DataError(label_fault(attribute, word, meanings))
    return name, words, None if layout.split is None else read_part(cells[layout.split])


def label_fault(attribute: str, word: str, meanings: Mapping[str, int]) -> str:
    known = ", ".join(other + " (unknown)" * (label == UNKNOWN) for other, label in meanings.items())
    remedy = "choose the columns of labels with --attributes FILE"
    if word == "-1":
        remedy = "if -1 means no, add --negative -1"
    return f"{attribute} is {word!r}, and a label is one of {known}; {remedy}"


def plain(value: str) -> str:
    """Return a cell as words are compared: in lower case, whole numbers without a fraction."""
    return re.sub(r"[.,]0+$", "", value.strip().lower())


def read_part(value: str) -> str:
    if value.lower() not in PARTS:
        raise DataError(f"the split is {value!r}; write train, val or test")
    return PARTS[value.lower()]
