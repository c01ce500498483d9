"""A picture of how far two fingerprints are apart along the network."""

import math
from collections.abc import Sequence
from pathlib import Path

from utils.diagnostics.fingerprint_comparison import Difference, by_stage
from utils.io.figure import cut, drawable, drawn_figure

SIZE = 10, 5.5
COLORS = {"forward": "#0072b2", "gradient": "#d55e00", "weight after the step": "#009e73"}  # Okabe and Ito
LEAST = 1e-12  # where equal tensors are drawn


def plot_fingerprints(differences: Sequence[Difference], first: str, second: str, path: str | Path) -> None:
    """Draw each tensor's difference, in order of execution, below or above its limit. Raises PlotError."""
    names = cut(first, 40), cut(second, 40)
    beyond = next((index for index, entry in enumerate(differences) if entry.beyond), None)
    with drawn_figure(path, SIZE, "".join(names)) as figure:
        axes = figure.add_subplot()
        start = 0
        for (iteration, stage), group in by_stage(differences).items():
            places = range(start, start + len(group))
            label = stage if iteration == differences[0].iteration else None
            heights = [drawn_height(entry.error) for entry in group]
            axes.plot(places, heights, ".", markersize=4, color=COLORS[stage], label=label)
            axes.plot(places, [entry.limit for entry in group], color=COLORS[stage], linewidth=1, alpha=0.6)
            start += len(group)
        if beyond is not None:
            entry = differences[beyond]
            where = f"{entry.stage}, iteration {entry.iteration}"
            axes.axvline(beyond, color="black", linewidth=0.8, linestyle=":")
            axes.annotate(
                drawable(f" first beyond its limit: \n {cut(entry.name, 48)} \n {where} "),
                (beyond, 0.25), xycoords=("data", "axes fraction"), va="top", fontsize=8,
                ha="left" if beyond < len(differences) / 2 else "right",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("tensors in order of execution")
        axes.set_ylabel("difference relative to the tensor's size (lines: limits)")
        axes.set_title(drawable(f"{names[1]} against {names[0]}"), fontsize=10)
        axes.legend(loc="lower right", fontsize=8)
        axes.grid(alpha=0.3)


def drawn_height(error: float) -> float:
    """Return an error where a logarithmic axis has it."""
    return min(max(error, LEAST), 1e3) if math.isfinite(error) else 1e3
