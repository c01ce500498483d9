"""What all plots share: colours that everyone tells apart, text in any script, and files that are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alm.errors import AlmError
from utils.io.atomic import whole_file
from utils.io.fonts import fonts_for, lacking
from utils.io.untrusted import printable

# Okabe and Ito's colours, which colour-blind readers tell apart.
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
)  # fmt: skip


@contextmanager
def drawn_figure(path: str | Path, size: tuple[float, float], text: str = "") -> Iterator:
    """Give a matplotlib figure that becomes the picture `path` at the end, whole or not at all.

    `size` is in inches; the fonts have the characters of `text`. Raises what `plot_format` raises, OSError if
    the picture cannot be written.
    """
    suffix = plot_format(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # without pyplot: no display, no state left behind

    with rc_context({"font.family": [font.name for font in fonts_for(text)]}):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        yield figure
        with whole_file(path) as file:
            figure.savefig(file, format=suffix)


def plot_format(path: str | Path) -> str:
    """Return the format of a plot, which is its suffix. Raises AlmError if matplotlib is missing or does not
    know it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AlmError("the plot needs matplotlib: pip install matplotlib") from error
    suffix, known = Path(path).suffix[1:].lower(), Figure().canvas.get_supported_filetypes()
    if suffix not in known:
        suffixes = ", ".join(f".{name}" for name in sorted(known))
        raise AlmError(f"cannot draw {path}: choose a suffix of {suffixes}")
    return suffix


def cut(text: str, longest: int) -> str:
    """Return a text, or the end of one that is longer."""
    return text if len(text) <= longest else "…" + text[1 - longest :]


def drawable(text: str) -> str:
    """Return a text that matplotlib draws literally: `$` is escaped; what no font has, or what turns a line
    round, is spelt out.
    """
    text = printable(text)
    strange = lacking(text)
    spelt = (char.encode("ascii", "backslashreplace").decode() if char in strange else char for char in text)
    return "".join(spelt).replace("$", r"\$")
