"""One picture, with the region in which each level looked for one attribute.

Each level has its own colour everywhere, of Okabe and Ito's, which colour-blind readers tell apart, and its
own dashes, for those who print in grey.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alm.constants import GLOBAL
from utils.io.figure import fonts_for

TEXT_SIZE = 15  # pixels
ROW = 19  # pixels from one line to the next
CUT = "..."
ENGLISH = frozenset(map(chr, range(32, 127)))


def font_for(text: str) -> ImageFont.FreeTypeFont:
    """Return a font that has a text's characters: Pillow's own for English, else one that matplotlib
    finds on the machine.
    """
    return face("".join(sorted(set(text) - ENGLISH)))[0]


def legible(text: str) -> str:
    """Return a text with what cannot be drawn, signs that are no characters or that no font here has, written
    as in a program: \\n, \\u77ed.
    """
    lacking = face("".join(sorted(set(text) - ENGLISH)))[1]
    return "".join(
        char if char.isprintable() and char not in lacking else char.encode("unicode_escape").decode()
        for char in text
    )


@cache
def face(foreign: str) -> tuple[ImageFont.FreeTypeFont, set[str]]:
    """Return a font that has these characters, and those that none has."""
    default = ImageFont.load_default(TEXT_SIZE)
    if not foreign:
        return default, set()
    try:
        from matplotlib import font_manager  # a second, for those who need it
    except ImportError:
        return default, set(foreign)
    names, lacking = fonts_for(foreign)
    return ImageFont.truetype(font_manager.findfont(names[-1]), TEXT_SIZE), lacking


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """Return a text as lines of at most `width` pixels, `most` of them; what does not fit is cut."""
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


def cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return a text, or of one wider than `width` pixels the beginning."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + CUT) > width:
        text = text[:-1]
    return text.rstrip() + CUT


def ending(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return a text, or of one wider than `width` pixels the end."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(CUT + text) > width:
        text = text[1:]
    return CUT + text.lstrip()


Box = Sequence[float]  # left, top, right, bottom

COLOURS = {"3b": "#E69F00", "4d": "#56B4E9", "5b": "#CC79A7", GLOBAL: "#009E73"}
DASHES = {"3b": (2, 2), "4d": (7, 3), "5b": (1, 0), GLOBAL: (1, 0)}  # pixels drawn, pixels left out
CASING = "white"  # around each line, so that it is seen on every colour
LINE, STRONG = 2, 5  # widths in pixels
SMALLEST = 6  # pixels a box is drawn with, however small it is
SIZE = (216, 360)  # the most that a picture takes
LEAST = SMALLEST + 2 * STRONG + 2  # and the least, on either side: a strong box has room in it


def draw_region(
    picture: Image.Image, boxes: Mapping[str, Box], winner: str, size: tuple[int, int] = SIZE
) -> Image.Image:
    """Return an RGB picture with each level's box, that of the `winner` strong and solid; "main", the branch
    that has none, is shown by a frame around the whole.

    The picture is scaled, up or down, into `size`, the most width and height in pixels. `boxes` are in pixels
    of the picture as it is given.
    """
    panel = fitted(picture, size)
    scale = np.divide(panel.size, picture.size)
    draw = ImageDraw.Draw(panel)
    if winner not in boxes:
        draw_box(draw, (0, 0, *panel.size), panel.size, winner, strong=True)
    for level, box in sorted(boxes.items(), key=lambda item: item[0] == winner):
        draw_box(draw, np.multiply(box, [*scale, *scale]), panel.size, level, level == winner)
    return panel


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a copy of a picture in RGB, as large as fits into `size` in its own shape, but for one so thin
    that it would have no room for a box.
    """
    scale = min(most / given for most, given in zip(size, picture.size, strict=True))
    scaled = [max(round(given * scale), LEAST) for given in picture.size]
    return picture.convert("RGB").resize(scaled, Image.Resampling.LANCZOS)


def draw_box(
    draw: ImageDraw.ImageDraw, box: Box, size: tuple[int, int], level: str, strong: bool = False
) -> None:
    """Draw a level's box, in pixels, around what it encloses, as far as the picture of `size` has room."""
    width = STRONG if strong else LINE
    left, right = span(box[0], box[2], size[0], width)
    top, bottom = span(box[1], box[3], size[1], width)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=CASING, width=width + 2)
    dashes = (1, 0) if strong else DASHES[level]
    for x, y in ((left, top), (right - width + 1, top)):
        for start, end in strokes(y, bottom, dashes):
            draw.rectangle((x, start, x + width - 1, end), fill=COLOURS[level])
    for x, y in ((left, top), (left, bottom - width + 1)):
        for start, end in strokes(x, right, dashes):
            draw.rectangle((start, y, end, y + width - 1), fill=COLOURS[level])


def span(low: float, high: float, size: int, width: int) -> tuple[int, int]:
    """Return the first and last pixel, along one side, of a line of `width` around `low` to `high`. Where a
    border of the `size` is in the way, the line is within it.
    """
    short = max(SMALLEST - (high - low), 0) / 2
    first, last = round(low - short) - width, round(high + short) + width - 1
    least = SMALLEST + 2 * width - 1
    first, last = max(first, 1), min(last, size - 2)  # 1 for the casing
    return max(min(first, last - least), 1), min(max(last, first + least), size - 2)


def strokes(start: int, end: int, dashes: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last pixel of each dash from pixel `start` to pixel `end`."""
    drawn, left_out = dashes
    if not left_out:
        yield start, end
        return
    for first in range(start, end + 1, drawn + left_out):
        yield first, min(first + drawn - 1, end)
