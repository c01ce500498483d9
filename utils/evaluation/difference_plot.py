"""A plot of how two evaluations of the same pictures differ: the five figures, and each attribute's mA."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.evaluation.results import ends
from utils.evaluation.significance import FIGURES, Difference, Paired
from utils.io.figure import BLUE, VERMILION, cut, drawable, drawn_figure
from utils.io.phrases import ma_title

MOST_ATTRIBUTES = 60  # that are legible; those with the largest differences
LONGEST_LABEL = 70  # characters
COLOURS = {"better": BLUE, "worse": VERMILION, "not to be told apart": "#888888"}


def plot_differences(paired: Paired, attributes: Sequence[str], a: str, b: str, path: str | Path) -> None:
    """Draw B - A with its intervals, figures above attributes, the largest gain first; `a` and `b` are names.
    Raises what `drawn_figure` raises.
    """
    by_name = {
        name: difference
        for name, difference in zip(attributes, paired.attributes, strict=True)
        if difference.interval.is_defined
    }
    largest = sorted(by_name, key=lambda name: -abs(by_name[name].difference))[:MOST_ATTRIBUTES]
    largest.sort(key=lambda name: -by_name[name].difference)
    attribute_rows = {name: by_name[name] for name in largest}
    titles = FIGURES | {"ma": ma_title(paired.ma_attributes, len(attributes))}
    figures = {titles[key]: difference for key, difference in paired.figures.items()}
    rows = len(figures), max(len(attribute_rows), 1)
    with drawn_figure(path, (8, 2.4 + 0.19 * sum(rows)), "".join([a, b, *attribute_rows])) as figure:
        from matplotlib.lines import Line2D  # of an extra

        above, below = figure.subplots(2, height_ratios=rows)
        a, b = (drawable(cut(name, LONGEST_LABEL)) for name in (a, b))
        figure.suptitle(f"B {b}\nagainst A {a}", fontsize=10)
        draw_rows(above, figures)
        draw_rows(below, attribute_rows)
        above.set_title("figures", loc="left", fontsize=9)
        rest, undefined = len(by_name) - len(attribute_rows), len(attributes) - len(by_name)
        more = f"; {rest} smaller differences left out" if rest else ""
        more += f"; {undefined} without an interval left out" if undefined else ""
        below.set_title(f"mA of each attribute (coloured: by Holm's method{more})", loc="left", fontsize=9)
        below.set_xlabel("B - A, in points of 100, with its 95 % interval", fontsize=9)
        style = {"marker": "o", "markersize": 4, "linewidth": 2}
        lines = [Line2D([], [], color=COLOURS[name], label=f"B is {name}", **style) for name in COLOURS]
        figure.legend(handles=lines, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def draw_rows(axes, differences: Mapping[str, Difference]) -> None:
    """Draw one row per difference, the first one on top; an undefined one has no mark."""
    for row, difference in enumerate(differences.values()):
        if not difference.interval.is_defined:
            continue
        colour = COLOURS[difference.verdict]
        span = [100 * end for end in ends(difference.interval)]
        axes.plot(span, [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(100 * difference.difference, row, "o", color=colour, markersize=4)
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    labels = [
        drawable(name if difference.verdict else f"{name}: no verdict")
        for name, difference in differences.items()
    ]
    axes.set_yticks(range(len(differences)), labels, fontsize=8)
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.3)
