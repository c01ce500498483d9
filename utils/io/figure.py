"""What all pictures drawn with matplotlib share: text in any script, and files that are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alm.errors import AlmError
from utils.io.atomic import whole_file
from utils.io.untrusted import printable


@contextmanager
def drawn_figure(path: str | Path, size: tuple[float, float], text: str = "") -> Iterator:
    """Give a matplotlib figure of `size` in inches, in fonts that have the characters of `text`; at the end
    it becomes the picture `path`, whole or not at all, in the format of its suffix.

    Raises AlmError where matplotlib is missing or the format is unknown, OSError where the picture cannot be
    written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure  # without pyplot: no display, no state left behind
    except ImportError as error:
        raise AlmError("the plot needs matplotlib: pip install matplotlib") from error
    suffix = Path(path).suffix[1:].lower()
    with rc_context({"font.family": fonts_for(text)[0]}):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        known = figure.canvas.get_supported_filetypes()
        if suffix not in known:
            raise AlmError(
                f"cannot draw {path}: choose a suffix of {', '.join(f'.{name}' for name in sorted(known))}"
            )
        yield figure
        with whole_file(path) as file:
            figure.savefig(file, format=suffix)


def cut(text: str, longest: int) -> str:
    """Return a text, or of a longer one the end."""
    return text if len(text) <= longest else "…" + text[1 - longest :]


def drawable(text: str) -> str:
    """Return a text without the sign that matplotlib takes for mathematics, and without characters that no
    font here has or that turn a line round.
    """
    text = printable(text)
    _, lacking = fonts_for(text)
    shown = (char.encode("ascii", "backslashreplace").decode() if char in lacking else char for char in text)
    return "".join(shown).replace("$", r"\$")


@cache
def fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Return fonts that have a text's characters, matplotlib's own first, and characters that none has."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    own = font_manager.findfont("DejaVu Sans")
    fonts, lacking = ["DejaVu Sans"], set(text) - _characters(FT2Font(own))
    for font in font_manager.fontManager.ttflist:
        if not lacking:
            break
        if not font.name.startswith("Last Resort"):  # which draws a box for every character
            found = lacking & _characters(FT2Font(font.fname))
            fonts += [font.name] if found else []
            lacking -= found
    return fonts, lacking


def _characters(font) -> set[str]:
    return set(map(chr, font.get_charmap()))
