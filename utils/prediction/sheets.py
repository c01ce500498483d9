"""A directory of sheets, one for each picture."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alm.constants import GLOBAL, THRESHOLD
from alm.errors import AlmError
from alm.inference.image_io import read_picture
from alm.inference.prediction import Prediction
from utils.io.atomic import whole_file
from utils.prediction.drawing import (
    ROW,
    SIZE,
    draw_box,
    draw_region,
    ending,
    fitted,
    font_for,
    legible,
    wrapped,
)
from utils.prediction.sources import Source

LEGEND = {"3b": "3b, fine", "4d": "4d, middle", "5b": "5b, coarse", GLOBAL: "main, the whole picture"}
STRONG_MEANS = "thick: where the probability comes from"
NARROWEST = 132  # pixels of a column, so that names have room
ACROSS = 7  # panels in a row, at most
NAME_LINES = 2
MARGIN, GAP = 16, 14  # pixels around all, and between panels
SWATCH, INDENT = (24, 13), 31  # pixels: a level's sign, and where the text behind it begins
PAPER, INK, PALE = "white", "#20242c", "#5c6370"


def draw_regions(
    picture: Image.Image,
    prediction: Prediction,
    attributes: Sequence[str] | None = None,
    thresholds: float | Sequence[float] = THRESHOLD,
    title: str = "",
) -> Image.Image:
    """Return a sheet: the person, and beside it one picture for each attribute shown, with the box of each
    level, thick where the probability comes from; a legend below.

    `attributes` are names, by default those above their thresholds, the most probable first. The picture must
    be turned as the one that was predicted. Raises ValueError where one of them is not predicted, or where
    the prediction has no regions.
    """
    if not prediction.regions:
        raise ValueError("the prediction has no regions to draw")
    shown = chosen(prediction, attributes, thresholds)
    person = fitted(picture, SIZE)
    scale = np.tile(np.divide(person.size, picture.size), 2)
    column = max(person.width, NARROWEST)
    font = font_for(title + "".join(prediction.attributes))
    names = [wrapped(legible(prediction.attributes[k]), font, column, NAME_LINES) for k in shown]
    rows = max(map(len, names), default=0) + 1

    facts = [f"{picture.width} x {picture.height}"]
    if not shown:
        facts, rows = ["nothing found", *facts], 2
    tiles = [beneath(caption(facts, column, rows, font), person)]
    for k, name in zip(shown, names, strict=True):
        level = prediction.level[k]
        boxes = {other: box[k] * scale for other, box in prediction.regions.items()}
        text = caption([*name, f"{prediction.probabilities[k]:.2f}  {level}"], column, rows, font, level)
        tiles.append(beneath(text, draw_region(person, boxes, level)))
    panels = grid(tiles)
    parts = [panels, legend(max(panels.width, 3 * column), font)] if shown else [panels]
    if title:
        width = max(part.width for part in parts)
        parts.insert(0, caption([ending(legible(title), font, width)], width, 1, font))
    return framed(beneath(*parts, gap=GAP))


def chosen(
    prediction: Prediction, attributes: Sequence[str] | None, thresholds: float | Sequence[float]
) -> list[int]:
    """Return which attributes are shown, in order. Raises ValueError where one is not predicted."""
    if attributes is not None:
        return [prediction.attributes.index(name) for name in attributes]
    return sorted(np.flatnonzero(prediction.positive(thresholds)), key=lambda k: -prediction.probabilities[k])


def caption(
    lines: Sequence[str], width: int, rows: int, font: ImageFont.FreeTypeFont, level: str | None = None
) -> Image.Image:
    """Return lines of text as the lowest of so many rows, the last of them pale where there are several, and
    behind the sign of a `level`.
    """
    image = Image.new("RGB", (width, rows * ROW), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines, start=rows - len(lines)):
        is_last = row == rows - 1
        ink = PALE if is_last and rows > 1 else INK
        draw.text((INDENT if is_last and level else 0, row * ROW), line, ink, font)
    if level:
        draw_swatch(draw, (0, image.height - ROW), level, strong=True)
    return image


def legend(width: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Return what each level's sign means, in as many lines as `width` needs."""
    entries = [(level, INDENT + round(font.getlength(text)), text) for level, text in LEGEND.items()]
    entries.append((None, round(font.getlength(STRONG_MEANS)), STRONG_MEANS))
    places, left, row = [], 0, 0
    for _, extent, _ in entries:
        if left and left + extent > width:
            left, row = 0, row + 1
        places.append((left, row * ROW))
        left += extent + 2 * GAP
    longest = max(place[0] + extent for place, (_, extent, _) in zip(places, entries, strict=True))
    image = Image.new("RGB", (longest, (row + 1) * ROW), PAPER)
    draw = ImageDraw.Draw(image)
    for (left, top), (level, _, text) in zip(places, entries, strict=True):
        if level:
            draw_swatch(draw, (left, top), level)
        draw.text((left + (INDENT if level else 0), top), text, PALE, font)
    return image


def draw_swatch(draw: ImageDraw.ImageDraw, place: tuple[int, int], level: str, strong: bool = False) -> None:
    """Draw the sign of a level, a box as its regions are drawn."""
    left, top = place[0] + 3, place[1] + 5
    box = (left, top, left + SWATCH[0] - 6, top + SWATCH[1] - 6)
    draw_box(draw, box, draw.im.size, level, strong)


def grid(tiles: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one size in rows."""
    width, height = tiles[0].size
    down = -(-len(tiles) // ACROSS)
    across = -(-len(tiles) // down)
    image = Image.new("RGB", (across * (width + GAP) - GAP, down * (height + GAP) - GAP), PAPER)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        image.paste(tile, (column * (width + GAP), row * (height + GAP)))
    return image


def beneath(*parts: Image.Image, gap: int = 0) -> Image.Image:
    """Return pictures below each other, at the left."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    image = Image.new("RGB", (max(part.width for part in parts), height), PAPER)
    top = 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height + gap
    return image


def framed(image: Image.Image) -> Image.Image:
    """Return a picture with a margin."""
    sheet = Image.new("RGB", (image.width + 2 * MARGIN, image.height + 2 * MARGIN), PAPER)
    sheet.paste(image, (MARGIN, MARGIN))
    return sheet


COMPRESSION = 3  # of 9: half the time of Pillow's default, a twelfth larger
LONGEST_STEM = 240  # bytes; with a number and `.png` a file's name has 255


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

        Raises AlmError where something is in it, OSError where it cannot be made.
        """
        self.directory = Path(directory)
        self.attributes, self.thresholds, self.as_trained = attributes, thresholds, as_trained
        self.directory.mkdir(parents=True, exist_ok=True)
        if any(self.directory.iterdir()):
            raise AlmError(f"{directory} is not empty; name a new directory with --regions")

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
