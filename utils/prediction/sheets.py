"""A directory of sheets, one for each picture."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from alm.inference.image_io import read_picture
from alm.inference.prediction import Prediction
from utils.errors import InputError
from utils.io.atomic import whole_file
from utils.prediction.regions import draw_regions
from utils.prediction.sources import Source

COMPRESSION = 3  # of 9: half the time of Pillow's default, a twelfth larger
LONGEST_STEM = 240  # bytes; with a number and `.png` a file's name has 255


class SheetError(InputError):
    """Sheets that cannot be drawn."""


class Sheets:
    """Draws a sheet for each picture into a new directory, in folders as the pictures are."""

    def __init__(
        self,
        directory: str | Path,
        attributes: Sequence[str] | None,
        thresholds: float | Sequence[float],
        as_trained: bool = False,
    ):
        """Make the directory. `attributes` and `thresholds` are those of `draw_regions`; `as_trained` says
        that the pictures were predicted as they are stored.

        Raises SheetError where something is in it, OSError where it cannot be made.
        """
        self.directory = Path(directory)
        self.attributes, self.thresholds, self.as_trained = attributes, thresholds, as_trained
        self.directory.mkdir(parents=True, exist_ok=True)
        if any(self.directory.iterdir()):
            raise SheetError(f"{directory} is not empty; name a new directory with --regions")

    def write(self, source: Source, prediction: Prediction, _positive: np.ndarray) -> None:
        """Draw a picture's sheet. It is read again: whole pictures of a batch could fill the memory."""
        picture = read_picture(source.file, turned=not self.as_trained)
        self.draw(source.name, source.place, picture, prediction)

    def draw(self, name: str, place: str, picture: Image.Image, prediction: Prediction) -> Path:
        """Draw a picture's sheet, under its name; return where. `place` is its path below the directory."""
        path = self.free_path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = draw_regions(picture, prediction, self.attributes, self.thresholds, title=name)
        with whole_file(path) as file:
            sheet.save(file, "PNG", compress_level=COMPRESSION)
        return path

    def free_path(self, place: str) -> Path:
        """Return a path in the directory, never outside of it, where no other sheet is."""
        _, below = os.path.splitdrive(place.replace("\\", "/"))
        parts = [part for part in PurePath(below).parts if part not in ("/", "..")]
        path = self.directory.joinpath(*parts)
        stem, number = os.fsdecode(os.fsencode(path.stem)[:LONGEST_STEM]), 1
        path = path.with_name(f"{stem}.png")
        while path.exists():
            number += 1
            path = path.with_name(f"{stem}_{number}.png")
        return path
