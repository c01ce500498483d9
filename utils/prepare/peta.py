"""PETA: lists from its archive, from PETA.mat, or from both, row by row."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from alm.inference.image_io import SUFFIXES
from utils.data.attributes import PETA
from utils.data.catalog import EXPERIMENTS, PETA_SUBSETS, identity_of
from utils.errors import DataError
from utils.io.phrases import counted, first_few, nearest
from utils.io.untrusted import read_text
from utils.prepare.lists import ALL, DataSet, Rows, check_choice, name_experiment, named
from utils.prepare.official import Annotation, get, indices, matrix, partitions, recognize, texts

COLOURS = ("Black", "Blue", "Brown", "Green", "Grey", "Orange", "Pink", "Purple", "Red", "White", "Yellow")
# The 105 attributes in the order of PETA.mat: the published 35, the colours, the rest.
OFFICIAL = (
    *(attribute.official_name for attribute in PETA),
    *(part + colour for part in ("upperBody", "lowerBody", "hair", "footwear") for colour in COLOURS),
    "accessoryHeadphone", "personalLess15", "carryingBabyBuggy", "hairBald", "footwearBoots",
    "lowerBodyCapri", "carryingShoppingTro", "carryingUmbrella", "personalFemale", "carryingFolder",
    "accessoryHairBand", "lowerBodyHotPants", "accessoryKerchief", "lowerBodyLongSkirt",
    "upperBodyLongSleeve", "lowerBodyPlaid", "lowerBodyThinStripes", "carryingLuggageCase",
    "upperBodyNoSleeve", "hairShort", "footwearStocking", "upperBodySuit", "carryingSuitcase",
    "lowerBodySuits", "upperBodySweater", "upperBodyThickStripes",
)  # fmt: skip
ONLY_IN_LABELS = ("accessoryFaceMask", "accessoryShawl", "lowerBodyLogo")
NEVER = frozenset(("hairBlue", "hairPink"))  # of the 105, these occur in no line of the true archive
ALIASES = {"footwearSneakers": "footwearSneaker"}  # Label.txt's word -> the official name


FOLDER, *_ = SPELLINGS = EXPERIMENTS["peta"].folders  # first, what the lists call the archive's folder
LABELS = "Label.txt"
LINE_END = " \n"  # the published lists have a blank behind the last label


@dataclass(frozen=True)
class Picture:
    """A picture of the archive; `identity` is whose it is within its subset, a string."""

    subset: str
    file: str
    identity: str

    @property
    def place(self) -> str:
        """The picture's path in the archive's folder."""
        return f"{self.subset}/archive/{self.file}"

    @property
    def person(self) -> tuple[str, str]:
        """Who is on it, among all subsets."""
        return self.subset, self.identity


@dataclass(frozen=True)
class Archive:
    """PETA's archive: its pictures, in the order of PETA.mat's rows, and each person's attributes.

    `attributes` maps (subset, identity) to official names; `notes` are sentences for the user.
    """

    folder: Path
    pictures: list[Picture]
    attributes: dict[tuple[str, str], frozenset[str]]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def names(self) -> list[str]:
        """The pictures' paths in a list."""
        return [f"{FOLDER}/{picture.place}" for picture in self.pictures]

    @cached_property
    def people(self) -> set[tuple[str, str]]:
        """Who is on the pictures."""
        return {picture.person for picture in self.pictures}

    def labels(self, attributes: Sequence[str]) -> np.ndarray:
        """Return the labels of these attributes, given by official name: uint8 (pictures, K)."""
        row_of = {person: row for row, person in enumerate(self.attributes)}
        people = np.array(
            [[name in worn for name in attributes] for worn in self.attributes.values()], np.uint8
        )
        return people[[row_of[picture.person] for picture in self.pictures]]

    def require(self, attributes: Sequence[str]) -> None:
        """Raise DataError where a chosen attribute occurs in no line, naming the nearest one that does."""
        found = frozenset().union(*self.attributes.values())
        for name in attributes:
            if name not in found and name not in NEVER:
                raise DataError(
                    f"attribute {name!r} occurs in no line of any {LABELS} in {self.folder}; the nearest "
                    f"that does is {nearest(name, sorted(found))!r}: choose it, or get the archive anew"
                )


def read_archive(source: str | Path) -> Archive:
    """Return what PETA's archive holds.

    `source` is the folder of its ten subsets, or one that holds that folder. Raises DataError where it is
    none, where a line of Label.txt is wrong, and where a picture has no line.
    """
    folder = find_archive(Path(source))
    pictures, attributes, idle, notes = [], {}, [], []
    for subset in PETA_SUBSETS:
        place = folder / subset / "archive"
        if not place.is_dir():
            notes.append(f"no subset {subset} in {folder}")
            continue
        worn = read_labels(place / LABELS)
        shown = read_pictures(place, subset)
        people = {picture.identity for picture in shown}
        without = [picture.place for picture in shown if picture.identity not in worn]
        if without:
            raise DataError(
                f"{counted(without, 'picture')} without a line in {place / LABELS}: {first_few(without)}; "
                "get the archive anew, or move them away"
            )
        idle += [f"{subset} {identity}" for identity in sorted(worn.keys() - people)]
        pictures += shown
        attributes |= {(subset, identity): names for identity, names in worn.items()}
    if not pictures:
        raise DataError(f"no pictures in {folder}; unpack the archive whole")
    if idle:
        notes.append(f"{counted(idle, 'line')} of {LABELS} without a picture: {', '.join(idle[:8])}"
                     + (", ..." if len(idle) > 8 else ""))  # fmt: skip
    return Archive(folder, pictures, attributes, notes)


def find_archive(source: Path) -> Path:
    """Return the folder of the subsets: `source`, or one of PETA's name in it."""
    for folder in (source, *(source / spelling for spelling in SPELLINGS)):
        if any((folder / subset / "archive").is_dir() for subset in PETA_SUBSETS):
            return folder
    if not source.is_dir():
        raise DataError(f"{source} is not a directory; name PETA's unpacked folder with --source")
    raise DataError(
        f"{source} holds none of PETA's subsets ({PETA_SUBSETS[0]}/archive, {PETA_SUBSETS[1]}/archive, ...); "
        "name the unpacked folder `PETA dataset` with --source"
    )


def read_pictures(place: Path, subset: str) -> list[Picture]:
    """Return the pictures of a subset, in byte order of their names; other and hidden files are left out."""
    files = [entry.name for entry in os.scandir(place) if entry.is_file()]
    shown = [file for file in files if file[0] != "." and PurePath(file).suffix.lower() in SUFFIXES]
    return [Picture(subset, file, identity_of(file)) for file in sorted(shown, key=os.fsencode)]


def read_labels(path: Path) -> dict[str, frozenset[str]]:
    """Return identity -> official names of a Label.txt; a line is an identity and its attributes.

    Raises DataError naming file and line where a line has no attributes, an attribute is unknown, or two
    lines of an identity differ.
    """
    worn: dict[str, frozenset[str]] = {}
    known = {*OFFICIAL, *ONLY_IN_LABELS}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        words = line.split()
        if not words:
            continue
        identity, names = identity_of(words[0]), frozenset(ALIASES.get(word, word) for word in words[1:])
        if not names:
            raise DataError(f"{path}:{number}: {words[0]} has no attributes; get the archive anew")
        for name in sorted(names - known):
            raise DataError(
                f"{path}:{number}: {name!r} is none of PETA's attributes, the nearest is "
                f"{nearest(name, sorted(known))!r}; correct the line"
            )
        if worn.setdefault(identity, names) != names:
            raise DataError(f"{path}:{number}: identity {identity} has a line with other attributes already; "
                            "keep one of them")  # fmt: skip
    return worn


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
        [
            [PETA_SUBSETS.index(picture.subset) + 1, number_of(picture.identity)]
            for picture in archive.pictures
        ]
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
