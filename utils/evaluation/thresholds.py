"""Thresholds of best balanced accuracy: found on a list, written to a file."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from alm.constants import THRESHOLD, UNKNOWN
from alm.inference.thresholds import FORMAT
from utils.data.catalog import Experiment
from utils.evaluation.significance import FEWEST
from utils.io.atomic import write_json
from utils.io.phrases import ma_title
from utils.io.untrusted import parsed, read_text

if TYPE_CHECKING:  # which needs torch
    from utils.data.dataset import MultiLabelDataset

ROUNDING = 1e-12  # two equal shares may differ by so much


class Choice(NamedTuple):
    """The best thresholds (K,), and the balanced accuracy (K,) at these and at 0.5. If a list has no
    positives or no negatives of an attribute, its accuracy is NaN and its threshold 0.5.
    """

    thresholds: np.ndarray
    accuracy: np.ndarray
    accuracy_at_half: np.ndarray


def best_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> Choice:
    """Return the thresholds of best balanced accuracy, (TPR + TNR)/2, on probabilities (N, K) and labels
    (N, K); unknown labels count neither way.

    A threshold is 0.5 or lies halfway between two different probabilities; of equally good ones it is the
    nearest to 0.5.
    """
    rows = []
    for values, answers in zip(probabilities.T.astype(np.float64), labels.T, strict=True):
        known = answers != UNKNOWN
        rows.append(best_threshold(values[known], answers[known] == 1))
    return Choice(*(np.array(column) for column in zip(*rows, strict=True)))


def best_threshold(values: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Return one attribute's threshold, and the balanced accuracy at this and at 0.5."""
    if positive.all() or not positive.any():
        return THRESHOLD, math.nan, math.nan
    order = np.argsort(values)
    values, positive = values[order], positive[order]
    padded = np.concatenate([[0.0], np.unique(values), [1.0]])
    thresholds = np.append((padded[:-1] + padded[1:]) / 2, THRESHOLD)
    below = np.searchsorted(values, thresholds, side="right")  # how many values are not above each
    positives_below = np.append(0, np.cumsum(positive))[below]
    recall = 1 - positives_below / positive.sum()
    specificity = (below - positives_below) / (~positive).sum()
    accuracy = (recall + specificity) / 2
    best = np.flatnonzero(accuracy > accuracy.max() - ROUNDING)
    nearest = best[np.abs(thresholds[best] - THRESHOLD).argmin()]
    return thresholds[nearest], accuracy[nearest], accuracy[-1]


def write_thresholds(
    path: str | Path, attributes: Sequence[str], choice: Choice, about: Mapping[str, object]
) -> None:
    """Write the thresholds by attribute, with the parts of `about`, whole or not at all."""
    thresholds = dict(zip(attributes, choice.thresholds.tolist(), strict=True))
    write_json(path, {"format": FORMAT, **about, "thresholds": thresholds})


def about_thresholds(path: str, label: str | Path) -> str:
    """Return the line of an evaluation on the list `label` at the thresholds of a file."""
    chosen_on = (parsed(read_text(path)) or {}).get("list")
    line = f"Thresholds: these figures are at the thresholds of {path}, chosen on {chosen_on}"
    is_same = isinstance(chosen_on, str) and os.path.realpath(chosen_on) == os.path.realpath(label)
    return line + ("; that is this list: quote none of these figures" if is_same else "")


def calibrate(
    path: str,
    probabilities: np.ndarray,
    pictures: "MultiLabelDataset",
    experiment: Experiment,
    checkpoint: str,
    trained: bool,
) -> str:
    """Write each attribute's best threshold on the pictures, whose probabilities (N, K) a `checkpoint` gave;
    return lines that say what was gained, and what must not be quoted. `trained` says whether the checkpoint
    was trained on these pictures.
    """
    attributes, label, labels = experiment.attributes, pictures.label, pictures.labels.numpy()
    choice = best_thresholds(probabilities, labels)
    about = {"list": str(label), "pictures": len(pictures), "checkpoint": str(checkpoint)}
    write_thresholds(path, attributes, choice, about)
    defined = ~np.isnan(choice.accuracy)
    title = ma_title(int(defined.sum()), len(attributes))
    gain = f"{title} is undefined there"
    if defined.any():
        before, after = (each[defined].mean() for each in (choice.accuracy_at_half, choice.accuracy))
        gain = f"{title} {after:.4f} there, {before:.4f} at 0.5; on other pictures the gain is less"
        if trained:
            gain += ", or none: the network was trained on these"
        counts = np.minimum((labels == 0).sum(axis=0), (labels == 1).sum(axis=0))
        if few := int((defined & (counts < FEWEST)).sum()):
            gain += f"; {few} of {len(attributes)} attributes have fewer than {FEWEST} pictures with them or "
            gain += "without, too few to tell"
    lines = [f"Thresholds: {path}, of best balanced accuracy on {label}: {gain}"]
    if Path(label).name in experiment.val_lists:
        lines.append(f"Thresholds: {label} is the test list: quote no figure on it with these")
    if undefined := [name for name, is_defined in zip(attributes, defined, strict=True) if not is_defined]:
        lines.append(f"Thresholds: 0.5 for {', '.join(undefined)}: the list has them always or never")
    return "\n".join(lines)
