"""Thresholds: the probability above which each attribute is predicted. One for all, K, or a file of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alm.errors import AlmError
from alm.untrusted import is_share, parsed, read_text

FORMAT = "alm-thresholds-1"

Thresholds = float | Sequence[float] | np.ndarray | str | Path


def thresholds_of(attributes: Sequence[str], thresholds: Thresholds) -> np.ndarray:
    """Return the thresholds of K attributes, float64 (K,): one for all, K, or those of a file that
    run_ALM.py --calibrate wrote.

    Raises AlmError if they are not K, or not in [0, 1]; and what `read_thresholds` raises.
    """
    if isinstance(thresholds, (str, Path)):
        return read_thresholds(thresholds, attributes)
    try:
        values = np.asarray(thresholds, dtype=np.float64)
    except (TypeError, ValueError):  # words, or lists of several lengths
        values = np.array(np.nan)
    if values.shape not in ((), (len(attributes),)) or not ((values >= 0) & (values <= 1)).all():
        raise AlmError(
            f"thresholds: give one number from 0 to 1, one per attribute ({len(attributes)}), or a file"
        )
    return np.broadcast_to(values, len(attributes))


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
