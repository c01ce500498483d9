"""Above which probability each attribute is said to be there: chosen on a list, kept in a file, read back."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from alm.constants import THRESHOLD, UNKNOWN
from alm.errors import AlmError
from utils.data.catalog import Experiment
from utils.io.atomic import write_json
from utils.io.untrusted import is_share, parsed, read_text

if TYPE_CHECKING:  # which needs torch
    from utils.data.dataset import MultiLabelDataset

FORMAT = "alm-thresholds-1"
ROUNDING = 1e-12  # by which two shares that are the same may differ


class Choice(NamedTuple):
    """The best thresholds (K,), and the balanced accuracy (K,) of these and of 0.5; that is NaN, and the
    threshold 0.5, where a list has no positives or no negatives.
    """

    thresholds: np.ndarray
    accuracy: np.ndarray
    accuracy_at_half: np.ndarray


def best_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> Choice:
    """Return the thresholds of best balanced accuracy, (TPR + TNR)/2, on pictures' probabilities (N, K) and
    labels (N, K), of which the unknown ones count neither way.

    A threshold lies halfway between two different probabilities, or is 0.5; of several that are as good, the
    nearest to 0.5 is taken.
    """
    chosen = []
    for values, answers in zip(probabilities.T.astype(np.float64), labels.T, strict=True):
        known = answers != UNKNOWN
        chosen.append(best_threshold(values[known], answers[known] == 1))
    return Choice(*(np.array(column) for column in zip(*chosen, strict=True)))


def best_threshold(values: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Return one attribute's threshold, and the balanced accuracy of this and of 0.5."""
    if positive.all() or not positive.any():
        return THRESHOLD, math.nan, math.nan
    order = np.argsort(values)
    values, positive = values[order], positive[order]
    padded = np.concatenate([[0.0], np.unique(values), [1.0]])
    thresholds = np.append((padded[:-1] + padded[1:]) / 2, THRESHOLD)
    below = np.searchsorted(values, thresholds, side="right")  # how many are not above each
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
    """Write the thresholds by the attributes' names, and `about` them, whole or not at all."""
    thresholds = dict(zip(attributes, choice.thresholds.tolist(), strict=True))
    write_json(path, {"format": FORMAT, **about, "thresholds": thresholds})


def choice_lines(
    path: str | Path, list_path: str | Path, attributes: Sequence[str], choice: Choice, is_test_list: bool
) -> str:
    """Return what is told of thresholds that were written; of those of a test list, that they are."""
    before, after = (np.nanmean(accuracy) for accuracy in (choice.accuracy_at_half, choice.accuracy))
    lines = [
        f"Thresholds: {path}, of best balanced accuracy on {list_path}: mA {after:.4f} there, {before:.4f} "
        "at 0.5; on other pictures the gain is less"
    ]
    if is_test_list:
        lines.append(f"Thresholds: {list_path} is the test list: quote no figure on it with these")
    undefined = [name for name, value in zip(attributes, choice.accuracy, strict=True) if math.isnan(value)]
    if undefined:
        lines.append(f"Thresholds: 0.5 for {', '.join(undefined)}, which the list shows always or never")
    return "\n".join(lines)


def read_thresholds(path: str | Path, attributes: Sequence[str]) -> np.ndarray:
    """Return the thresholds of a file for attributes, float64 (K,).

    Raises AlmError where it is no such file, lacks an attribute or has another one, or where a
    threshold is not in [0, 1]; DataError where it cannot be read or is not text.
    """
    thresholds = named_thresholds(path)
    if thresholds is None:
        raise AlmError(
            f"{path} is no file of thresholds; run_ALM.py -e --calibrate writes one, or name one number"
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
    """Return what a file of thresholds says, not checked yet, or None where it is none. Raises DataError
    where it cannot be read or is not text.
    """
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
) -> str:
    """Write each attribute's best threshold on the pictures, whose probabilities (N, K) a `checkpoint` gave;
    return the lines for the log.
    """
    choice = best_thresholds(probabilities, pictures.labels.numpy())
    about = {"list": str(pictures.label), "pictures": len(pictures), "checkpoint": str(checkpoint)}
    write_thresholds(path, experiment.attributes, choice, about)
    is_test_list = Path(pictures.label).name in experiment.val_lists
    return choice_lines(path, pictures.label, experiment.attributes, choice, is_test_list)
