"""Pictures of any kind -> predictions, in batches; what computes them is left to others."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from alm.errors import AlmError
from alm.inference.image_io import PictureError, check_size, read_picture, resized, to_rgb, turn
from alm.inference.prediction import THRESHOLD, Prediction

Picture = str | Path | Image.Image | np.ndarray  # an array is uint8 (H, W, 3), RGB
BATCH_SIZE = 32


class PicturePredictor(ABC):
    """What predicts pictures. Safe to use in threads.

    `attributes` are the names of what it predicts, `levels` those of the levels that have regions.
    `thresholds`, one or one for each attribute, are the probabilities above which it takes one to be there.
    """

    attributes: tuple[str, ...]
    levels: tuple[str, ...]
    thresholds: float | Sequence[float] = THRESHOLD

    def __call__(
        self, images: Picture | Iterable[Picture], batch_size: int = BATCH_SIZE, as_trained: bool = False
    ) -> list[Prediction]:
        """Return the predictions of pictures, in their order, or of one picture, as a list of one.

        A picture is a path, a PIL picture, or a uint8 array (H, W, 3) in RGB. It is turned as its EXIF
        orientation says, and the regions are in pixels of the turned picture; with `as_trained` it is left
        as it is stored, as in training. Raises PictureError where one cannot be read.
        """
        return list(self.each(images, batch_size, as_trained))

    def each(
        self, images: Picture | Iterable[Picture], batch_size: int = BATCH_SIZE, as_trained: bool = False
    ) -> Iterator[Prediction]:
        """Yield what a call returns, as soon as each batch is done: of any number of pictures, `batch_size`
        are in memory.
        """
        if batch_size < 1:
            raise AlmError(f"a batch of {batch_size}: give a whole number from 1 on")
        remaining = iter([images] if is_one(images) else images)
        while batch := list(islice(remaining, batch_size)):
            pixels, sizes = zip(*(read_input(image, as_trained) for image in batch), strict=True)
            yield from self.predict(np.stack(pixels), sizes)

    @abstractmethod
    def predict(self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Return the predictions of pictures that are resized already, uint8 (B, 256, 128, 3); `sizes` are
        their widths and heights before.
        """


def is_one(images) -> bool:
    """Whether this is one picture, not several."""
    return isinstance(images, (str, os.PathLike, Image.Image)) or (
        isinstance(images, np.ndarray) and images.ndim == 3
    )


def read_input(image: Picture, as_trained: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a picture as uint8 (256, 128, 3), and its width and height before: of a path, a PIL picture, or
    a uint8 array (H, W, 3) in RGB.

    It is turned as its EXIF orientation says, but `as_trained`. Raises PictureError.
    """
    if isinstance(image, (str, os.PathLike)):
        picture = read_picture(image, turned=not as_trained)
        return resized(picture), picture.size
    try:
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ValueError(f"{image.dtype} {image.shape} instead of uint8 (H, W, 3)")
            image = Image.fromarray(np.ascontiguousarray(image))
        if not isinstance(image, Image.Image):
            raise ValueError(f"{type(image).__name__} instead of a path, a PIL picture or an array")
        check_size(image)
        picture = to_rgb(image)
    except Exception as error:
        raise PictureError(f"this is no picture that can be read ({error})") from error
    picture = picture if as_trained else turn(picture)
    return resized(picture), picture.size
