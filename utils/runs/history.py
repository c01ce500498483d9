"""The curves of a run: loss and mA by epoch, from the files in its directory."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alm.constants import LOG, METRICS
from utils.errors import DataError, LogError
from utils.io.untrusted import is_number, parsed, read_text
from utils.runs.log_reader import read_losses

MOST_POINTS = 200  # of the loss's curve; each is the mean of neighbouring iterations


@dataclass(frozen=True)
class History:
    """The curves of a run, empty if its directory has none.

    Attributes:
        training: points (epochs done, training loss), means of neighbouring iterations.
        evaluations: epoch -> {"ma": ..., "loss": ...}, epochs counted from 1, undefined figures None.
    """

    training: list[tuple[float, float]]
    evaluations: dict[int, dict[str, float | None]]


def read_history(directory: Path) -> History:
    """Read train.log and metrics.jsonl of a run; leave out what is missing or damaged."""
    return History(read_training(directory / LOG), read_evaluations(directory / METRICS))


def read_training(path: Path) -> list[tuple[float, float]]:
    try:
        losses = {step: loss for step, loss in read_losses(path).losses.items() if math.isfinite(loss)}
    except LogError:
        return []
    of = 1 + max((iteration for _, iteration in losses), default=0)
    points = np.array(sorted((epoch + (i + 1) / of, loss) for (epoch, i), loss in losses.items()))
    groups = np.array_split(points, min(MOST_POINTS, len(points))) if len(points) else []
    return [tuple(group.mean(axis=0).tolist()) for group in groups]


def read_evaluations(path: Path) -> dict[int, dict[str, float | None]]:
    try:
        lines = read_text(path).splitlines() if path.is_file() else []
    except DataError:
        lines = []
    evaluations = {}
    for line in lines:
        record = parsed(line)
        epoch = record.get("epoch") if isinstance(record, dict) else None
        if is_number(epoch) and isinstance(epoch, int) and 0 < epoch < 10**6:
            figures = {name: record.get(name) for name in ("ma", "loss")}
            evaluations[epoch] = {name: float(x) if is_number(x) else None for name, x in figures.items()}
    return dict(sorted(evaluations.items()))
