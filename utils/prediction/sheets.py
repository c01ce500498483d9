"""A sheet for each picture: the person, and for each attribute the levels' boxes and the evidence."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, count
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from alm.constants import THRESHOLD
from alm.errors import AlmError
from alm.inference.prediction import Prediction
from utils.io.atomic import whole_file, write_text
from utils.io.untrusted import printable
from utils.prediction.drawing import (
    ROW,
    SIZE,
    Face,
    Style,
    cut,
    draw_box,
    draw_regions,
    face_for,
    fitted,
    level_styles,
    wrapped,
)
from utils.prediction.heatmap import beside_evidence, colours
from utils.prediction.sources import Source
from utils.prediction.writers import Writer

MEANINGS = ("fine", "middle", "coarse", "the whole picture")  # of the branches, in their order
NARROWEST = 132  # pixels of a column, so that names have room
WIDEST = 552  # pixels of a row of panels, if it has several: a phone, 390 wide, shows letters of 10 pixels
NAME_LINES = 2
MARGIN, GAP = 16, 14  # pixels around the sheet, and between panels
EVIDENCE = (
    "evidence, from none to the strongest: above of the branch that gave the probability, below of all four; "
    "the ring is at the strongest place"
)
SCALE = (90, 13)  # pixels of the colours of evidence
SWATCH, INDENT = (24, 13), 31  # pixels: a level's sign, and where the text behind it begins
PAPER, INK, PALE = "white", "#20242c", "#5c6370"

COMPRESSION = 3  # of 9: half the time of Pillow's default, a twelfth larger
LONGEST_PART = 240  # bytes; a name in a path has at most 255, with a number and `.png`
DEEPEST = 8  # folders below the directory

INDEX = "index.html"  # its name is no sheet's
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Sheets</title>
<style>body {{ font: 1rem/1.7 system-ui, sans-serif; overflow-wrap: anywhere }}</style>
<ol>
{}
</ol>
"""


class Sheets(Writer):
    """Writes a sheet for each picture into a directory, at its place; see `with_places`."""

    def __init__(self, directory: str | Path, attributes: Sequence[str] | None, as_trained: bool = False):
        """`attributes` are those of `draw_sheet`; `as_trained` reads pictures as they are stored."""
        self.directory = Path(directory)
        self.attributes, self.as_trained = attributes, as_trained

    def write(self, source: Source, prediction: Prediction) -> None:
        """Write a picture's sheet. The picture is read again, because a batch of whole pictures could fill
        the memory.
        """
        picture = source.read(self.as_trained)
        sheet = draw_sheet(picture, prediction, self.attributes, title=source.title)
        path = self.directory / source.place
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            sheet.save(file, "PNG", compress_level=COMPRESSION)


def new_directory(path: str | Path) -> None:
    """Make a directory for sheets. Raises AlmError if it is there and not empty, OSError if it cannot be
    made.
    """
    Path(path).mkdir(parents=True, exist_ok=True)
    if any(Path(path).iterdir()):
        raise AlmError(f"{path} is not empty; name a new directory with --regions")


def write_index(directory: str | Path, sheets: Iterable[tuple[str, str]]) -> None:
    """Write a page with a link to each sheet, of which `sheets` has the title and the place."""
    links = (
        f'<li><a href="{quote(os.fsencode(place))}">{escape(printable(title))}</a></li>'
        for title, place in sheets
    )
    write_text(Path(directory, INDEX), PAGE.format("\n".join(links)))


def with_places(pictures: Iterable[Source]) -> Iterator[Source]:
    """Yield pictures with the places of their sheets in a directory: as they lie in their folder, archive or
    list. No place leads out of the directory, whatever it says, and none comes twice, on any file system.
    """
    files, folders = {INDEX}, set()
    numbers = defaultdict(lambda: count(2))  # of each place, those not taken yet: a million may have one name
    for source in pictures:
        _, below = os.path.splitdrive(source.place.replace("\\", "/"))
        *above, name = [part for part in PurePosixPath(below).parts if part not in ("/", "..")] or ["_"]
        place = PurePosixPath()
        for part in above[-DEEPEST:]:
            place = free_place(place, part, "", count(2), files)
            folders.add(str(place).casefold())
        stem = PurePosixPath(name).stem
        place = free_place(place, stem, ".png", numbers[str(place / stem).casefold()], files, folders)
        files.add(str(place).casefold())
        yield source._replace(place=str(place))


def free_place(
    folder: PurePosixPath, stem: str, suffix: str, numbers: Iterable[int], *used: set[str]
) -> PurePosixPath:
    """Return a path that is not used, with one of `numbers` behind the stem if it is needed."""
    stem = os.fsdecode(os.fsencode(stem)[:LONGEST_PART])
    ends = chain([""], (f"_{number}" for number in numbers))
    places = (folder / f"{stem}{end}{suffix}" for end in ends)
    return next(place for place in places if not any(str(place).casefold() in paths for paths in used))


def draw_sheet(
    picture: Image.Image,
    prediction: Prediction,
    attributes: Sequence[str] | None = None,
    title: str = "",
) -> Image.Image:
    """Return a sheet of the person and of the attributes' regions and evidence, with a legend below.

    `attributes` are names; by default the sheet has those above their thresholds, the most probable first.
    The picture must be turned as it was for the prediction. Raises ValueError if an attribute is not
    predicted, or if the prediction has no regions.
    """
    if not prediction.regions:
        raise ValueError("the prediction has no regions to draw")
    drawn = attributes_to_draw(prediction, attributes)
    person = fitted(picture, SIZE)
    scale = np.tile(np.divide(person.size, picture.size), 2)
    panels = [person]
    for k in drawn:
        boxes = {level: box[k] * scale for level, box in prediction.regions.items()}
        panel = draw_regions(person, boxes, prediction.level[k])
        if prediction.evidence:
            evidence = {name: maps[k] for name, maps in prediction.evidence.items()}
            panel = beside_evidence(panel, person, evidence, prediction.level[k])
        panels.append(panel)
    column = max(NARROWEST, *(panel.width for panel in panels))
    face = face_for(title + "".join(prediction.attributes[k] for k in drawn))
    styles = level_styles(prediction.levels)
    names = [wrapped(face.legible(prediction.attributes[k]), face, column, NAME_LINES) for k in drawn]
    for k, name in zip(drawn, names, strict=True):
        if prediction.thresholds[k] != THRESHOLD:
            name.append(f"threshold {prediction.thresholds[k]:.2f}")
    rows = max(map(len, names), default=0) + 1

    facts = [f"{picture.width} x {picture.height}"]
    if not drawn:
        facts, rows = ["nothing found", *facts], 2
    captions = [caption(facts, column, rows, face)]
    for k, name in zip(drawn, names, strict=True):
        lines = [*name, f"{prediction.probabilities[k]:.2f}  {prediction.level[k]}"]
        captions.append(caption(lines, column, rows, face, styles[prediction.level[k]]))
    parts = [in_rows([stacked(*tile) for tile in zip(captions, panels, strict=True)])]
    width = max(parts[0].width, 2 * NARROWEST)
    if drawn:
        parts.append(legend(styles, width, face))
        if prediction.evidence:
            parts.append(evidence_legend(width, face))
    if title:
        parts.insert(0, caption([cut(face.legible(title), face, width, at_start=True)], width, 1, face))
    if face.lacking:
        parts.append(paragraph(face.complaint(), width, face))
    return ImageOps.expand(stacked(*parts, gap=GAP), MARGIN, PAPER)


def attributes_to_draw(prediction: Prediction, attributes: Sequence[str] | None) -> list[int]:
    """Return the attributes' numbers in the sheet's order. Raises ValueError if one is not predicted."""
    if attributes is not None:
        return [prediction.attributes.index(name) for name in attributes]
    return prediction.found()


def caption(
    lines: Sequence[str], width: int, rows: int, face: Face, style: Style | None = None
) -> Image.Image:
    """Return lines of text at the bottom of `rows` rows. The last of several rows is pale, and stands behind
    a level's sign if its `style` is given.
    """
    image = Image.new("RGB", (width, rows * ROW), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines, start=rows - len(lines)):
        is_last = row == rows - 1
        ink = PALE if is_last and rows > 1 else INK
        face.write(draw, (INDENT if is_last and style else 0, row * ROW), line, ink)
    if style:
        draw_swatch(draw, (0, image.height - ROW), style, strong=True)
    return image


def legend(styles: dict[str, Style], width: int, face: Face) -> Image.Image:
    """Return what each level's sign means, in as many rows as `width` needs."""
    entries = [
        (style, f"{level}, {meaning}", INDENT)
        for (level, style), meaning in zip(styles.items(), MEANINGS, strict=True)
    ]
    entries.append((None, "thick: where the probability comes from", 0))
    extents = [indent + round(face.length(text)) for _, text, indent in entries]
    places, left, row = [], 0, 0
    for extent in extents:
        if left and left + extent > width:
            left, row = 0, row + 1
        places.append((left, row * ROW))
        left += extent + 2 * GAP
    longest = max(left + extent for (left, _), extent in zip(places, extents, strict=True))
    image = Image.new("RGB", (longest, (row + 1) * ROW), PAPER)
    draw = ImageDraw.Draw(image)
    for (left, top), (style, text, indent) in zip(places, entries, strict=True):
        if style:
            draw_swatch(draw, (left, top), style)
        face.write(draw, (left + indent, top), text, PALE)
    return image


def evidence_legend(width: int, face: Face) -> Image.Image:
    """Return what the maps of evidence mean, in as many rows as `width` needs."""
    indent = SCALE[0] + GAP
    text = paragraph(EVIDENCE, width - indent, face)
    image = Image.new("RGB", (width, text.height), PAPER)
    strengths = np.linspace(0, 1, SCALE[0])
    scale = np.tile(colours(strengths), (SCALE[1], 1, 1))
    image.paste(Image.fromarray(scale.astype(np.uint8)), (0, 3))
    image.paste(text, (indent, 0))
    return image


def paragraph(text: str, width: int, face: Face) -> Image.Image:
    """Return a text in pale ink, in as many rows as `width` needs."""
    lines = wrapped(text, face, width)
    image = Image.new("RGB", (width, len(lines) * ROW), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        face.write(draw, (0, row * ROW), line, PALE)
    return image


def draw_swatch(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], style: Style, strong: bool = False
) -> None:
    left, top = place[0] + 3, place[1] + 5
    draw_box(draw, (left, top, left + SWATCH[0] - 6, top + SWATCH[1] - 6), draw.im.size, style, strong)


def in_rows(tiles: Sequence[Image.Image]) -> Image.Image:
    """Return pictures in rows of about the same length, each with the room of the largest."""
    width, height = map(max, zip(*(tile.size for tile in tiles), strict=True))
    down = -(-len(tiles) // max((WIDEST + GAP) // (width + GAP), 1))
    across = -(-len(tiles) // down)
    image = Image.new("RGB", (across * (width + GAP) - GAP, down * (height + GAP) - GAP), PAPER)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        image.paste(tile, (column * (width + GAP), row * (height + GAP)))
    return image


def stacked(*parts: Image.Image, gap: int = 0) -> Image.Image:
    """Return pictures below each other, flush left."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    image = Image.new("RGB", (max(part.width for part in parts), height), PAPER)
    top = 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height + gap
    return image
