"""Pictures -> predictions, whatever computes them: what every predictor takes and returns. Needs no torch."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from alm.constants import GLOBAL, HEIGHT, STRIDES, THRESHOLD, WIDTH
from alm.errors import AlmError
from alm.inference.evidence import SHARE, strongest_box, strongest_place, with_sum
from alm.inference.image_io import (
    FORMATS,
    MOST_BYTES,
    check_length,
    check_size,
    picture_errors,
    read_picture,
    resized,
    to_rgb,
    turn,
)
from alm.inference.thresholds import thresholds_of

Picture = str | Path | bytes | BinaryIO | Image.Image | np.ndarray  # an array is uint8 (H, W, 3), RGB
BATCH_SIZE = 32


@dataclass(frozen=True, eq=False, repr=False)
class Recognition:
    """The probabilities of K attributes, and what they mean.

    Attributes:
        attributes: their names.
        probabilities: float (K,).
        thresholds: float64 (K,); an attribute counts as present above its own.
    """

    attributes: tuple[str, ...]
    probabilities: np.ndarray
    thresholds: np.ndarray

    def positive(self, thresholds: float | Sequence[float] | None = None) -> np.ndarray:
        """Return which attributes are above their thresholds, or above others (one for all, or K): bool
        (K,).
        """
        thresholds = self.thresholds if thresholds is None else thresholds
        return self.probabilities > thresholds_of(self.attributes, thresholds)

    def found(self) -> list[int]:
        """Return the numbers of the attributes above their thresholds, the most probable first."""
        return sorted(np.flatnonzero(self.positive()).tolist(), key=lambda k: -self.probabilities[k])

    def describe(self, k: int) -> str:
        """Return an attribute with its probability, and with its threshold if that is not 0.5: `Hat 0.90`."""
        threshold = self.thresholds[k]
        note = "" if threshold == THRESHOLD else f" (threshold {threshold:.2f})"
        return f"{self.attributes[k]} {self.probabilities[k]:.2f}{note}"

    def rows(self) -> dict[str, dict]:
        """Return for JSON, by the attributes' names, `probability`, `threshold` and `positive`."""
        positive = self.positive().tolist()
        return {
            name: {
                "probability": number(self.probabilities[k]),
                "threshold": float(self.thresholds[k]),
                "positive": positive[k],
            }
            for k, name in enumerate(self.attributes)
        }


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Recognition):
    """What is predicted of one picture, for K attributes.

    Attributes:
        attributes: their names.
        probabilities: float (K,): the largest of the branches' for each attribute, which is the paper's vote.
        thresholds: float64 (K,); an attribute counts as present above its own.
        level: for each attribute, the branch that gave this probability: "3b", "4d", "5b", or "main", which
            sees the whole picture and has no region.
        regions: where each level looked for each attribute, {"3b": float (K, 4), ...}, boxes left, top,
            right, bottom in pixels of the picture, cut at its border; {} for a network without localization.
        size: the picture's width and height.
        evidence: how much each place counts in the branches' logits for each attribute, and in their sum,
            {"3b": float (K, 32, 16), ..., "main": (K, 8, 4), "all": (K, 32, 16)}, maps over the whole
            picture; {} if the predictor gives none.
    """

    level: tuple[str, ...]
    regions: Mapping[str, np.ndarray]
    size: tuple[int, int]
    evidence: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels that have regions, fine to coarse."""
        return tuple(self.regions)

    def strongest_places(self) -> dict[str, np.ndarray]:
        """Return where each map of `evidence` has its highest cell: x, y (K, 2) in pixels of the picture."""
        return {name: strongest_place(maps) * self.size for name, maps in self.evidence.items()}

    def strongest_boxes(self, share: float = SHARE) -> dict[str, np.ndarray]:
        """Return the boxes (K, 4), as in `regions`, around what is above a share of each map's range."""
        scale = np.tile(self.size, 2)
        return {name: strongest_box(maps, share) * scale for name, maps in self.evidence.items()}

    @property
    def extent(self) -> str:
        """The picture's size in words: `40 x 120`."""
        return "{} x {}".format(*self.size)

    def __repr__(self) -> str:
        found = ", ".join(map(self.describe, self.found())) or "nothing found"
        return f"Prediction({self.extent}: {found})"

    def to_dict(self) -> dict:
        """Return all of it for JSON: `width`, `height` and `attributes`. Each attribute has, under its name,
        `probability`, `threshold`, `positive`, the winning `level`, each level's box in `regions`, and
        the strongest `place` and the `box` of each map of `evidence`.
        """
        places, boxes, rows = self.strongest_places(), self.strongest_boxes(), self.rows()
        for k, row in enumerate(rows.values()):
            row["level"] = self.level[k]
            row["regions"] = {level: pixels(box[k]) for level, box in self.regions.items()}
            row["evidence"] = {
                name: {"place": pixels(place[k]), "box": pixels(boxes[name][k])}
                for name, place in places.items()
            }
        width, height = self.size
        return {"width": width, "height": height, "attributes": rows}


def number(probability: float) -> float:
    """Return a float32 as a number of at most 9 digits, which are enough to give it back."""
    return float(f"{probability:.9g}")


def pixels(box: np.ndarray) -> list[float]:
    """Return a box in hundredths of a pixel."""
    return [round(float(side), 2) for side in box]


class PicturePredictor(ABC):
    """Predicts pictures. Threads may share it.

    Attributes:
        attributes: the K names of what it predicts.
        levels: the names of the levels that have regions, fine to coarse.
        thresholds: one probability for all attributes, or K; above it an attribute counts as present. Its
            predictions carry them, so set others before a call, which raises AlmError if they are not such.
    """

    attributes: tuple[str, ...]
    levels: tuple[str, ...]
    thresholds: float | Sequence[float] = THRESHOLD

    def __repr__(self) -> str:
        levels = ", ".join(self.levels) or "no levels"
        return f"{type(self).__name__}({len(self.attributes)} attributes; {levels})"

    def __call__(
        self, images: Picture | Iterable[Picture], batch_size: int = BATCH_SIZE, as_trained: bool = False
    ) -> list[Prediction]:
        """Return the predictions of pictures, in their order, or of one picture, as a list of one.

        A picture is a path, the bytes of a file, a file opened to read its bytes, a PIL picture, or a uint8
        array (H, W, 3) in RGB. Its EXIF orientation turns it,
        and the regions are in pixels of the turned picture; `as_trained` leaves it as it is stored, as
        training does. Raises PictureError if a picture cannot be read.
        """
        return list(self.each(images, batch_size, as_trained))

    def each(
        self, images: Picture | Iterable[Picture], batch_size: int = BATCH_SIZE, as_trained: bool = False
    ) -> Iterator[Prediction]:
        """Yield what a call returns, batch by batch, so that only `batch_size` pictures are in memory."""
        if batch_size < 1:
            raise AlmError(f"a batch of {batch_size}: give a whole number from 1 on")
        is_array = isinstance(images, np.ndarray) and images.ndim == 3
        is_one = is_array or isinstance(images, (str, os.PathLike, bytes, Image.Image))
        is_one = is_one or hasattr(images, "read")
        remaining = iter([images] if is_one else images)
        while batch := list(islice(remaining, batch_size)):
            pixels, sizes = zip(*(read_input(image, as_trained) for image in batch), strict=True)
            yield from self.predict(np.stack(pixels), sizes)

    @abstractmethod
    def predict(self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Return the predictions of resized pictures, uint8 (B, 256, 128, 3), of these original `sizes`."""


def read_input(image: Picture, as_trained: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a picture as uint8 (256, 128, 3), and its original width and height; see PicturePredictor.

    Raises PictureError.
    """
    if isinstance(image, (str, os.PathLike)):
        picture = read_picture(image, turned=not as_trained)
        return resized(picture), picture.size
    with picture_errors("this is no picture that can be read ({})"):
        if hasattr(image, "read"):
            image = image.read(MOST_BYTES + 1)
        if isinstance(image, bytes):
            check_length(len(image))
            image = Image.open(io.BytesIO(image), formats=FORMATS)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ValueError(f"{image.dtype} {image.shape} instead of uint8 (H, W, 3)")
            image = Image.fromarray(np.ascontiguousarray(image))
        if not isinstance(image, Image.Image):
            raise ValueError(f"{type(image).__name__} instead of a path, bytes, a PIL picture or an array")
        check_size(image)
        picture = to_rgb(image)
    picture = picture if as_trained else turn(picture)
    return resized(picture), picture.size


def predictions_of(
    attributes: tuple[str, ...],
    probabilities: np.ndarray,
    winners: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    align_corners: bool,
    thresholds: float | Sequence[float],
    regions: Mapping[str, np.ndarray],
    evidence: Mapping[str, np.ndarray] | None = None,
) -> list[Prediction]:
    """Return the predictions of a batch from a network's outputs.

    `probabilities` (B, K) are the largest of the branches', `winners` (B, K) the numbers of these branches;
    `sizes` are the pictures' widths and heights; `thresholds` are one for all attributes, or K; `regions` are
    what `model.localize` returns, {"3b": (B, K, 4), ...}, one for each branch but the last; `evidence` is
    what `model.evidence` returns.
    """
    branches = (*regions, GLOBAL)
    fractions = boxes(regions, align_corners)
    evidence = with_sum(evidence) if evidence else {}
    thresholds = thresholds_of(attributes, thresholds)
    return [
        Prediction(
            attributes,
            probabilities[i],
            thresholds,
            tuple(branches[winner] for winner in winners[i]),
            {level: box[i] * np.tile(size, 2) for level, box in fractions.items()},
            size,
            {name: maps[i] for name, maps in evidence.items()},
        )
        for i, size in enumerate(sizes)
    ]


def boxes(regions: Mapping[str, np.ndarray], align_corners: bool) -> dict[str, np.ndarray]:
    """Return the regions of all levels, fine to coarse, each (..., 4) [s_x, s_y, t_x, t_y], as boxes
    (..., 4), left, top, right, bottom in [0, 1] of the picture, cut at its border.

    A box has the centre (t_x, t_y) and the half-size (s_x, s_y). -1 and 1 are the edges of the picture; under
    `align_corners`, as in grid_sample, they are the centres of the outer cells of the level's map.
    """
    result = {}
    for (level, region), stride in zip(regions.items(), STRIDES[: len(regions)], strict=True):
        region = np.asarray(region, dtype=np.float64)
        scale, shift = region[..., :2], region[..., 2:]
        fractions = (np.concatenate([shift - scale, shift + scale], axis=-1) + 1) / 2
        if align_corners:
            cells = np.array([WIDTH, HEIGHT] * 2) // stride
            fractions = (fractions * (cells - 1) + 0.5) / cells
        result[level] = fractions.clip(0, 1)
    return result
