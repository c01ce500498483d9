"""Boxes and text on a picture: where each level looked for an attribute, and what the attribute is called.

By its place from fine to coarse, a level has one colour on all sheets and pages, and dashes for grey prints.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from alm.constants import GLOBAL
from utils.io.figure import GREEN, ORANGE, PURPLE, SKY
from utils.io.fonts import fonts_for, lacking, writings

Box = Sequence[float]  # left, top, right, bottom

SIZE = (175, 280)  # the largest width and height of a picture with boxes
CASING = "white"  # around each line, which makes it visible on every colour
LINE, STRONG = 2, 5  # widths in pixels
SMALLEST = 6  # pixels of a drawn box, however small the region is
LEAST = SMALLEST + 2 * STRONG + 2  # pixels of a picture's side: room for a strong box

TEXT_SIZE, ROW = 16, 20  # pixels of a character, and from one line of text to the next
ELLIPSIS = "..."
ENGLISH = frozenset(map(chr, range(32, 127)))
RIGHT_TO_LEFT = ("R", "AL")  # unicodedata's words for it; Pillow needs raqm to lay it out


class Style(NamedTuple):
    """How a level's boxes are drawn; `dashes` are pixels with and without colour."""

    colour: str
    dashes: tuple[int, int]


SOLID = (1, 0)
STYLES = (Style(ORANGE, (2, 2)), Style(SKY, (7, 3)), Style(PURPLE, SOLID))  # fine to coarse
GLOBAL_STYLE = Style(GREEN, SOLID)


def level_styles(levels: Iterable[str]) -> dict[str, Style]:
    """Return the style of each of a network's levels, three from fine to coarse, and of the global branch."""
    return {**dict(zip(levels, STYLES, strict=False)), GLOBAL: GLOBAL_STYLE}


def draw_regions(
    picture: Image.Image, boxes: Mapping[str, Box], winner: str, size: tuple[int, int] = SIZE
) -> Image.Image:
    """Return a picture, scaled to fit into `size`, with each level's box; the winner's is thick and solid.

    `boxes` are in pixels of `picture`, by level from fine to coarse. `winner` is the branch whose probability
    it is; "main" has no box, so a frame around the picture stands for it.
    """
    panel = fitted(picture, size)
    scale = np.divide(panel.size, picture.size)
    draw = ImageDraw.Draw(panel)
    styles = level_styles(boxes)
    if winner not in boxes:
        draw_box(draw, (0, 0, *panel.size), panel.size, styles[winner], strong=True)
    for level, box in sorted(boxes.items(), key=lambda item: item[0] == winner):  # the winner's on top
        draw_box(draw, np.multiply(box, [*scale, *scale]), panel.size, styles[level], level == winner)
    return panel


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture in RGB, scaled up or down to fit into `size`. Its shape is kept, unless a side would
    have less than LEAST pixels.
    """
    scale = min(most / side for most, side in zip(size, picture.size, strict=True))
    scaled = [max(round(side * scale), LEAST) for side in picture.size]
    return picture.convert("RGB").resize(scaled, Image.Resampling.LANCZOS)


def draw_box(
    draw: ImageDraw.ImageDraw, box: Box, size: tuple[int, int], style: Style, strong: bool = False
) -> None:
    """Draw a box, in pixels, around what it encloses, as far as a picture of `size` has room."""
    width = STRONG if strong else LINE
    left, right = span(box[0], box[2], size[0], width)
    top, bottom = span(box[1], box[3], size[1], width)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=CASING, width=width + 2)
    dashes = SOLID if strong else style.dashes
    for x, y in ((left, top), (right - width + 1, top)):
        for start, end in strokes(y, bottom, dashes):
            draw.rectangle((x, start, x + width - 1, end), fill=style.colour)
    for x, y in ((left, top), (left, bottom - width + 1)):
        for start, end in strokes(x, right, dashes):
            draw.rectangle((start, y, end, y + width - 1), fill=style.colour)


def span(low: float, high: float, size: int, width: int) -> tuple[int, int]:
    """Return the first and last pixel, along one side, of a line of `width` around `low` to `high`. The line
    moves inwards if it would cross the border of a picture of `size`.
    """
    short = max(SMALLEST - (high - low), 0) / 2
    first, last = round(low - short) - width, round(high + short) + width - 1
    least = SMALLEST + 2 * width - 1
    first, last = max(first, 1), min(last, size - 2)  # 1 for the casing
    return max(min(first, last - least), 1), min(max(last, first + least), size - 2)


def strokes(start: int, end: int, dashes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last pixel of each dash from pixel `start` to pixel `end`."""
    length, gap = dashes
    if not gap:
        yield start, end
        return
    for first in range(start, end + 1, length + gap):
        yield first, min(first + length - 1, end)


class Face(NamedTuple):
    """How texts are drawn: in the first font, but for characters of others. What is `lacking` cannot be drawn
    here, and `cure` says what would help.
    """

    first: ImageFont.FreeTypeFont
    others: Mapping[str, ImageFont.FreeTypeFont] = MappingProxyType({})
    lacking: frozenset[str] = frozenset()
    cure: str = ""

    def legible(self, text: str) -> str:
        """Return a text with every character that cannot be drawn written as in Python: \\n, \\u77ed."""
        return "".join(
            char if char.isprintable() and char not in self.lacking else spelt(char) for char in text
        )

    def complaint(self) -> str:
        """Return what the codes for the lacking characters are, and the cure."""
        kinds = " and ".join(writings(self.lacking))
        codes = f"codes such as {spelt(min(self.lacking))} stand for them"
        return f"Some characters ({kinds}) cannot be drawn here; {codes}. {self.cure}."

    def runs(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        """Yield a text's parts, each with its font; a blank has that of what is before it."""
        font, run = self.first, ""
        for char in text:
            own = font if char == " " else self.others.get(char, self.first)
            if own is not font:
                yield font, run
                font, run = own, ""
            run += char
        yield font, run

    def length(self, text: str) -> float:
        """Return the width of a text in pixels."""
        return sum(font.getlength(run) for font, run in self.runs(text))

    def write(self, draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, ink: str) -> None:
        """Draw a text whose left and top are at `place`."""
        left, baseline = place[0], place[1] + self.first.getmetrics()[0]
        for font, run in self.runs(text):
            draw.text((left, baseline), run, ink, font, anchor="ls")
            left += font.getlength(run)


def spelt(char: str) -> str:
    return char.encode("unicode_escape").decode()


def face_for(text: str) -> Face:
    """Return the face for a text: Pillow's own font if it is English, else fonts of the machine."""
    return face("".join(sorted(set(filter(str.isprintable, text)) - ENGLISH)))


@cache
def face(foreign: str) -> Face:
    """Return the face for English and the `foreign` characters."""
    if not foreign:
        return Face(ImageFont.load_default(TEXT_SIZE))
    try:
        first, *others = fonts_for(foreign)
    except ImportError:
        cure = "Install matplotlib, which finds fonts that have them"
        return Face(ImageFont.load_default(TEXT_SIZE), lacking=frozenset(foreign), cure=cure)
    unknown, cure = lacking(foreign), "Install a font that has them"
    backwards = {char for char in foreign if unicodedata.bidirectional(char) in RIGHT_TO_LEFT} - unknown
    if backwards and not features.check("raqm"):
        unknown, cure = unknown | backwards, "Install libfribidi, which sets them from right to left"
    fonts = {}
    for font in others:
        fonts |= dict.fromkeys(font.characters, ImageFont.truetype(font.path, TEXT_SIZE))
    return Face(ImageFont.truetype(first.path, TEXT_SIZE), fonts, unknown, cure)


def wrapped(text: str, face: Face, width: int, most: int | None = None) -> list[str]:
    """Return a text as lines of at most `width` pixels, and at most `most` lines if it is given. A word or a
    last line that is too long is cut.
    """
    lines, words = [], text.split()
    while words and (most is None or len(lines) < most):
        count = 1
        while count < len(words) and face.length(" ".join(words[: count + 1])) <= width:
            count += 1
        if len(lines) + 1 == most:
            count = len(words)
        lines.append(cut(" ".join(words[:count]), face, width))
        words = words[count:]
    return lines


def cut(text: str, face: Face, width: int, at_start: bool = False) -> str:
    """Return a text, shortened at its end, or `at_start`, if it is wider than `width` pixels."""
    if face.length(text) <= width:
        return text
    while text and face.length(ELLIPSIS + text if at_start else text + ELLIPSIS) > width:
        text = text[1:] if at_start else text[:-1]
    return ELLIPSIS + text.lstrip() if at_start else text.rstrip() + ELLIPSIS
