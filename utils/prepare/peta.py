"""PETA: lists from its archive, from PETA.mat, or from both, row by row."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from alm.inference.image_io import SUFFIXES
from utils.data.catalog import EXPERIMENTS, PETA_SUBSETS, identity_of
from utils.errors import DataError
from utils.io.phrases import counted, first_few, nearest
from utils.io.untrusted import read_text
from utils.prepare.lists import ALL, DataSet, Rows, attribute_names, check_choice, name_experiment
from utils.prepare.official import Annotation, get, matrix, partitions, read_annotation, row_indices, texts

PETA = EXPERIMENTS["peta"]
FOLDER, *_ = SPELLINGS = PETA.folders  # first, what the lists call the archive's folder
COLOURS = ("Black", "Blue", "Brown", "Green", "Grey", "Orange", "Pink", "Purple", "Red", "White", "Yellow")
# The 105 attributes in the order of PETA.mat: the published 35, the colours, the rest.
OFFICIAL = (
    *PETA.official_names,
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
LABELS = "Label.txt"
LINE_END = " \n"  # the published lists have a blank behind the last label

LEADING = 4  # columns of PETA.mat's `data` before the labels: row, person, subset, identity in its subset
SUBSET, IDENTITY = 2, 3


@dataclass(frozen=True)
class Picture:
    """A picture of the archive; `identity` tells who is on it, within its subset."""

    subset: str
    file: str
    identity: str

    @property
    def place(self) -> str:
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
        return [f"{FOLDER}/{picture.place}" for picture in self.pictures]

    def labels(self, attributes: Sequence[str]) -> np.ndarray:
        """Return the labels of these attributes, by official name: uint8 (pictures, K)."""
        row_of = {person: row for row, person in enumerate(self.attributes)}
        people = np.array(
            [[name in own for name in attributes] for own in self.attributes.values()], np.uint8
        )
        return people[[row_of[picture.person] for picture in self.pictures]]

    def data_set(
        self,
        parts: dict[str, Sequence[int]],
        words: Sequence[str] | None = None,
        *,
        suffix: str = "",
        notes: Sequence[str] = (),
    ) -> DataSet:
        """Return the data set of these parts, which are indices of pictures, with the attributes that
        --attributes names, by default the published 35. `suffix` ends the lists' names.

        Raises DataError if an attribute is unknown or occurs in no line.
        """
        attributes = official_names(words)
        occurring = NEVER.union(*self.attributes.values())
        for name in attributes:
            if name not in occurring:
                raise DataError(
                    f"attribute {name!r} occurs in no line of any {LABELS} in {self.folder}; the nearest "
                    f"that does is {nearest(name, sorted(occurring - NEVER))!r}: choose it, or get the "
                    "archive again"
                )
        rows = Rows(self.names, self.labels(attributes))
        experiment, names = name_experiment(attributes, PETA)
        return DataSet(
            experiment,
            names,
            {part: rows.take(indices) for part, indices in parts.items()},
            list_name=f"PETA_{{part}}_list{suffix}.txt",
            names_file="PETA_attributes.txt",
            line_end=LINE_END,
            notes=[*self.notes, *notes],
        )


def official_names(words: Sequence[str] | None) -> list[str]:
    """Return the official names of the attributes that --attributes names, by default the published 35."""
    if words is None:
        return list(PETA.official_names)
    if list(words) == [ALL]:
        return list(OFFICIAL)
    names = attribute_names(words)
    check_choice(names, [*OFFICIAL, *ONLY_IN_LABELS], "PETA")
    return names


# The archive.


def read_archive(source: str | Path) -> Archive:
    """Return what PETA's archive holds.

    `source` is the folder of its ten subsets, or one that holds that folder. Raises DataError if there is no
    such folder, if a line of Label.txt is wrong, or if a picture has no line.
    """
    folder = find_archive(Path(source))
    pictures, attributes, idle, notes = [], {}, [], []
    for subset in PETA_SUBSETS:
        place = folder / subset / "archive"
        if not place.is_dir():
            notes.append(f"no subset {subset} in {folder}")
            continue
        own = read_labels(place / LABELS)
        files = read_pictures(place, subset)
        unlabelled = [picture.place for picture in files if picture.identity not in own]
        if unlabelled:
            raise DataError(
                f"{counted(unlabelled, 'picture')} without a line in {place / LABELS}: "
                f"{first_few(unlabelled)}; get the archive again, or move them away"
            )
        people = {picture.identity for picture in files}
        idle += [f"{subset} {identity}" for identity in sorted(own.keys() - people)]
        pictures += files
        attributes |= {(subset, identity): names for identity, names in own.items()}
    if not pictures:
        raise DataError(f"no pictures in {folder}; unpack all of the archive")
    if idle:
        notes.append(f"{counted(idle, 'line')} of {LABELS} without a picture: {first_few(idle, 8)}")
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
    """Return the pictures of a subset in byte order of their names, without other and hidden files."""
    files = [
        entry.name
        for entry in os.scandir(place)
        if entry.is_file() and entry.name[0] != "." and PurePath(entry.name).suffix.lower() in SUFFIXES
    ]
    return [Picture(subset, file, identity_of(file)) for file in sorted(files, key=os.fsencode)]


def read_labels(path: Path) -> dict[str, frozenset[str]]:
    """Return identity -> official names of a Label.txt; a line is an identity and its attributes.

    Raises DataError, naming file and line, if a line has no attributes, if an attribute is unknown, or if an
    identity has two different lines.
    """
    attributes: dict[str, frozenset[str]] = {}
    known = {*OFFICIAL, *ONLY_IN_LABELS}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        words = line.split()
        if not words:
            continue
        identity, names = identity_of(words[0]), frozenset(ALIASES.get(word, word) for word in words[1:])
        if not names:
            raise DataError(f"{path}:{number}: {words[0]} has no attributes; get the archive again")
        for name in sorted(names - known):
            raise DataError(
                f"{path}:{number}: {name!r} is none of PETA's attributes, the nearest is "
                f"{nearest(name, sorted(known))!r}; correct the line"
            )
        if attributes.setdefault(identity, names) != names:
            raise DataError(
                f"{path}:{number}: identity {identity} has a line with other attributes already; keep one of "
                "them"
            )
    return attributes


# PETA.mat.


def read_peta(path: str | Path) -> tuple[Annotation, np.ndarray]:
    """Return what PETA.mat annotates, and each row's subset, counted from 1, and identity in it: (N, 2).

    Row k is picture `images/0000k.png`. Raises DataError if the file is another or damaged.
    """
    _, variables = read_annotation(path, "PETA")
    peta, place = variables["peta"], f"{path}: peta."
    attributes = texts(peta, place, "attribute")
    columns = LEADING + len(attributes)
    rows = getattr(get(peta, place, "data"), "size", 0) // columns
    data = matrix(peta, place, "data", rows, columns)
    if set(PETA.official_names) <= set(attributes):
        default = [attributes.index(name) for name in PETA.official_names]
    else:
        default = (row_indices(peta, place, "selected_attribute", columns) - LEADING).tolist()
    splits = partitions(peta, place, rows)
    names = [f"images/{row:05d}.png" for row in range(1, rows + 1)]
    annotation = Annotation(
        "PETA", Path(path), names, data[:, LEADING:], attributes, default, splits, line_end=LINE_END
    )
    return annotation, data[:, [SUBSET, IDENTITY]]


def name_rows(annotation: Annotation, people: np.ndarray, archive: Archive) -> Annotation:
    """Return the annotation with the archive's pictures for its rows: row k is the k-th picture.

    Raises DataError if a row's subset, identity (`people`, (N, 2), see read_peta) or labels are not its
    picture's, or if there are more rows than pictures, or fewer.
    """
    expected = np.array([
        [PETA_SUBSETS.index(subset) + 1, int(identity) if identity.isdecimal() else -1]
        for subset, identity in (picture.person for picture in archive.pictures)
    ])  # fmt: skip
    rows = min(len(people), len(expected))
    for row in np.flatnonzero((people[:rows] != expected[:rows]).any(axis=1)):
        subset, identity = people[row]
        raise DataError(
            f"{annotation.path}: row {row + 1} is subset {subset:g}, identity {identity:g}, but picture "
            f"{row + 1} of {archive.folder} is {archive.names[row]}; is one missing there, or one too many?"
        )
    if len(people) != len(expected):
        raise DataError(
            f"{annotation.path} has {len(people)} rows, but {archive.folder} {len(expected)} pictures; "
            "unpack all of the archive"
        )
    columns = [i for i, name in enumerate(annotation.attributes) if name in OFFICIAL]
    names = [annotation.attributes[i] for i in columns]
    for row, column in np.argwhere(annotation.values[:, columns] != archive.labels(names)):
        raise DataError(
            f"{annotation.path}: {names[column]} is {annotation.values[row, columns[column]]:g} in row "
            f"{row + 1}, but {LABELS} says otherwise of {archive.names[row]}; get both again"
        )
    return replace(annotation, names=archive.names)
