"""PETA: lists from its archive, from PETA.mat, or from both, row by row."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.data.attributes import PETA
from utils.data.list_file import DataError
from utils.prepare.lists import ALL, DataSet, Rows, check_choice, name_experiment, named
from utils.prepare.official import Annotation, get, indices, matrix, partitions, recognize, texts
from utils.prepare.peta_archive import LABELS, LINE_END, SUBSETS, Archive
from utils.prepare.peta_names import OFFICIAL, ONLY_IN_LABELS

LEADING = 4  # columns of `data` before the labels: row, person, subset, identity in its subset
SUBSET, IDENTITY = 2, 3


def archive_data_set(
    archive: Archive,
    parts: dict[str, Sequence[int]],
    given: Sequence[str] | None = None,
    *,
    suffix: str = "",
    notes: Sequence[str] = (),
) -> DataSet:
    """Return the data set of an archive's pictures, `parts` being their indices, with the attributes given
    with --attributes, by default the published 35. `suffix` ends the lists' names.

    Raises DataError where an attribute is unknown or occurs in no line.
    """
    chosen = choose_attributes(given)
    archive.require(chosen)
    rows = Rows(archive.names, archive.labels(chosen))
    experiment, names = name_experiment(chosen, "peta", PETA)
    return DataSet(
        experiment,
        names,
        {part: rows.take(taken) for part, taken in parts.items()},
        list_name=f"PETA_{{part}}_list{suffix}.txt",
        names_file="PETA_attributes.txt",
        line_end=LINE_END,
        notes=[*archive.notes, *notes],
    )


def choose_attributes(given: Sequence[str] | None) -> list[str]:
    """Return the official names of the attributes given with --attributes, by default the published 35."""
    if given is None:
        return [attribute.official_name for attribute in PETA]
    if list(given) == [ALL]:
        return list(OFFICIAL)
    chosen = named(given)
    check_choice(chosen, [*OFFICIAL, *ONLY_IN_LABELS], "PETA")
    return chosen


def read_peta(path: str | Path) -> tuple[Annotation, np.ndarray]:
    """Return what PETA.mat annotates, and for each row its subset, counted from 1, and its identity: (N, 2).

    Row k is picture `images/0000k.png`. Raises DataError where the file is another or damaged.
    """
    _, variables = recognize(path, "PETA")
    peta, where = variables["peta"], f"{path}: peta"
    attributes = texts(get(peta, where, "attribute"), f"{where}.attribute")
    data = get(peta, where, "data")
    columns = LEADING + len(attributes)
    rows = data.size // columns if isinstance(data, np.ndarray) else 0
    data = matrix(data, rows, columns, f"{where}.data")
    official = [attribute.official_name for attribute in PETA]
    if set(official) <= set(attributes):
        default = [attributes.index(name) for name in official]
    else:
        selected = get(peta, where, "selected_attribute")
        default = (indices(selected, columns, f"{where}.selected_attribute") - LEADING).tolist()
    spellings = ("partion_attribute", "partition_attribute")
    splits = partitions(get(peta, where, *spellings), rows, f"{where}.{spellings[0]}")
    names = [f"images/{row:05d}.png" for row in range(1, rows + 1)]
    annotation = Annotation("PETA", Path(path), names, data[:, LEADING:], attributes, default, splits)
    return annotation, data[:, [SUBSET, IDENTITY]]


def name_rows(annotation: Annotation, people: np.ndarray, archive: Archive) -> Annotation:
    """Return the annotation with the archive's pictures for its rows: row k is the k-th picture.

    Raises DataError where a row's subset, identity (`people`, (N, 2), see read_peta) or labels are not those
    of its picture, or where there are more of one than of the other.
    """
    found = np.array(
        [[SUBSETS.index(picture.subset) + 1, number_of(picture.identity)] for picture in archive.pictures]
    )
    rows = min(len(people), len(found))
    other = np.flatnonzero((people[:rows] != found[:rows]).any(axis=1))
    if len(other):
        row = int(other[0])
        subset, identity = people[row]
        raise DataError(
            f"{annotation.path}: row {row + 1} is subset {subset:g}, identity {identity:g}, but picture "
            f"{row + 1} of {archive.folder} is {archive.names[row]}; is one missing there, or one too many?"
        )
    if len(people) != len(found):
        raise DataError(
            f"{annotation.path} has {len(people)} rows, but {archive.folder} {len(found)} pictures; "
            "unpack the archive whole"
        )
    check_labels(annotation, archive)
    return replace(annotation, names=archive.names)


def check_labels(annotation: Annotation, archive: Archive) -> None:
    """Raise DataError where a label of the annotation is not that of Label.txt."""
    columns = [i for i, name in enumerate(annotation.attributes) if name in OFFICIAL]
    names = [annotation.attributes[i] for i in columns]
    other = np.argwhere(annotation.values[:, columns] != archive.labels(names))
    if len(other):
        row, column = other[0]
        raise DataError(
            f"{annotation.path}: {names[column]} is {annotation.values[row, columns[column]]:g} in row "
            f"{row + 1}, but {LABELS} says otherwise of {archive.names[row]}; get both anew"
        )


def number_of(identity: str) -> int:
    """Return an identity as PETA.mat has it, -1 where it is no number."""
    return int(identity) if identity.isdecimal() else -1
