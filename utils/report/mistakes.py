"""Which mistakes an evaluation made: the surest ones, and those that come together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.data.list_file import UNKNOWN


class Together(NamedTuple):
    """Two attributes, of which each was mistaken in some pictures, both at once in `both` of them.

    `expected` is what `both` would be if one mistake told nothing of the other, `correlation` that of the two
    mistakes over pictures (phi).
    """

    first: int
    second: int
    both: int
    expected: float
    correlation: float


def mistaken(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return where a known label is predicted wrong, bool (N, K)."""
    return ((logits > 0) != (labels == 1)) & (labels != UNKNOWN)


def worst_attributes(attribute_ma: Sequence[float | None], wrong: np.ndarray, most: int) -> list[int]:
    """Return the attributes of the lowest mA, the lowest first, of those that were mistaken at all."""
    candidates = [k for k, ma in enumerate(attribute_ma) if ma is not None and wrong[:, k].any()]
    return sorted(candidates, key=lambda k: attribute_ma[k])[:most]


def surest(
    logits: np.ndarray, wrong: np.ndarray, people: Sequence[str], most: int
) -> tuple[list[int], list[int]]:
    """Return the pictures where one attribute (logits and wrong (N,)) was overlooked, and those where it was
    seen and is not, the surest mistake first, `most` of each, and one of each of the N `people`.
    """
    order = np.argsort(-np.abs(logits), kind="stable")
    rows = order[wrong[order]]
    overlooked = logits[rows] <= 0
    return tuple(
        first_of_each(kind.tolist(), people)[:most] for kind in (rows[overlooked], rows[~overlooked])
    )


def first_of_each(rows: Sequence[int], people: Sequence[str]) -> list[int]:
    """Return the first row of each person's."""
    firsts: dict[str, int] = {}
    for row in rows:
        firsts.setdefault(people[row], row)
    return list(firsts.values())


def wrong_together(wrong: np.ndarray, most: int) -> list[Together]:
    """Return the pairs of attributes whose mistakes (N, K) come together, the closest first; pairs that do
    so in a single picture are left out.
    """
    counts = wrong.sum(axis=0)
    both = wrong.T.astype(np.float32) @ wrong.astype(np.float32)  # whole numbers: exact
    pictures = len(wrong)
    expected = np.outer(counts, counts) / max(pictures, 1)
    spread = np.sqrt(counts * (1 - counts / max(pictures, 1)))
    scale = np.outer(spread, spread)
    correlation = np.divide(both - expected, scale, out=np.zeros_like(expected), where=scale > 0)
    first, second = np.nonzero(np.triu(both > 1, k=1) & (correlation > 0))
    order = np.argsort(-correlation[first, second], kind="stable")[:most]
    return [
        Together(int(i), int(j), int(both[i, j]), float(expected[i, j]), float(correlation[i, j]))
        for i, j in zip(first[order], second[order], strict=True)
    ]


def winning_shares(branches: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return how often each of L branches had the highest logit, of the pictures where the attribute is
    predicted: float64 (L, K), NaN where it never is.

    Args:
        branches: logits (L, N, K).
        predicted: bool (N, K).
    """
    winner = branches.argmax(axis=0)
    counts = np.stack([((winner == branch) & predicted).sum(axis=0) for branch in range(len(branches))])
    total = counts.sum(axis=0)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
