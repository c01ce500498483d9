"""The pictures of one list, decoded and resized once, in one memory-mapped file that all processes share."""

import contextlib
import hashlib
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from tqdm import tqdm

PICTURE_SHAPE = (256, 128, 3)
PICTURE_BYTES = 256 * 128 * 3
DECODED_AHEAD = 256  # pictures that may wait for the disk: 25 MB
ABANDONED_AFTER = 600  # seconds without a write: a build that was killed


def cache_directory(option: str, root) -> Path | None:
    """Return what --cache none|auto|DIR means: None, the root's own `.alm_cache`, or DIR."""
    if option == "none":
        return None
    return Path(root, ".alm_cache") if option == "auto" else Path(option)


class PictureCache:
    """Resized pictures in one file of N x 98,304 bytes: uint8 (N, 256, 128, 3), mapped and never copied."""

    def __init__(self, path):
        self.path = path
        self.pictures = np.asarray(np.memmap(path, np.uint8, mode="r")).reshape(-1, *PICTURE_SHAPE)

    def __reduce__(self):
        return PictureCache, (self.path,)  # pickled for a worker, the array would be its contents


def open_cache(
    directory, list_path, names: Sequence[str], paths: Sequence[str], read: Callable[[str], np.ndarray]
) -> PictureCache | None:
    """Return the cache of a list's pictures, built where there is none or a picture has changed.

    `names` are the list's paths, `paths` the files; `read(path)` returns uint8 (256, 128, 3), and what it
    raises ends the build. Where the disk is full or the directory cannot be written, warns and returns None.
    """
    directory = Path(directory)
    prefix = list_prefix(list_path)
    path = directory / f"{prefix}{digest(names, paths)}.rgb"
    size = len(paths) * PICTURE_BYTES
    try:
        if not path.is_file() or path.stat().st_size != size:
            directory.mkdir(parents=True, exist_ok=True)
            remove_stale(directory, prefix, path)
            require_space(directory, size)
            write_whole(path, decoded(paths, read))
        return PictureCache(path)
    except OSError as error:
        warnings.warn(f"no cache in {directory} ({error}); pictures are decoded each time", stacklevel=2)
        return None


def list_prefix(list_path) -> str:
    """Return how the cache files of a list begin: its name, and a digest that tells namesakes apart."""
    list_path = Path(list_path).resolve()
    return f"{list_path.stem}-{hashlib.sha256(os.fsencode(list_path)).hexdigest()[:8]}-"


def digest(names: Sequence[str], paths: Sequence[str]) -> str:
    """Return a digest of what the pixels depend on: list paths, file sizes, modification times, decoder."""
    state = hashlib.sha256(f"Pillow {PIL.__version__}\n".encode())
    for name, path in zip(names, paths, strict=True):
        status = os.stat(path)
        state.update(f"{name}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return state.hexdigest()[:16]


def remove_stale(directory: Path, prefix: str, current: Path) -> None:
    """Remove a list's former cache, which would take its space twice, and what killed builds left."""
    for path in directory.iterdir():
        if not path.name.startswith(prefix) or path == current:
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has finished its build, or removed it
            if path.suffix == ".rgb" or time.time() - path.stat().st_mtime > ABANDONED_AFTER:
                path.unlink()


def require_space(directory: Path, size: int) -> None:
    """Raise OSError unless `size` bytes are free."""
    free = shutil.disk_usage(directory).free
    if free < size:
        raise OSError(f"{size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")


def decoded(paths: Sequence[str], read: Callable[[str], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pictures in order, read by threads: Pillow resizes without the GIL."""
    with ThreadPoolExecutor() as pool, tqdm(total=len(paths), desc="Cache", leave=False, disable=None) as bar:
        for first in range(0, len(paths), DECODED_AHEAD):
            for picture in pool.map(read, paths[first : first + DECODED_AHEAD]):
                yield picture
                bar.update()


def write_whole(path: Path, pictures: Iterator[np.ndarray]) -> None:
    """Write pictures one behind the other, so that the file appears complete or not at all."""
    temporary = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        # Written, not mapped: a full disk is then an error instead of a bus error.
        with open(temporary, "xb") as file:
            for picture in pictures:
                file.write(picture)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
