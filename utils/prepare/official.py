"""Annotations in official .mat files: RAP's and PA-100K's, and what PETA's has in common with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alm.constants import UNKNOWN
from utils.data.catalog import EXPERIMENTS
from utils.errors import DataError
from utils.io.phrases import counted, nearest
from utils.prepare.lists import (
    ALL,
    DataSet,
    Rows,
    attribute_names,
    check_attributes,
    check_choice,
    name_experiment,
)
from utils.prepare.matlab import read_matlab

# Annotation -> its experiment, which is also its subcommand of prepare_data.py.
EXPERIMENT_OF = {"PETA": "peta", "RAPv1": "rap", "RAPv2": "rap", "PA-100K": "pa100k"}
# Annotation -> the struct that it is, and fields that no other annotation's struct has.
SIGNS = {
    "PETA": ("peta", ("data", "attribute")),
    "RAPv1": ("RAP_annotation", ("imagesname", "label")),
    "RAPv2": ("RAP_annotation", ("name", "data")),
}
PARTS = ("train", "val", "test")
PARTITIONS = ("partion", "partition", "partion_attribute", "partition_attribute")  # spellings of the field
PA100K_VARIABLES = tuple(f"{part}_{content}" for part in PARTS for content in ("images_name", "label"))


@dataclass(frozen=True)
class Annotation:
    """N pictures, the values of all C columns, and the official splits.

    Attributes:
        kind: a key of EXPERIMENT_OF.
        path: the .mat file.
        names: the pictures' paths.
        values: (N, C).
        attributes: names of the C columns.
        default: indices of the columns that are usually trained.
        partitions: splits: part ("train", "val", "test") -> row indices from 0, in the file's order.
        aliases: other name -> name of an attribute.
        line_end: the end of a line of the published lists.
    """

    kind: str
    path: Path
    names: list[str]
    values: np.ndarray
    attributes: list[str]
    default: list[int]
    partitions: list[dict[str, np.ndarray]]
    aliases: dict[str, str] = field(default_factory=dict)
    line_end: str = "\n"

    def data_set(
        self, words: Sequence[str] | None = None, partition: int = 0, separate_val: bool = False
    ) -> DataSet:
        """Return the data set of a partition with the attributes that --attributes names (see `columns`).

        Raises DataError if an attribute, a label or the partition is wrong.
        """
        columns, parts = self.columns(words), self.parts(partition, separate_val)
        attributes = [self.attributes[column] for column in columns]
        check_attributes(attributes, str(self.path))
        experiment, attributes = name_experiment(attributes, EXPERIMENTS[EXPERIMENT_OF[self.kind]])
        rows = Rows(self.names, self.labels(columns))
        unused = len(rows.names) - len(np.unique(np.concatenate(list(parts.values()))))
        prefix = "RAP" if self.kind == "RAPv1" else self.kind.replace("-", "")
        return DataSet(
            experiment,
            attributes,
            {part: rows.take(indices.tolist()) for part, indices in parts.items()},
            list_name=f"{prefix}_{{part}}_list.txt",
            names_file=f"{prefix}_attributes.txt",
            line_end=self.line_end,
            notes=[f"{unused} of {len(rows.names)} pictures are in neither list"] if unused else [],
        )

    def columns(self, words: Sequence[str] | None) -> list[int]:
        """Return the columns of the attributes that --attributes names, or the default ones."""
        if words is None:
            return self.default
        if list(words) == [ALL]:
            return list(range(len(self.attributes)))
        names = attribute_names(words)
        check_choice(names, [*self.attributes, *self.aliases], str(self.path))
        return [self.attributes.index(self.aliases.get(name, name)) for name in names]

    def labels(self, columns: Sequence[int]) -> np.ndarray:
        """Return the labels of these columns, uint8 (N, K). Raises DataError if one is not 0, 1 or 2."""
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
        """Return the row indices of a partition's "train" and "test".

        The pictures for validation end "train", as in the published lists, or are "val" if `separate_val`.
        """
        if partition >= len(self.partitions):
            raise DataError(
                f"{self.path} has {counted(self.partitions, 'partition')}, counted from 0; there is no "
                f"partition {partition}"
            )
        parts = dict(self.partitions[partition])
        for part in ("train", "test"):
            if part not in parts:
                raise DataError(f"{self.path}: partition {partition} has no {part} part; get the file again")
        if "val" in parts and not separate_val:
            parts["train"] = np.concatenate([parts["train"], parts.pop("val")])
        elif separate_val and "val" not in parts:
            raise DataError(f"{self.path} has no pictures for validation; leave --separate-val out")
        return {part: parts[part] for part in PARTS if part in parts}


def read_rap(path: str | Path, version: int | None = None) -> Annotation:
    """Return what RAP_annotation.mat annotates. Raises DataError if the file is another, of the other version
    than `version`, or damaged.
    """
    kinds = ("RAPv1", "RAPv2") if version is None else (f"RAPv{version}",)
    kind, variables = read_annotation(path, *kinds)
    rap, place = variables["RAP_annotation"], f"{path}: RAP_annotation."
    if kind == "RAPv1":  # `attribute_exp` names the first columns of `label`, which are the ones to train
        names, used = texts(rap, place, "imagesname"), texts(rap, place, "attribute_exp")
        official = texts(rap, place, "attribute_eng")
        values = matrix(rap, place, "label", len(names), len(official))
        attributes, default = used + official[len(used) :], list(range(len(used)))
        aliases = dict(zip(official, used, strict=False))
    else:
        names, attributes, aliases = texts(rap, place, "name"), texts(rap, place, "attribute"), {}
        values = matrix(rap, place, "data", len(names), len(attributes))
        default = row_indices(rap, place, "selected_attribute", len(attributes)).tolist()
    splits = partitions(rap, place, len(names))
    return Annotation(kind, Path(path), names, values, attributes, default, splits, aliases)


def read_pa100k(path: str | Path) -> Annotation:
    """Return what PA-100K's annotation.mat annotates: its three parts, one behind the other.

    Raises DataError if the file is another or damaged.
    """
    _, variables = read_annotation(path, "PA-100K")
    place = f"{path}: "
    attributes = texts(variables, place, "attributes")
    names, values, parts = [], [], {}
    for part in PARTS:
        files = texts(variables, place, f"{part}_images_name")
        values.append(matrix(variables, place, f"{part}_label", len(files), len(attributes)))
        parts[part] = np.arange(len(names), len(names) + len(files))
        names += files
    default = list(range(len(attributes)))
    return Annotation("PA-100K", Path(path), names, np.concatenate(values), attributes, default, [parts])


def read_annotation(path: str | Path, *kinds: str) -> tuple[str, dict]:
    """Return which of these annotations a .mat file is, and its variables.

    Raises DataError if it is another data set's, which it names, or none.
    """
    variables = read_matlab(path)
    kind = kind_of(variables)
    if kind is None:
        names = ", ".join(sorted(variables)[:8]) or "no variables"
        raise DataError(
            f"{path} annotates none of PETA, RAP and PA-100K: it holds {names}; name another file"
        )
    if kind not in kinds:
        remedy = f"use prepare_data.py {EXPERIMENT_OF[kind]}"
        if EXPERIMENT_OF[kind] == EXPERIMENT_OF[kinds[0]]:
            remedy = f"get {kinds[0]}'s file, which has the same name, or ask for this one with --version"
        raise DataError(f"{path} is the annotation of {kind}, not of {' or '.join(kinds)}; {remedy}")
    return kind, variables


def kind_of(variables: dict) -> str | None:
    """Return the annotation that these variables are, or None."""
    for kind, (variable, fields) in SIGNS.items():
        content = variables.get(variable)
        if isinstance(content, dict) and any(name in content for name in fields):
            return kind
    return "PA-100K" if sum(name in variables for name in PA100K_VARIABLES) >= 2 else None


# What the annotations have in common. `place` is the path and the struct, as errors name what is in it.


def get(values: dict, place: str, name: str):
    """Return the value of this name. Raises DataError, naming the nearest that is there."""
    if name not in values:
        raise DataError(
            f"{place}{name} is missing; the nearest that is there is {nearest(name, values)!r}: get the file "
            "again"
        )
    return values[name]


def texts(values: dict, place: str, name: str) -> list[str]:
    """Return the texts of cells in a row or a column. Raises DataError, naming the row, if one is no text."""
    cells = get(values, place, name)
    cells = [cells] if isinstance(cells, str) else cells
    if not isinstance(cells, list):
        raise DataError(f"{place}{name} is not a cell array of text; get the file again")
    strings = []
    for row, cell in enumerate(map(innermost, cells), start=1):
        text = cell.strip() if isinstance(cell, str) else ""
        if not text:
            fault = "empty" if isinstance(cell, str) or getattr(cell, "size", 1) == 0 else "no text"
            raise DataError(f"{place}{name}: row {row} is {fault}; give the name, or get the file again")
        strings.append(text)
    return strings


def innermost(cell):
    """Return what a cell holds that may lie in further cells."""
    while isinstance(cell, list) and len(cell) == 1:
        (cell,) = cell
    return cell


def matrix(values: dict, place: str, name: str, rows: int, columns: int) -> np.ndarray:
    """Return numbers as (rows, columns), also if they lie the other way round. Raises DataError if they have
    another shape.
    """
    value, shape = get(values, place, name), "no numbers"
    if isinstance(value, np.ndarray):
        for numbers in (value, value.T):
            if numbers.shape == (rows, columns):
                return numbers
        shape = " x ".join(map(str, value.shape))
    raise DataError(
        f"{place}{name} is {shape}, expected {rows} pictures x {columns} columns; get the file again"
    )


def row_indices(values: dict, place: str, name: str, count: int) -> np.ndarray:
    """Return numbers counted from 1, in a row or a column, as indices from 0. Raises DataError if one is not
    a whole number from 1 to `count`.
    """
    value = get(values, place, name)
    numbers = value.ravel(order="F") if isinstance(value, np.ndarray) else np.array([np.nan])
    wrong = ~np.isin(numbers, np.arange(1, count + 1))
    if wrong.any():
        raise DataError(
            f"{place}{name}: {numbers[wrong][0]:g} is not the number of a row, 1 to {count}; get the file "
            "again"
        )
    return numbers.astype(np.int64) - 1


def partitions(values: dict, place: str, count: int) -> list[dict[str, np.ndarray]]:
    """Return the splits: cells of structs {train, val, test}, or {train_index, ...}, of numbers of the
    `count` rows.
    """
    name = next(filter(values.__contains__, PARTITIONS), PARTITIONS[0])
    cells, splits = get(values, place, name), []
    for number, cell in enumerate(map(innermost, cells if isinstance(cells, list) else [cells])):
        if not isinstance(cell, dict):
            raise DataError(f"{place}{name} holds no partitions into train and test; get the file again")
        splits.append({
            part: row_indices(cell, f"{place}{name}, partition {number}, ", field, count)
            for part in PARTS
            for field in (part, f"{part}_index")
            if field in cell
        })  # fmt: skip
    return splits
