"""Text in pictures that Pillow draws: fonts that have its characters, and lines that fit."""

from functools import cache

from PIL import ImageFont

from utils.io.figure import fonts_for

SIZE = 15  # pixels
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
    default = ImageFont.load_default(SIZE)
    if not foreign:
        return default, set()
    try:
        from matplotlib import font_manager  # a second, for those who need it
    except ImportError:
        return default, set(foreign)
    names, lacking = fonts_for(foreign)
    return ImageFont.truetype(font_manager.findfont(names[-1]), SIZE), lacking


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
