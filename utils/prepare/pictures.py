"""The pictures of a data set that is prepared: where they are, a link to them, and which are equal."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from utils.data.list_file import DataError
from utils.io.phrases import counted, some

SUFFIXES = (".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
            ".webp")  # fmt: skip
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
            f"{counted(missing, 'picture')} of {len(names)} not in {folder}: {some(missing)}; unpack the "
            "pictures whole"
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
