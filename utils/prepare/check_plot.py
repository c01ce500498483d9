"""Draw a check: the pictures' sizes, and each attribute's positive ratio beside the published one."""

from collections import Counter
from pathlib import Path

from utils.io.figure import drawable, drawn_figure
from utils.prepare.check import Check
from utils.prepare.check_notes import published_ratio

MOST_ATTRIBUTES = 120  # that are legible
# Okabe and Ito's colours, which colour-blind readers tell apart.
STYLES = {
    "train": {"marker": "o", "color": "#0072B2", "markersize": 5},
    "test": {"marker": "o", "color": "#D55E00", "markersize": 5, "fillstyle": "none"},
    "published": {"marker": "|", "color": "black", "markersize": 11, "markeredgewidth": 1.5},
}


def plot_check(check: Check, path: str | Path) -> None:
    """Draw sizes above ratios.

    Raises PlotError where matplotlib is missing or the format is unknown, OSError where the picture cannot be
    written.
    """
    names = check.attributes[:MOST_ATTRIBUTES]
    text = "".join([*names, str(check.root)])
    with drawn_figure(path, (8, 4.6 + 0.17 * len(names)), text) as figure:
        sizes, ratios = figure.subplots(2, height_ratios=(3.2, 0.6 + 0.17 * len(names)))
        draw_sizes(sizes, check)
        draw_ratios(ratios, check, names)


def draw_sizes(axes, check: Check) -> None:
    """Draw a mark for each size, the larger the more pictures have it."""
    counts = Counter((picture.width, picture.height) for picture in check.readable)
    if counts:
        widths, heights = zip(*counts, strict=True)
        areas = [4 + 60 * (count / max(counts.values())) for count in counts.values()]
        axes.scatter(widths, heights, areas, color="#0072B2", alpha=0.4, linewidths=0)
    axes.set_title(f"sizes of {len(check.readable):,} pictures of {drawable(str(check.root))}", fontsize=9)
    axes.set_xlabel("width, pixels", fontsize=9)
    axes.set_ylabel("height, pixels", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def draw_ratios(axes, check: Check, names: tuple[str, ...]) -> None:
    """Draw a row for each attribute."""
    published = published_ratio(check)
    columns = {part: each.ratio for part, each in check.lists.items()}
    columns |= {"published": published} if published else {}
    rows = range(len(names))
    for part, ratio in columns.items():
        axes.plot(ratio[: len(names)], rows, linestyle="", label=part, **STYLES[part])
    left_out = len(check.attributes) - len(names)
    more = f" (the first {len(names)} of {len(check.attributes)})" if left_out else ""
    axes.set_title(f"positive ratio of each attribute{more}", fontsize=9)
    axes.set_yticks(rows, [drawable(name) for name in names], fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
