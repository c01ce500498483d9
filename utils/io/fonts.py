"""The fonts of this machine that have a text's characters. matplotlib finds them; it starts slowly."""

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

OWN = "DejaVu Sans"  # comes with matplotlib
NO_FONT = "Last Resort"  # of macOS: it draws a box for every character


class Font(NamedTuple):
    """A font's name and file, and those characters of a text for which it is taken."""

    name: str
    path: str
    characters: frozenset[str]


@cache
def fonts_for(text: str) -> list[Font]:
    """Return fonts that together have a text's characters, as far as any have: matplotlib's own first, then
    upright ones of medium weight.
    """
    from matplotlib.ft2font import FT2Font

    fonts, wanted = [], set(text)
    for name, path in font_files():
        if fonts and not wanted:
            break
        try:
            font = FT2Font(path)
        except (OSError, RuntimeError):  # gone since matplotlib listed it, or damaged
            continue
        had = frozenset(char for char in wanted if font.get_char_index(ord(char)))
        if had or not fonts:
            fonts.append(Font(name, path, had))
            wanted -= had
    return fonts


def lacking(text: str) -> frozenset[str]:
    """Return the characters of a text that no font has."""
    return frozenset(text).difference(*(font.characters for font in fonts_for(text)))


@cache
def font_files() -> list[tuple[str, str]]:
    """Return name and file of each font."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    listed = {font.fname for font in manager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - listed):  # installed after the list was made
        try:
            manager.addfont(path)
        except (OSError, RuntimeError):
            continue

    def rank(font) -> tuple:
        oddness = manager.score_style("normal", font.style) + manager.score_weight("normal", font.weight)
        return font.name != OWN, oddness, font.fname

    fonts = (font for font in manager.ttflist if not font.name.startswith(NO_FONT))
    return [(font.name, font.fname) for font in sorted(fonts, key=rank)]


def writings(characters: Iterable[str]) -> list[str]:
    """Return what characters are of, such as CJK or Arabic: the first words of their Unicode names."""
    words = {unicodedata.name(char, "unnamed").split()[0] for char in characters}
    return sorted(word if word == "CJK" else word.capitalize() for word in words)
