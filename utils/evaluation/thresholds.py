"""Thresholds: the probability above which each attribute is predicted. Found on a list, kept in a file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from alm.constants import THRESHOLD, UNKNOWN
from alm.errors import AlmError
from utils.data.catalog import Experiment
from utils.evaluation.significance import FEWEST
from utils.io.atomic import write_json
from utils.io.phrases import ma_title
from utils.io.untrusted import is_share, parsed, read_text

if TYPE_CHECKING:  # which needs torch
    from utils.data.dataset import MultiLabelDataset

FORMAT = "alm-thresholds-1"
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


def read_thresholds(path: str | Path, attributes: Sequence[str]) -> np.ndarray:
    """Read the thresholds of K attributes, float64 (K,).

    Raises AlmError if it is no such file, lacks an attribute or has another one, or if a threshold is not in
    [0, 1]; DataError if it cannot be read or is not text.
    """
    thresholds = named_thresholds(path)
    if thresholds is None:
        raise AlmError(
            f"{path} is no file of thresholds; write one with run_ALM.py -e --calibrate, or give one number"
        )
    for name in attributes:
        if name not in thresholds:
            raise AlmError(f"{path} has no threshold for {name!r}; calibrate this checkpoint")
        if not is_share(thresholds[name]):
            raise AlmError(f"{path}: the threshold for {name!r} is no number from 0 to 1")
    if others := [name for name in thresholds if name not in set(attributes)]:
        raise AlmError(
            f"{path} is for other attributes too, such as {others[0]!r}; calibrate this checkpoint"
        )
    return np.array([thresholds[name] for name in attributes], dtype=np.float64)


def named_thresholds(path: str | Path) -> dict | None:
    """Read unchecked thresholds by name; None if it is no such file. Raises DataError as `read_text`."""
    content = parsed(read_text(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    return content["thresholds"] if isinstance(content.get("thresholds"), dict) else None


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
