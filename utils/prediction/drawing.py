"""Boxes and text on a picture: where each level looked for an attribute, and what the attribute is called.

By its place from fine to coarse, a level has one colour on all sheets and pages, and dashes for grey prints.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alm.constants import GLOBAL
from utils.io.figure import GREEN, ORANGE, PURPLE, SKY, fonts_for

Box = Sequence[float]  # left, top, right, bottom

SIZE = (216, 360)  # the largest width and height of a picture with boxes
CASING = "white"  # around each line, which makes it visible on every colour
LINE, STRONG = 2, 5  # widths in pixels
SMALLEST = 6  # pixels of a drawn box, however small the region is
LEAST = SMALLEST + 2 * STRONG + 2  # pixels of a picture's side: room for a strong box

TEXT_SIZE, ROW = 15, 19  # pixels of a character, and from one line of text to the next
ELLIPSIS = "..."
ENGLISH = frozenset(map(chr, range(32, 127)))


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


def font_for(text: str) -> ImageFont.FreeTypeFont:
    return face(foreign(text))[0]


def legible(text: str) -> str:
    """Return a text with every character that no font here can draw written as in Python: \\n, \\u77ed."""
    lacking = face(foreign(text))[1]
    return "".join(
        char if char.isprintable() and char not in lacking else char.encode("unicode_escape").decode()
        for char in text
    )


def foreign(text: str) -> str:
    """Return the characters of a text that Pillow's own font may lack."""
    return "".join(sorted(set(text) - ENGLISH))


@cache
def face(characters: str) -> tuple[ImageFont.FreeTypeFont, set[str]]:
    """Return a font that has these characters, and those of them that no font here has: Pillow's own font for
    English, else one of the machine's.
    """
    default = ImageFont.load_default(TEXT_SIZE)
    if not characters:
        return default, set()
    try:
        from matplotlib import font_manager  # takes a second, so only names that are not English pay for it
    except ImportError:
        return default, set(characters)
    names, lacking = fonts_for(characters)
    return ImageFont.truetype(font_manager.findfont(names[-1]), TEXT_SIZE), lacking


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """Return a text as at most `most` lines of at most `width` pixels; the last one is cut if need be."""
    lines, words = [], text.split()
    while words and len(lines) < most:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        if len(lines) == most - 1:
            count = len(words)
        lines.append(cut(" ".join(words[:count]), font, width))
        words = words[count:]
    return lines


def cut(text: str, font: ImageFont.FreeTypeFont, width: int, at_start: bool = False) -> str:
    """Return a text, shortened at its end, or `at_start`, if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(ELLIPSIS + text if at_start else text + ELLIPSIS) > width:
        text = text[1:] if at_start else text[:-1]
    return ELLIPSIS + text.lstrip() if at_start else text.rstrip() + ELLIPSIS
