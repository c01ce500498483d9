"""What the official .mat files have in common: names, labels, and parts given by row numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alm.constants import UNKNOWN
from utils.data.attributes import Attribute
from utils.errors import DataError
from utils.io.phrases import counted, nearest
from utils.prepare.lists import (
    ALL,
    DataSet,
    Rows,
    check_attributes,
    check_choice,
    name_experiment,
    named,
)
from utils.prepare.matlab import read_matlab

# Data set -> its subcommand of prepare_data.py, and the variable and fields that only it has.
COMMANDS = {"PETA": "peta", "RAPv1": "rap", "RAPv2": "rap", "PA-100K": "pa100k"}
SIGNS = {
    "PETA": ("peta", ("data", "attribute")),
    "RAPv1": ("RAP_annotation", ("imagesname", "label")),
    "RAPv2": ("RAP_annotation", ("name", "data")),
}
PARTS = ("train", "val", "test")
PA100K_VARIABLES = tuple(f"{part}_{what}" for part in PARTS for what in ("images_name", "label"))


@dataclass(frozen=True)
class Annotation:
    """A data set's annotation: N pictures, the values of all C columns, and its splits.

    `names` are the pictures' paths; `values` is (N, C), `attributes` names its columns and `default` has the
    indices of those that are used. `partitions` are splits: part ("train", "val", "test") -> row indices
    from 0, in the file's order. `aliases` are other names of attributes.
    """

    kind: str
    path: Path
    names: list[str]
    values: np.ndarray
    attributes: list[str]
    default: list[int]
    partitions: list[dict[str, np.ndarray]]
    aliases: dict[str, str] = field(default_factory=dict)

    def columns(self, given: Sequence[str] | None) -> list[int]:
        """Return the columns of the attributes given with --attributes, by default those that are used."""
        if given is None:
            return self.default
        if list(given) == [ALL]:
            return list(range(len(self.attributes)))
        chosen = named(given)
        check_choice(chosen, [*self.attributes, *self.aliases], str(self.path))
        return [self.attributes.index(self.aliases.get(name, name)) for name in chosen]

    def labels(self, columns: Sequence[int]) -> np.ndarray:
        """Return the labels of these columns, uint8 (N, K). DataError where one is none of 0, 1 and 2."""
        values = self.values[:, columns]
        wrong = ~np.isin(values, (0, 1, UNKNOWN))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{self.path}: {self.attributes[columns[column]]} is {values[row, column]:g} in row "
                f"{row + 1}, and a label is 0, 1 or 2; leave this attribute out of --attributes"
            )
        return values.astype(np.uint8)

    def parts(self, partition: int, separate_val: bool) -> dict[str, np.ndarray]:
        """Return the row indices of "train" and "test" of a partition; pictures for validation belong to
        "train", behind the others, as in the published lists, or to "val" if `separate_val`.
        """
        if partition >= len(self.partitions):
            raise DataError(
                f"{self.path} has {counted(self.partitions, 'partition')}, counted from 0; there is no "
                f"partition {partition}"
            )
        parts = dict(self.partitions[partition])
        for part in ("train", "test"):
            if part not in parts:
                raise DataError(f"{self.path}: partition {partition} has no {part} part; get the file anew")
        if "val" in parts and not separate_val:
            parts["train"] = np.concatenate([parts["train"], parts.pop("val")])
        elif separate_val and "val" not in parts:
            raise DataError(f"{self.path} has no pictures for validation; leave --separate-val out")
        return {part: parts[part] for part in PARTS if part in parts}


def recognize(path: str | Path, *expected: str) -> tuple[str, dict]:
    """Return which data set a .mat file annotates, one of those expected, and its variables.

    It is told by the names of variables and fields. Raises DataError naming what it is where it is another
    data set's, or none.
    """
    variables = read_matlab(path)
    kind = kind_of(variables)
    if kind is None:
        names = ", ".join(sorted(variables)[:8]) or "no variables"
        raise DataError(
            f"{path} annotates none of PETA, RAP and PA-100K: it holds {names}; name another file"
        )
    if kind not in expected:
        way = (
            f"use prepare_data.py {COMMANDS[kind]}"
            if COMMANDS[kind] != COMMANDS[expected[0]]
            else f"get {expected[0]}'s file, which has the same name, or ask for this one with --version"
        )
        raise DataError(f"{path} is the annotation of {kind}, not of {' or '.join(expected)}; {way}")
    return kind, variables


def kind_of(variables: dict) -> str | None:
    """Return the data set whose variables these are, or None."""
    for kind, (variable, fields) in SIGNS.items():
        struct = variables.get(variable)
        if isinstance(struct, dict) and any(name in struct for name in fields):
            return kind
    return "PA-100K" if sum(name in variables for name in PA100K_VARIABLES) >= 2 else None


def get(values: dict, where: str, *names: str):
    """Return the value that has one of these names; DataError naming the nearest one that is there."""
    for name in names:
        if name in values:
            return values[name]
    raise DataError(
        f"{where} has no {names[0]}; the nearest that is there is {nearest(names[0], values)!r}: get the "
        "file anew"
    )


def texts(value, where: str) -> list[str]:
    """Return the texts of cells, in a row or a column. DataError naming the row of one that is none."""
    cells = [value] if isinstance(value, str) else value
    if not isinstance(cells, list):
        raise DataError(f"{where} is not a cell array of text; get the file anew")
    found = []
    for row, cell in enumerate(cells, start=1):
        while isinstance(cell, list) and len(cell) == 1:
            (cell,) = cell
        text = cell.strip() if isinstance(cell, str) else ""
        if not text:
            fault = "empty" if isinstance(cell, str) or getattr(cell, "size", 1) == 0 else "no text"
            raise DataError(f"{where}: row {row} is {fault}; give the name, or get the file anew")
        found.append(text)
    return found


def matrix(value, rows: int, columns: int, where: str) -> np.ndarray:
    """Return numbers as (rows, columns), also where they lie the other way round. DataError where they have
    another shape.
    """
    if isinstance(value, np.ndarray):
        for numbers in (value, value.T):
            if numbers.shape == (rows, columns):
                return numbers
    found = " x ".join(map(str, value.shape)) if isinstance(value, np.ndarray) else "no numbers"
    raise DataError(f"{where} is {found}, expected {rows} pictures x {columns} columns; get the file anew")


def indices(value, count: int, where: str) -> np.ndarray:
    """Return row numbers counted from 1, in a row or a column, as indices from 0. DataError where one is not
    a whole number from 1 to `count`.
    """
    numbers = value.ravel(order="F") if isinstance(value, np.ndarray) else np.array([np.nan])
    wrong = ~np.isin(numbers, np.arange(1, count + 1))
    if wrong.any():
        raise DataError(
            f"{where}: {numbers[wrong][0]:g} is not the number of a row, 1 to {count}; get the file anew"
        )
    return numbers.astype(np.int64) - 1


def partitions(value, count: int, where: str) -> list[dict[str, np.ndarray]]:
    """Return the splits of cells of structs {train, val, test}, or {train_index, ...}, of row numbers."""
    splits = []
    for number, cell in enumerate(value if isinstance(value, list) else [value]):
        while isinstance(cell, list) and len(cell) == 1:
            (cell,) = cell
        if not isinstance(cell, dict):
            raise DataError(f"{where} holds no partitions into train and test; get the file anew")
        fields = {name.removesuffix("_index"): (name, numbers) for name, numbers in cell.items()}
        splits.append({
            part: indices(fields[part][1], count, f"{where}, partition {number}, {fields[part][0]}")
            for part in PARTS
            if part in fields
        })  # fmt: skip
    return splits


def data_set_of(
    annotation: Annotation,
    experiment: str,
    table: Sequence[Attribute],
    columns: Sequence[int],
    parts: dict[str, np.ndarray],
    prefix: str,
    line_end: str = "\n",
) -> DataSet:
    """Return the data set of an annotation's columns and parts: `experiment` where the columns are those of
    its table, else `custom`. `prefix` begins the files' names.
    """
    chosen = [annotation.attributes[column] for column in columns]
    check_attributes(chosen, str(annotation.path))
    experiment, names = name_experiment(chosen, experiment, table)
    rows = Rows(annotation.names, annotation.labels(columns))
    left = len(rows.names) - len(np.unique(np.concatenate(list(parts.values()))))
    return DataSet(
        experiment,
        names,
        {part: rows.take(taken.tolist()) for part, taken in parts.items()},
        list_name=f"{prefix}_{{part}}_list.txt",
        names_file=f"{prefix}_attributes.txt",
        line_end=line_end,
        notes=[f"{left} of {len(rows.names)} pictures are in neither list"] if left else [],
    )


RAP = "RAP_annotation"
VERSIONS = ("RAPv1", "RAPv2")


def read_rap(path: str | Path, version: int | None = None) -> Annotation:
    """Return what RAP_annotation.mat annotates, of this version or of either.

    Raises DataError where the file is another, of the other version, or damaged.
    """
    kind, variables = recognize(path, *(VERSIONS if version is None else VERSIONS[version - 1 : version]))
    read = read_first if kind == "RAPv1" else read_second
    return read(variables[RAP], f"{path}: {RAP}", Path(path))


def read_first(rap: dict, where: str, path: Path) -> Annotation:
    """Return RAPv1: of the columns of `label`, those that `attribute_exp` names are used."""
    names = texts(get(rap, where, "imagesname"), f"{where}.imagesname")
    used = texts(get(rap, where, "attribute_exp"), f"{where}.attribute_exp")
    official = texts(get(rap, where, "attribute_eng"), f"{where}.attribute_eng")
    values = matrix(get(rap, where, "label"), len(names), len(official), f"{where}.label")
    spellings = ("partion", "partition")
    splits = partitions(get(rap, where, *spellings), len(names), f"{where}.{spellings[0]}")
    attributes = used + official[len(used) :]
    aliases = dict(zip(official, used, strict=False))
    return Annotation("RAPv1", path, names, values, attributes, list(range(len(used))), splits, aliases)


def read_second(rap: dict, where: str, path: Path) -> Annotation:
    """Return RAPv2: `selected_attribute` has the columns that are used, counted from 1."""
    names = texts(get(rap, where, "name"), f"{where}.name")
    attributes = texts(get(rap, where, "attribute"), f"{where}.attribute")
    values = matrix(get(rap, where, "data"), len(names), len(attributes), f"{where}.data")
    used = indices(
        get(rap, where, "selected_attribute"), len(attributes), f"{where}.selected_attribute"
    ).tolist()
    spellings = ("partition_attribute", "partion_attribute")
    splits = partitions(get(rap, where, *spellings), len(names), f"{where}.{spellings[0]}")
    return Annotation("RAPv2", path, names, values, attributes, used, splits)


def read_pa100k(path: str | Path) -> Annotation:
    """Return what PA-100K's annotation.mat annotates: its three parts, one behind the other.

    Raises DataError where the file is another or damaged.
    """
    _, variables = recognize(path, "PA-100K")
    attributes = texts(get(variables, str(path), "attributes"), f"{path}: attributes")
    names, values, parts = [], [], {}
    for part in PARTS:
        listed = texts(get(variables, str(path), f"{part}_images_name"), f"{path}: {part}_images_name")
        labels = get(variables, str(path), f"{part}_label")
        parts[part] = np.arange(len(names), len(names) + len(listed))
        names += listed
        values.append(matrix(labels, len(listed), len(attributes), f"{path}: {part}_label"))
    default = list(range(len(attributes)))
    return Annotation("PA-100K", Path(path), names, np.concatenate(values), attributes, default, [parts])
