"""A data set's lists and its pictures, each of them opened: what is there, twice, missing or damaged."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from alm.constants import UNKNOWN
from alm.devices.host import usable_cores
from alm.errors import PictureError
from alm.inference.image_io import FORMATS, read_picture
from utils.data.catalog import EXPERIMENTS, Experiment, find_list, identities
from utils.data.list_file import find_picture, positive_ratio, read_list, refuse_links_out
from utils.errors import DataError

TRAIN, TEST = "train", "test"

Row = tuple[str, int]  # part and index


@dataclass(frozen=True)
class Picture:
    """A picture that can be read: pixels, mode and format as in the file, and a digest of its RGB pixels."""

    width: int
    height: int
    mode: str
    format: str
    digest: bytes


@dataclass(frozen=True)
class CheckedList:
    """A list, its labels, uint8 (N, K), and the file of each picture, None if it is missing; and by attribute
    the share of positives among known labels, the positives, and the unknown labels: (K,) each.
    """

    path: Path
    names: list[str]
    labels: np.ndarray
    files: list[str | None]

    @cached_property
    def missing(self) -> list[str]:
        return [name for name, file in zip(self.names, self.files, strict=True) if file is None]

    @cached_property
    def people(self) -> list[str] | None:
        """The identity of each picture, if the paths tell it."""
        return identities(self.names)

    @cached_property
    def ratio(self) -> np.ndarray:
        return positive_ratio(self.labels)

    @cached_property
    def positive(self) -> np.ndarray:
        return (self.labels == 1).sum(axis=0)

    @cached_property
    def unknown(self) -> np.ndarray:
        return (self.labels == UNKNOWN).sum(axis=0)


@dataclass(frozen=True)
class Check:
    """A data set as it was found.

    Attributes:
        root: the directory that the lists' paths are relative to.
        experiment: the data set, None if nothing says which.
        lists: by part, TRAIN and TEST, at least one of them.
        pictures: by file, what each is, or why it cannot be read.
    """

    root: Path
    experiment: Experiment | None
    lists: dict[str, CheckedList]
    pictures: dict[str, Picture | PictureError]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes' names, or their numbers if nothing names them."""
        count = next(iter(self.lists.values())).labels.shape[1]
        return self.experiment.attributes if self.experiment else tuple(f"#{k}" for k in range(count))

    @property
    def published_ratio(self) -> tuple[float, ...] | None:
        return self.experiment.positive_ratio if self.experiment else None

    def unreadable(self, part: str) -> list[PictureError]:
        files = dict.fromkeys(file for file in self.lists[part].files if file is not None)
        return [error for file in files if isinstance(error := self.pictures[file], PictureError)]

    @cached_property
    def readable(self) -> list[Picture]:
        return [picture for picture in self.pictures.values() if isinstance(picture, Picture)]

    @cached_property
    def repeated(self) -> list[list[Row]]:
        """Rows that name the same picture, by picture."""
        return self._groups(lambda part, row: self.lists[part].files[row] or self.lists[part].names[row])

    @cached_property
    def equal(self) -> list[list[Row]]:
        """Rows of different files with the same pixels; of each file the first row."""
        seen = set()

        def pixels(part: str, row: int) -> bytes | None:
            file = self.lists[part].files[row]
            picture = self.pictures.get(file)
            if file in seen or not isinstance(picture, Picture):
                return None
            seen.add(file)
            return picture.digest

        return self._groups(pixels)

    @cached_property
    def shared_people(self) -> set[str]:
        """The identities that are in both lists, if the paths tell them."""
        people = [set(each.people or ()) for each in self.lists.values()]
        return people[0] & people[1] if len(people) == 2 else set()

    def names_of(self, group: Sequence[Row]) -> list[str]:
        """Return the pictures of rows, as listed, each once."""
        return list(dict.fromkeys(self.lists[part].names[row] for part, row in group))

    def contradicts(self, group: Sequence[Row]) -> bool:
        """Whether rows that show the same picture have different labels."""
        return len({self.lists[part].labels[row].tobytes() for part, row in group}) > 1

    def _groups(self, key: Callable[[str, int], Hashable]) -> list[list[Row]]:
        """Return the groups of several rows with the same key, if it is not None."""
        groups = defaultdict(list)
        for part, each in self.lists.items():
            for row in range(len(each.names)):
                groups[key(part, row)].append((part, row))
        groups.pop(None, None)
        return [group for group in groups.values() if len(group) > 1]


def check(
    root: Path, experiment: Experiment | None, lists: dict[str, Path], follow_links: bool = False
) -> Check:
    """Read the lists and open every picture of theirs that exists under `root`.

    Raises DataError if a list is wrong (see read_list), or if a link leads to a picture outside of `root`,
    unless `follow_links`.
    """
    count = len(experiment.attributes) if experiment else None
    by_part = {}
    for part, path in lists.items():
        names, labels = read_list(path, count)
        count = labels.shape[1]
        files = [find_picture(root, name) for name in names]
        if not follow_links:
            refuse_links_out(root, path, names, files)
        by_part[part] = CheckedList(path, names, labels, files)
    files = dict.fromkeys(file for each in by_part.values() for file in each.files if file is not None)
    return Check(root, experiment, by_part, open_pictures(list(files)))


def open_pictures(files: Sequence[str]) -> dict[str, Picture | PictureError]:
    """Return what each picture is, or why it cannot be read. Threads read them, as decoders free the GIL."""
    pool = ThreadPoolExecutor(usable_cores())
    try:
        bar = tqdm(pool.map(open_picture, files), "Pictures", len(files), leave=False, disable=None)
        return dict(zip(files, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts must not wait for all the others


def open_picture(file: str) -> Picture | PictureError:
    try:
        pixels = read_picture(file)
    except PictureError as error:
        return error
    with Image.open(file, formats=FORMATS) as picture:
        mode, kind = picture.mode, picture.format
    digest = hashlib.blake2b(f"{pixels.size}".encode() + pixels.tobytes(), digest_size=16).digest()
    return Picture(*pixels.size, mode, kind, digest)


def find_lists(
    paths: Sequence[Path], experiment: Experiment | None
) -> tuple[Experiment | None, dict[str, Path]]:
    """Return the data set, if it is known or the lists' names tell it, and the lists by part.

    `paths` is a directory, a list, or the training list and the evaluation list. Raises DataError if there is
    no list.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist; give a data set's directory, or its lists")
    if len(paths) == 1 and paths[0].is_dir():
        return lists_in(paths[0], experiment)
    if len(paths) > 2 or any(path.is_dir() for path in paths):
        raise DataError("give a directory, or a list, or the training list and the evaluation list")
    if experiment is None:
        names = {path.name for path in paths}
        experiment = next((each for each in EXPERIMENTS.values() if names & {*(each.own_lists or ())}), None)
    if len(paths) == 2:
        return experiment, dict(zip((TRAIN, TEST), paths, strict=True))
    name = paths[0].name.lower()
    is_test = "train" not in name and ("test" in name or "val" in name)
    return experiment, {TEST if is_test else TRAIN: paths[0]}


def lists_in(directory: Path, experiment: Experiment | None) -> tuple[Experiment | None, dict[str, Path]]:
    """Return the same from the lists that training finds in a directory."""
    if experiment:
        candidates = [(experiment, experiment.train_lists, experiment.val_lists)]
    else:  # names that could be any data set's tell none
        own = [(each, each.own_lists) for each in EXPERIMENTS.values() if each.own_lists]
        candidates = [(each, names[:1], names[1:]) for each, names in own]
        candidates.append((None, Experiment.train_lists, Experiment.val_lists))
    for candidate, *names in candidates:
        paths = [find_list(directory, None, own, "") for own in names]
        if any(paths):
            return candidate, {part: path for part, path in zip((TRAIN, TEST), paths, strict=True) if path}
    names = experiment.train_lists if experiment else ("PETA_train_list.txt", *Experiment.train_lists)
    raise DataError(
        f"no list in {directory} (looked for {', '.join(names)}, ...); name the lists themselves, or write "
        "them with another subcommand of prepare_data.py"
    )
