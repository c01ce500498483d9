"""A prepared data set: lists and names of attributes, written all or none, and a link to the pictures."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alm.constants import MAX_ATTRIBUTES
from utils.data.catalog import Experiment, read_names
from utils.data.list_file import LEAVES_ROOT, parse_line
from utils.errors import DataError
from utils.io.atomic import whole_file
from utils.io.phrases import counted, first_few, nearest

ALL = "all"  # of --attributes
# Folders of the downloads that hold the pictures.
PLACES = ("", "data", "release_data/release_data", "release_data", "images", "RAP_dataset")


@dataclass(frozen=True)
class Rows:
    """The paths of N pictures as a list has them, and their labels, uint8 (N, K)."""

    names: list[str]
    labels: np.ndarray

    def take(self, indices: Iterable[int]) -> "Rows":
        indices = list(indices)
        return Rows([self.names[i] for i in indices], self.labels[indices])

    def below(self, directory: Path) -> "Rows":
        """Return the same rows; absolute paths in a directory become relative to it."""
        inside = os.path.join(os.path.abspath(directory), "")
        names = [
            os.path.abspath(name).removeprefix(inside) if os.path.isabs(name) else name for name in self.names
        ]
        return Rows(names, self.labels)

    def text(self, line_end: str) -> str:
        """Return the list file: `path l_1 ... l_K` and the line's end for each row."""
        count, width = self.labels.shape
        characters = np.full((count, 2 * width), ord(" "), np.uint8)
        characters[:, 1::2] = self.labels + ord("0")
        digits = characters.tobytes().decode("ascii")
        return "".join(
            name + digits[2 * width * i : 2 * width * (i + 1)] + line_end for i, name in enumerate(self.names)
        )


@dataclass(frozen=True)
class DataSet:
    """A data set that is ready to be written.

    Attributes:
        experiment: what run_ALM.py calls it: `custom`, with a file of names, unless its attributes are the
            published ones.
        attributes: K names.
        lists: the rows of "train", "test" and perhaps "val".
        list_name: the lists' file name, with {part} in it.
        names_file: the name of the file of attributes.
        line_end: the end of a line of the published lists.
        notes: sentences for the user.
    """

    experiment: str
    attributes: tuple[str, ...]
    lists: dict[str, Rows]
    list_name: str
    names_file: str
    line_end: str = "\n"
    notes: list[str] = field(default_factory=list)

    def files(self) -> dict[str, str]:
        texts = {
            self.list_name.format(part=part): rows.text(self.line_end) for part, rows in self.lists.items()
        }
        if self.experiment == "custom":
            texts[self.names_file] = "".join(f"{name}\n" for name in self.attributes)
        return texts


def write_data_set(
    data_set: DataSet, output: Path, force: bool = False, link: tuple[str, Path] | None = None
) -> dict[str, Path]:
    """Write lists and names into `output`, all of them or none, and return part -> list.

    `link` is the name of a link to make in `output`, and the folder of pictures that it leads to. Raises
    DataError if a list cannot hold its rows (see check_rows), or if something is there already and `force`
    is not set.
    """
    check_rows(data_set.lists)
    texts = data_set.files()
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a directory with --output")
    existing = [name for name in texts if (output / name).exists()]
    if existing and not force:
        raise DataError(
            f"{first_few(existing)} already in {output}; name another --output, or write over them with "
            "--force"
        )
    output.mkdir(parents=True, exist_ok=True)
    if link:
        link_pictures(link[1], output / link[0], force)
    with ExitStack() as stack:  # each file gets its name when all of them are on the disk
        for name, text in texts.items():
            file = stack.enter_context(whole_file(output / name, "w"))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return {part: output / data_set.list_name.format(part=part) for part in data_set.lists}


def check_rows(lists: dict[str, Rows]) -> None:
    """Raise DataError if a list is empty, or cannot hold a name, or if a name is there twice."""
    seen: dict[str, tuple[str, int]] = {}
    for part, rows in lists.items():
        if not rows.names:
            raise DataError(f"no picture is left for the {part} list; give more pictures, or split otherwise")
        check_names(rows.names)
        for index, name in enumerate(rows.names):
            if name in seen:
                first, at = seen[name]
                kind = "the same" if (lists[first].labels[at] == rows.labels[index]).all() else "other"
                twice = (
                    f"in the {first} and the {part} list" if first != part else f"twice in the {part} list"
                )
                raise DataError(f"{name} is {twice}, with {kind} labels; keep one of the two")
            seen[name] = part, index


def check_names(names: Sequence[str]) -> None:
    """Raise DataError if a list's line cannot hold a name; it says how many and which."""
    for is_faulty, fault, remedy in (
        (LEAVES_ROOT.search, "outside of the pictures' directory",
         "give paths relative to it, or name it with --source"),
        (is_read_otherwise, "that a list's line cannot hold",
         "rename the files: no line end, no blank at either end, no 0, 1 or 2 as the last word"),
        # The system's names need not be UTF-8: bytes that are not come as lone surrogates.
        (re.compile("[\ufffd\ud800-\udfff]").search, "not in UTF-8", "rename the files"),
    ):  # fmt: skip
        faulty = [name for name in names if is_faulty(name)]
        if faulty:
            raise DataError(f"{counted(faulty, 'file name')} {fault}: {first_few(faulty)}; {remedy}")


def is_read_otherwise(name: str) -> bool:
    """Whether a line with this name and a label would be read as something else."""
    try:
        return len(name.splitlines()) != 1 or parse_line(f"{name} 0", 1) != (name, "0")
    except DataError:
        return True


# Attributes.


def attribute_names(words: Sequence[str]) -> list[str]:
    """Return what --attributes names: words, words joined by commas, or a file with a name on each line."""
    if len(words) == 1 and Path(words[0]).is_file():
        return list(read_names(words[0]))
    return [name for word in words for name in word.split(",") if name]


def check_choice(names: Sequence[str], known: Sequence[str], source: str) -> None:
    """Raise DataError if there is no name, if one is not `known`, or if one is there twice."""
    if not names:
        raise DataError(f"--attributes names none; give names that {source} has, or {ALL}")
    for name in names:
        if name not in known:
            raise DataError(f"{source} has no attribute {name!r}; the nearest is {nearest(name, known)!r}")
        if names.count(name) > 1:
            raise DataError(f"attribute {name!r} is chosen twice; choose it once")


def check_attributes(names: Sequence[str], source: str) -> None:
    """Raise DataError if attributes cannot be trained: too many, one without a name, or two of one name."""
    if not 0 < len(names) <= MAX_ATTRIBUTES:
        raise DataError(f"{source} has {len(names)} attributes; 1 to {MAX_ATTRIBUTES} can be trained")
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"attribute {number} of {source} has no name; give it one")
        if name in names[: number - 1]:
            raise DataError(f"{source} has two attributes {name!r}; give each a name of its own")


def name_experiment(names: Sequence[str], experiment: Experiment) -> tuple[str, tuple[str, ...]]:
    """Return what run_ALM.py calls the attributes of these official names, and their names there.

    They are the experiment's if they are all of its own, in any case; otherwise `custom`'s, as they are.
    """
    official = experiment.official_names or experiment.attributes
    if [name.casefold() for name in names] == [name.casefold() for name in official]:
        return experiment.name, experiment.attributes
    return "custom", tuple(names)


# Pictures.


def find_folder(names: Sequence[str], source: Path) -> Path | None:
    """Return the directory under `source` that holds the first picture of a list, if there is one."""
    return next((source / place for place in PLACES if os.path.isfile(source / place / names[0])), None)


def find_pictures(names: Sequence[str], source: Path) -> Path:
    """Return the same as find_folder. Raises DataError if a picture is missing there."""
    folder = find_folder(names, source)
    if folder is None:
        raise DataError(
            f"none of the pictures is in {source}: no {names[0]} there; name their folder with --source"
        )
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise DataError(
            f"{counted(missing, 'picture')} of {len(names)} not in {folder}: {first_few(missing)}; unpack "
            "all of the pictures"
        )
    return folder


def link_pictures(folder: Path, link: Path, force: bool) -> None:
    """Make `link` lead to the pictures' folder, unless it does already.

    Raises DataError if something else is there; `force` replaces a link, never a directory.
    """
    if link.exists() and link.samefile(folder):
        return
    if link.is_symlink() and force:
        link.unlink()
    if link.is_symlink() or link.exists():
        raise DataError(f"{link} is there and is not {folder}; move it away, or name another --output")
    link.symlink_to(folder.resolve(), target_is_directory=True)
