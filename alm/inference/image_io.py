"""Any picture file -> RGB of the network's size: which formats are read, and what is too much.

Only `read_pictures` needs torch.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from alm.constants import HEIGHT, WIDTH
from alm.errors import PictureError

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow reads others by starting programs
if "avif" in features.modules and features.check_module("avif"):  # Pillow 11.2 or newer, mostly
    FORMATS += ("AVIF",)
SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
            ".tif", ".tiff", ".webp")  # fmt: skip
READING_VERSION = 1  # raise it with every change that gives other pixels: it ends the caches of the old ones
MOST_PIXELS = 64_000_000
# Errors of the system that a file itself causes. Pillow's own have no number; a damaged file can make it seek
# to a place before the beginning (EINVAL).
FAULTS_OF_A_FILE = {None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
                    errno.ENAMETOOLONG, errno.EINVAL}  # fmt: skip
TOO_MANY = f"more than {MOST_PIXELS // 10**6} million pixels"
MOST_BYTES = 8 * MOST_PIXELS  # of a file: four channels of 16 bits, not compressed
WHITE_IS_ZERO = 0  # a TIFF's photometric interpretation, which Pillow heeds up to 8 bits only
PHOTOMETRIC_INTERPRETATION = 262


def read_picture(
    path: str | Path, turned: bool = False, opener: Callable[[], BinaryIO] | None = None
) -> Image.Image:
    """Return a picture in RGB, or an animation's first frame; transparency is dropped.

    16-bit grey is scaled to 8 bits. `turned` obeys the EXIF orientation, which training does not. If the
    picture is no file of its own, `opener` opens what holds it, and `path` is its name. Raises PictureError
    if the file is damaged, too large, none of `FORMATS`, or grey in 32 bits or floating point, whose white no
    format defines.
    """
    with opened_picture(path, opener) as picture:
        rgb = to_rgb(picture)
        return turn(rgb) if turned else rgb


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return a picture's width and height in pixels, as it is stored, without decoding it.

    Raises PictureError if it is too large, or none of `FORMATS`.
    """
    with opened_picture(path) as picture:
        return picture.size


@contextmanager
def opened_picture(path: str | Path, opener: Callable[[], BinaryIO] | None = None) -> Iterator[Image.Image]:
    """Give a picture that is not decoded yet. Its errors within the block become PictureErrors."""
    with picture_errors("cannot read picture {} ({}); replace it or leave it out", path):
        if opener is None:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is a directory, a device or a pipe")  # reading a pipe would wait
            check_length(status.st_size)
        with Image.open(opener() if opener else path, formats=FORMATS) as picture:
            check_size(picture)
            yield picture


@contextmanager
def picture_errors(message: str, *subject: object) -> Iterator[None]:
    """Make a PictureError of whatever Pillow's decoders stumble over in a damaged file; `message` has a place
    for each `subject`, and one for the reason.

    A lack of memory or an error of the system (too many open files, a disk that does not answer) says nothing
    about the picture, so it passes unchanged.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) not in FAULTS_OF_A_FILE:
            raise
        raise PictureError(message.format(*subject, reason(error))) from error


def reason(error: Exception) -> str:
    """Return in our words why a picture was not read."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):  # Pillow's limit, which is above ours
        return TOO_MANY
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return str(error)


def check_length(count: int) -> None:
    """Raise ValueError if a file has too many bytes: some decoders read the whole of it."""
    if count > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES // 10**6} MB")


def check_size(picture: Image.Image) -> None:
    """Raise ValueError if a picture, not decoded yet, has too many pixels."""
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"{picture.width} x {picture.height}, {TOO_MANY}")


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture as 8-bit RGB. Raises ValueError if its numbers have no defined white."""
    if is_16_bit_grey(picture):
        grey = np.asarray(picture) >> 8  # the high byte, as Pillow takes it of 16-bit colour
        if picture.format == "TIFF" and picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            grey = 255 - grey
        info, picture = picture.info, Image.fromarray(grey.astype(np.uint8))
        picture.info = info
    elif picture.mode in ("I", "F"):
        raise ValueError("32-bit grey, and no format says what is white in it: save it with 8 bits")
    return picture.convert("RGB")


def is_16_bit_grey(picture: Image.Image) -> bool:
    """Whether a picture's values go from 0 to 65,535; Pillow holds some such pictures in 32 bits."""
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))


def turn(picture: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF orientation says, or unchanged if the EXIF data are damaged.

    A TIFF needs nothing here: Pillow turns it when it decodes it, in training too.
    """
    try:
        with picture_errors("{}"):
            return ImageOps.exif_transpose(picture)
    except PictureError:  # damaged EXIF
        return picture


def read_resized(path: str | Path) -> np.ndarray:
    """Return a picture as uint8 (256, 128, 3), resized as torchvision's Resize does it on a picture."""
    return resized(read_picture(path))


def resized(picture: Image.Image) -> np.ndarray:
    """Return an RGB picture as uint8 (256, 128, 3)."""
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def read_pictures(paths: Sequence[str | Path] | str | Path) -> Tensor:
    """Return pictures (or one) for `alm.preprocess`: uint8 (B, 3, 256, 128) in channels_last memory.

    Raises PictureError.
    """
    import torch

    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    pictures = torch.empty((len(paths), HEIGHT, WIDTH, 3), dtype=torch.uint8)
    for picture, path in zip(pictures.numpy(), paths, strict=True):
        picture[:] = read_resized(path)
    return pictures.permute(0, 3, 1, 2)
