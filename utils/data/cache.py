"""The pictures of a list, decoded and resized once, in one memory-mapped file that all processes share."""

import contextlib
import hashlib
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from tqdm import tqdm

from alm.constants import HEIGHT, KEPT, WIDTH
from alm.devices.host import usable_cores
from alm.inference.image_io import READING_VERSION
from utils.io.atomic import whole_file

RECORD = np.dtype([("picture", np.uint8, (HEIGHT, WIDTH, 3)), ("checksum", np.uint64)])
ODD_NUMBERS = np.arange(
    1, HEIGHT * WIDTH * 3 // 4, 2, dtype=np.uint64
)  # one for each 64-bit word of a picture
SPOT_CHECKS = 32  # pictures that are decoded anew when a cache is opened
DECODED_AHEAD = 256  # pictures that may wait for the disk: 25 MB
ABANDONED_AFTER = 600  # seconds without a write: a build that was killed

Reader = Callable[[str], np.ndarray | None]  # of a path


def cache_directory(option: str, root) -> Path | None:
    """Return what --cache none|auto|DIR means: None, the root's own `.alm_cache`, or DIR."""
    if option == "none":
        return None
    return Path(root, ".alm_cache") if option == "auto" else Path(option)


class PictureCache:
    """Resized pictures, uint8 (256, 128, 3), and their checksums in one file, mapped and never copied."""

    def __init__(self, path):
        self.path = path
        self.records = np.asarray(np.memmap(path, RECORD, mode="r"))

    def copy(self, index: int, picture: np.ndarray) -> bool:
        """Fill `picture` with one from the cache; return whether it is what was put there."""
        record = self.records[index]
        picture[:] = record["picture"]
        return checksum(picture, index) == record["checksum"]

    def __reduce__(self):
        return PictureCache, (self.path,)  # pickled for a worker, the array would be its contents


def checksum(picture: np.ndarray, index: int) -> np.uint64:
    """Return the sum of a picture's 64-bit words times the odd numbers, modulo 2^64: a third of a CRC's time.

    The picture's place is in it too, so zeros in the place of a record, or two records that were swapped, do
    not fit.
    """
    return (picture.reshape(-1).view(np.uint64) @ ODD_NUMBERS) ^ np.uint64(index + 1)


def open_cache(
    directory, list_path, root, paths: Sequence[str], read: Reader, seed: int
) -> PictureCache | None:
    """Return the cache of a list's pictures; it is built if there is none, or if a picture has changed.

    `paths` are the files under `root`. `read(path)` returns uint8 (256, 128, 3), or None for a picture that
    the cache is to lack; its errors are raised. `seed` decides which pictures are checked. If the disk is
    full or the directory cannot be written, warns and returns None.
    """
    directory = Path(directory)
    prefix = list_prefix(list_path, root)
    path = directory / f"{prefix}{digest(root, paths)}.rgb"
    size = len(paths) * RECORD.itemsize
    try:
        if not path.is_file() or path.stat().st_size != size or not agrees(path, paths, read, seed):
            directory.mkdir(parents=True, exist_ok=True)
            remove_stale(directory, prefix, path)
            if (free := shutil.disk_usage(directory).free) < size:
                raise OSError(f"{size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
            with whole_file(path) as file:
                # Written, not mapped, so that a full disk is an error.
                for index, picture in enumerate(decoded(paths, read)):
                    file.write(record_of(picture, index))
        return PictureCache(path)
    except OSError as error:
        warnings.warn(f"no cache in {directory} ({error}); pictures are decoded each time", stacklevel=2)
        return None


def agrees(path, paths: Sequence[str], read: Reader, seed: int) -> bool:
    """Whether some pictures of a cache are what `read` makes of their files now."""
    records = PictureCache(path).records
    places = np.random.default_rng(seed).permutation(len(paths))[:SPOT_CHECKS]
    return all(records[place].tobytes() == record_of(read(paths[place]), place) for place in places)


def record_of(picture: np.ndarray | None, index: int) -> bytes:
    """Return the bytes of a picture's record; those of a lacking one fit no picture."""
    if picture is None:
        return bytes(RECORD.itemsize)
    return picture.tobytes() + checksum(picture, index).tobytes()


def list_prefix(list_path, root) -> str:
    """Return how a list's cache files are called at first: its name, a digest of its and its root's place."""
    places = "\n".join(str(Path(place).resolve()) for place in (list_path, root))
    return f"{Path(list_path).stem}-{hashlib.sha256(os.fsencode(places)).hexdigest()[:8]}-"


def digest(root, paths: Sequence[str]) -> str:
    """Return a digest of all that decides the pixels: the files, their sizes and times, how they are read.

    Programs can set the time of a file's last change, as those that copy do, but not that of its inode.
    """
    state = hashlib.sha256(f"Pillow {PIL.__version__}\treading {READING_VERSION}\n".encode())
    for path in paths:
        status = os.stat(path)
        place = os.fsencode(os.path.relpath(path, root))
        state.update(place + f"\t{status.st_size}\t{status.st_mtime_ns}\t{status.st_ctime_ns}\n".encode())
    return state.hexdigest()[:16]


def remove_stale(directory: Path, prefix: str, current: Path) -> None:
    """Remove a list's former cache, which would take space twice, and files that killed builds left."""
    for path in directory.iterdir():
        is_whole = path.suffix == ".rgb"
        if path == current or not path.name.startswith(prefix if is_whole else f".{prefix[:KEPT]}"):
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has finished its build, or removed it
            if is_whole or time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                path.unlink()


def decoded(paths: Sequence[str], read: Reader) -> Iterator[np.ndarray | None]:
    """Yield the pictures in order, read by threads: Pillow resizes without the GIL."""
    bar = tqdm(total=len(paths), desc="Cache", leave=False, disable=None)
    with ThreadPoolExecutor(usable_cores() + 4) as pool, bar:  # some wait for the disk
        for first in range(0, len(paths), DECODED_AHEAD):
            for picture in pool.map(read, paths[first : first + DECODED_AHEAD]):
                yield picture
                bar.update()
