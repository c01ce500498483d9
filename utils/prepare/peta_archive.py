"""PETA's archive: its pictures, who is on each, and the attributes that Label.txt gives the person."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np

from utils.data.list_file import DataError, read_text
from utils.io.phrases import counted, nearest, some
from utils.prepare.peta_names import ALIASES, NEVER, OFFICIAL, ONLY_IN_LABELS
from utils.prepare.pictures import SUFFIXES

# In the order in which PETA.mat has them.
SUBSETS = ("3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR")
FOLDER = "PETA_dataset"  # what the lists call the archive's folder, whatever it is called
SPELLINGS = (FOLDER, "PETA dataset")
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
    for subset in SUBSETS:
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
                f"{counted(without, 'picture')} without a line in {place / LABELS}: {some(without)}; "
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
        if any((folder / subset / "archive").is_dir() for subset in SUBSETS):
            return folder
    if not source.is_dir():
        raise DataError(f"{source} is not a directory; name PETA's unpacked folder with --source")
    raise DataError(
        f"{source} holds none of PETA's subsets ({SUBSETS[0]}/archive, {SUBSETS[1]}/archive, ...); "
        "name the unpacked folder `PETA dataset` with --source"
    )


def read_pictures(place: Path, subset: str) -> list[Picture]:
    """Return the pictures of a subset, in byte order of their names; other and hidden files are left out."""
    files = [entry.name for entry in os.scandir(place) if entry.is_file()]
    shown = [file for file in files if file[0] != "." and PurePath(file).suffix.lower() in SUFFIXES]
    return [Picture(subset, file, identity_of(file)) for file in sorted(shown, key=os.fsencode)]


def identity_of(file: str) -> str:
    """Return whose picture a file is: its name up to the first `_` or `.`."""
    return re.split("[_.]", file, maxsplit=1)[0]


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
