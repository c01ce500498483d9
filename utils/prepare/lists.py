"""What a prepared data set is, and how its files are written: lists and the attributes' names."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utils.data.attributes import Attribute
from utils.data.catalog import MAX_ATTRIBUTES, read_names
from utils.data.list_file import LEAVES_ROOT
from utils.errors import DataError
from utils.io.atomic import whole_file
from utils.io.phrases import counted, first_few, nearest

# Where the downloads have their pictures.
PLACES = ("", "data", "release_data/release_data", "release_data", "images", "RAP_dataset")


def find_pictures(names: Sequence[str], source: Path) -> Path:
    """Return the directory under `source` that a list's names are relative to.

    Raises DataError where no picture is there, or where some are missing.
    """
    folder = find_folder(names, source)
    if folder is None:
        raise DataError(
            f"none of the pictures is in {source}: no {names[0]} there; name their folder with --source"
        )
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise DataError(
            f"{counted(missing, 'picture')} of {len(names)} not in {folder}: {first_few(missing)}; unpack "
            "the pictures whole"
        )
    return folder


def find_folder(names: Sequence[str], source: Path) -> Path | None:
    """Return the directory under `source` where the first picture of a list is found."""
    folders = (source / place for place in PLACES)
    return next((folder for folder in folders if os.path.isfile(folder / names[0])), None)


def link_pictures(folder: Path, link: Path, force: bool) -> None:
    """Make `link` lead to the pictures' folder, unless it does already.

    Raises DataError where something else is there; `force` replaces a link, never a directory.
    """
    if link.exists() and link.samefile(folder):
        return
    if link.is_symlink() and force:
        link.unlink()
    if link.is_symlink() or link.exists():
        raise DataError(f"{link} is there and is not {folder}; move it away, or name another --output")
    link.symlink_to(folder.resolve(), target_is_directory=True)


def pixel_digests(paths: Sequence[Path]) -> list[bytes]:
    """Return a digest of each picture's decoded pixels and size. Raises PictureError."""
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(paths), desc="Pixels", leave=False, disable=None) as bar,
    ):
        digests = []
        for digest in pool.map(pixel_digest, paths):
            digests.append(digest)
            bar.update()
    return digests


def pixel_digest(path: Path) -> bytes:
    """Return a digest of a picture's size and RGB pixels."""
    from alm.inference.image_io import read_picture  # with torch, which takes seconds

    picture = read_picture(path)
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest()


ALL = "all"  # of --attributes


@dataclass(frozen=True)
class Rows:
    """The paths of N pictures as a list has them, and their labels, uint8 (N, K)."""

    names: list[str]
    labels: np.ndarray

    def take(self, indices: Iterable[int]) -> "Rows":
        """Return the rows with these indices, in their order."""
        indices = list(indices)
        return Rows([self.names[i] for i in indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """A data set that is ready to be written.

    `experiment` is what run_ALM.py calls it: `custom`, with a file of the attributes' names, unless these
    are the published ones. `lists` holds the rows of "train", "test" and perhaps "val"; `list_name` is the
    lists' file name with {part} in it, `names_file` that of the names. `line_end` is what ends a line of the
    published lists. `notes` are sentences for the user.
    """

    experiment: str
    attributes: tuple[str, ...]
    lists: dict[str, Rows]
    list_name: str
    names_file: str
    line_end: str = "\n"
    notes: list[str] = field(default_factory=list)

    def files(self) -> dict[str, str]:
        """Return file name -> text of all that is to be written."""
        texts = {
            self.list_name.format(part=part): list_text(rows, self.line_end)
            for part, rows in self.lists.items()
        }
        if self.experiment == "custom":
            texts[self.names_file] = "".join(f"{name}\n" for name in self.attributes)
        return texts


def list_text(rows: Rows, line_end: str) -> str:
    """Return a list file's text: `path l_1 ... l_K` and the line's end for each row."""
    count, width = rows.labels.shape
    characters = np.full((count, 2 * width), ord(" "), np.uint8)
    characters[:, 1::2] = rows.labels + ord("0")
    digits = characters.tobytes().decode("ascii")
    return "".join(
        name + digits[2 * width * i : 2 * width * (i + 1)] + line_end for i, name in enumerate(rows.names)
    )


def refuse_existing(output: Path, names: Iterable[str], force: bool) -> None:
    """Raise DataError where a file to be written is there already, unless `force`."""
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a directory with --output")
    there = [name for name in names if (output / name).exists()]
    if there and not force:
        raise DataError(
            f"{first_few(there)} already in {output}; name another --output, or write over them with --force"
        )


def write_data_set(
    data_set: DataSet, output: Path, force: bool = False, link: tuple[str, Path] | None = None
) -> dict[str, Path]:
    """Write lists and names into `output`, all of them or none, and return part -> list.

    `link` is the name of a link to be made there, and the folder of pictures that it leads to. Raises
    DataError where rows cannot be in a list (see check_rows), or where something is there already and
    `force` is not set.
    """
    check_rows(data_set.lists)
    texts = data_set.files()
    refuse_existing(output, texts, force)
    output.mkdir(parents=True, exist_ok=True)
    if link:
        name, folder = link
        link_pictures(folder, output / name, force)
    with ExitStack() as stack:  # each file gets its name when all of them are on the disk
        for name, text in texts.items():
            file = stack.enter_context(whole_file(output / name, "w"))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return {part: output / data_set.list_name.format(part=part) for part in data_set.lists}


def check_rows(lists: dict[str, Rows]) -> None:
    """Raise DataError where a list would be empty, or a name cannot be in a list, or is there twice."""
    seen: dict[str, tuple[str, int]] = {}
    for part, rows in lists.items():
        if not rows.names:
            raise DataError(f"no picture is left for the {part} list; give more pictures, or split otherwise")
        check_names(rows.names)
        for index, name in enumerate(rows.names):
            if name in seen:
                first, at = seen[name]
                same = (lists[first].labels[at] == rows.labels[index]).all()
                where = (
                    f"twice in the {part} list" if first == part else f"in the {first} and the {part} list"
                )
                raise DataError(
                    f"{name} is {where}, with {'the same' if same else 'other'} labels; keep one of the two"
                )
            seen[name] = part, index


def check_names(names: Sequence[str]) -> None:
    """Raise DataError where a list's line cannot hold a name, counting and naming them."""
    blanks = [name for name in names if name.split() != [name]]
    if blanks:
        raise DataError(
            f"{counted(blanks, 'file name')} with blanks, which end a name in a list: {first_few(blanks)}; "
            "rename the files, with _ for example"
        )
    outside = [name for name in names if LEAVES_ROOT.search(name)]
    if outside:
        raise DataError(
            f"{counted(outside, 'path')} outside the pictures' directory: {first_few(outside)}; "
            "give paths relative to it"
        )
    broken = [name for name in names if "\ufffd" in name or not is_utf8(name)]
    if broken:
        raise DataError(f"{counted(broken, 'file name')} not in UTF-8: {first_few(broken)}; rename the files")


def is_utf8(name: str) -> bool:
    """Whether a name can be written in UTF-8: the system's file names need not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def named(given: Sequence[str]) -> list[str]:
    """Return the names that --attributes gives: words, words joined by commas, or a file with one a line."""
    if len(given) == 1 and Path(given[0]).is_file():
        return list(read_names(given[0]))
    return [name for text in given for name in text.split(",") if name]


def check_choice(names: Sequence[str], known: Sequence[str], where: str) -> None:
    """Raise DataError where none is chosen, one is not `known`, naming the nearest, or one is there twice."""
    if not names:
        raise DataError(f"no attribute was named; give names that {where} has, or {ALL}")
    for name in names:
        if name not in known:
            raise DataError(f"{where} has no attribute {name!r}; the nearest is {nearest(name, known)!r}")
        if names.count(name) > 1:
            raise DataError(f"attribute {name!r} is chosen twice; choose it once")


def name_experiment(
    chosen: Sequence[str], experiment: str, table: Sequence[Attribute]
) -> tuple[str, tuple[str, ...]]:
    """Return what run_ALM.py calls attributes given by official name, and their names: `experiment` and its
    table's where they are the table's, whatever their case; else `custom` and as they are.
    """
    official = [(attribute.official_name or attribute.name).casefold() for attribute in table]
    if [name.casefold() for name in chosen] == official:
        return experiment, tuple(attribute.name for attribute in table)
    return "custom", tuple(chosen)


def check_attributes(names: Sequence[str], where: str) -> None:
    """Raise DataError where attributes cannot be an experiment's: too many, nameless, or two of one name."""
    if not 0 < len(names) <= MAX_ATTRIBUTES:
        raise DataError(f"{where} has {len(names)} attributes; 1 to {MAX_ATTRIBUTES} can be trained")
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"attribute {number} of {where} has no name; give it one")
        if name in names[: number - 1]:
            raise DataError(f"{where} has two attributes {name!r}; give each a name of its own")
