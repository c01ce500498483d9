"""Draw the loss curves of training runs."""

from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path

import numpy as np

from utils.io.figure import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, cut, drawable, drawn_figure
from utils.runs.log_reader import LossLog, Step
from utils.runs.loss_comparison import (
    DIVERGENCE,
    LossComparison,
    LossDifference,
    figure_text,
    relative_difference,
    smooth,
)

COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)
STYLES = [{"color": colour, "linestyle": line} for line, colour in product(("-", "--", ":"), COLOURS)]
REFERENCE_STYLE = {"color": "black", "linestyle": "-"}

FEW_ITERATIONS = 30  # up to here each one gets a mark
FURTHEST = 1e100  # value that is drawn
MANY_ITERATIONS = 1000  # from here lines are thin, or they would hide each other


def plot_losses(comparisons: Sequence[LossComparison], path: str | Path) -> None:
    """Draw the curves of all runs, smoothed over the faint raw ones, above their relative differences.

    All comparisons have one reference. The figures stand in the title, those of several in the legend.
    Raises AlmError if matplotlib is missing or the path's suffix names no format, OSError if it cannot write.
    """
    logs = [comparisons[0].reference, *(comparison.candidate for comparison in comparisons)]
    stride = 1 + max(iteration for log in logs for _, iteration in log.losses)  # iterations of an epoch
    with drawn_figure(path, (10, 7.5), "".join(log.path for log in logs)) as figure:
        from matplotlib.ticker import MaxNLocator  # of an extra

        losses, differences = figure.subplots(2, sharex=True, height_ratios=(2, 1))
        figure.suptitle(_title(comparisons), fontsize=11)
        _draw_losses(losses, comparisons, stride)
        _draw_differences(differences, comparisons, stride)
        differences.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))


def _title(comparisons: Sequence[LossComparison]) -> str:
    reference = _label(comparisons[0].reference)
    if len(comparisons) > 1:
        return (
            f"{len(comparisons)} logs against {reference}\n"
            "in the legend: mean relative error, mean absolute error"
        )
    figures = comparisons[0].figures
    relative, absolute = _signed_errors(figures)
    shares = (figures.mean_difference, figures.p95_difference, figures.largest_difference)
    mean, p95, largest = (figure_text(share, ".2%") for share in shares)
    return (
        f"{_label(comparisons[0].candidate)} against {reference}\n"
        f"mean relative error {relative}, mean absolute error {absolute}\n"
        f"relative difference without sign: mean {mean}, 95th percentile {p95}, largest {largest}"
    )


def _signed_errors(figures: LossDifference) -> list[str]:
    return [figure_text(error, ".3g") for error in (figures.mean_relative_error, figures.mean_absolute_error)]


def _draw_losses(axes, comparisons: Sequence[LossComparison], stride: int) -> None:
    reference = comparisons[0].reference
    _draw_curve(axes, reference, stride, _label(reference), REFERENCE_STYLE)
    for comparison, style in zip(comparisons, cycle(STYLES)):
        label = _label(comparison.candidate)
        if len(comparisons) > 1:
            label += f": {', '.join(_signed_errors(comparison.figures))}"
        _draw_curve(axes, comparison.candidate, stride, label, style)
    axes.set_ylabel("training loss, smoothed (faint: as logged)")
    axes.grid(alpha=0.3)
    for line in axes.legend(loc="upper right", fontsize=9).get_lines():
        line.set_linewidth(2)  # also of a thin curve


def _draw_curve(axes, log: LossLog, stride: int, label: str, style: dict) -> None:
    steps = sorted(log.losses)
    x = _positions(steps, stride)
    losses = _with_gaps(np.array([log.losses[step] for step in steps]))
    axes.plot(x, losses, alpha=0.3, linewidth=_width(steps, 0.8), **_marks(steps), **style)
    axes.plot(x, smooth(losses), linewidth=_width(steps, 1.5), label=label, **style)


def _draw_differences(axes, comparisons: Sequence[LossComparison], stride: int) -> None:
    for comparison, style in zip(comparisons, cycle(STYLES)):
        steps = comparison.steps
        relative = _with_gaps(relative_difference(comparison.candidate_losses, comparison.reference_losses))
        x = _positions(steps, stride)
        axes.plot(x, 100 * relative, linewidth=_width(steps, 1), **_marks(steps), **style)
    above = {"color": "black", "linewidth": 0.8, "zorder": 3}  # many iterations would hide these lines
    axes.axhline(0, **above)
    axes.axhline(100 * DIVERGENCE, linestyle="--", **above)
    axes.axhline(-100 * DIVERGENCE, linestyle="--", **above)
    axes.set_xlabel("iteration, counted through all epochs")
    axes.set_ylabel("relative difference, %")
    axes.grid(alpha=0.3)


def _with_gaps(values: np.ndarray) -> np.ndarray:
    """Return values with gaps for what no axis can show."""
    return np.where(np.abs(values) <= FURTHEST, values, np.nan)


def _width(steps: list[Step], width: float) -> float:
    return width if len(steps) < MANY_ITERATIONS else width / 2


def _marks(steps: list[Step]) -> dict:
    return {"marker": "o", "markersize": 4} if len(steps) <= FEW_ITERATIONS else {}


def _positions(steps: list[Step], stride: int) -> list[int]:
    return [epoch * stride + iteration for epoch, iteration in steps]


def _label(log: LossLog) -> str:
    return drawable(cut(log.path, 40))
