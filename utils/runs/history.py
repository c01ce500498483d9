"""The curves of a run: loss and mA by epoch, from the files in its directory."""

import math
from collections.abc import Mapping
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
        on_other_lists: the number of evaluations that are left out because they were on other lists.
    """

    training: list[tuple[float, float]]
    evaluations: dict[int, dict[str, float | None]]
    on_other_lists: int = 0


def read_history(directory: Path, record: Mapping) -> History:
    """Read train.log and metrics.jsonl of a run, its evaluations on the list that an evaluation's `record` is
    about; leave out what is missing or damaged.
    """
    return History(read_training(directory / LOG), *read_evaluations(directory / METRICS, record))


def read_training(path: Path) -> list[tuple[float, float]]:
    try:
        losses = {step: loss for step, loss in read_losses(path).losses.items() if math.isfinite(loss)}
    except LogError:
        return []
    of = 1 + max((iteration for _, iteration in losses), default=0)
    points = np.array(sorted((epoch + (i + 1) / of, loss) for (epoch, i), loss in losses.items()))
    groups = np.array_split(points, min(MOST_POINTS, len(points))) if len(points) else []
    return [tuple((group / len(group)).sum(axis=0).tolist()) for group in groups]  # a sum might overflow


def read_evaluations(path: Path, record: Mapping) -> tuple[dict[int, dict[str, float | None]], int]:
    """Return `History.evaluations` and `on_other_lists`. Version 1.1 wrote no `list_digest`."""
    try:
        lines = read_text(path).splitlines() if path.is_file() else []
    except DataError:
        lines = []
    evaluations, others = {}, 0
    for line in lines:
        earlier = parsed(line)
        epoch = earlier.get("epoch") if isinstance(earlier, dict) else None
        if is_number(epoch) and isinstance(epoch, int) and 0 < epoch < 10**6:
            if any(earlier.get(key, record[key]) != record[key] for key in ("experiment", "list_digest")):
                others += 1
                continue
            figures = {name: earlier.get(name) for name in ("ma", "loss")}
            evaluations[epoch] = {name: float(x) if is_number(x) else None for name, x in figures.items()}
    return dict(sorted(evaluations.items())), others
