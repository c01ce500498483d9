"""Regions against true boxes: does the network look where the attribute is?

A box is [left, top, right, bottom] in shares of the picture's width and height. Five measures of a region R
against the true box T of an attribute that the picture shows:

    pointing    1 where the centre of R lies within T, else 0 (Zhang et al., arXiv 1608.00507, section 4.1)
    coverage    the share of T's area that R covers
    inside      1 where T lies wholly within R, else 0
    iou         the area that both share over the area of both
    area        the share of the picture's area that R takes: a large R covers much by being large
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.evaluation.results import none_for_nan

MEASURES = ("pointing", "coverage", "inside", "iou", "area")
WINNING, WHOLE, AVERAGE, CHANCE = "winning level", "whole picture", "average box", "chance"
BASELINES = (WHOLE, AVERAGE, CHANCE)
PLACES = 32  # along each axis, that stand for all places of a box


@dataclass(frozen=True)
class Pointing:
    """How regions, and what stands beside them, meet the true boxes of N pictures and K attributes.

    Attributes:
        boxes: int (K,), how many true boxes there are.
        figures: of each level, of the winning one and of BASELINES, float64 (5, K): the means of MEASURES
            over an attribute's true boxes, NaN where there is none.
    """

    boxes: np.ndarray
    figures: dict[str, np.ndarray]

    def means(self) -> dict[str, np.ndarray]:
        """Return the means (5,) over the attributes where they are defined: each counts alike."""
        return {name: mean_of_defined(values) for name, values in self.figures.items()}

    @property
    def attributes(self) -> int:
        """How many attributes have true boxes."""
        return int((self.boxes > 0).sum())


def score(regions: Mapping[str, np.ndarray], logits: np.ndarray, true: np.ndarray) -> Pointing:
    """Score the regions of L levels, and what they have to beat.

    The winning level is, of those with a region, the one with the highest logit. The baselines are the whole
    picture; the attribute's average box over the other pictures (undefined for an attribute with one box);
    and chance: for pointing, any point of the picture, for the rest a box of the size that the winning region
    has, at any place within the picture, all equally probable.

    Args:
        regions: boxes (N, K, 4) of each level.
        logits: (L, N, K), in the order of `regions`.
        true: boxes (N, K, 4) of positive size, NaN where there is none.
    """
    where = ~np.isnan(true[..., 0])  # (N, K)
    attribute, true = np.nonzero(where)[1], true[where]  # (M,) and (M, 4): the true boxes alone
    count = where.sum(axis=0)
    boxes = {level: values[where] for level, values in regions.items()}  # (M, 4)
    winner = logits.argmax(axis=0)[where]
    winning = np.stack(list(boxes.values()))[winner, np.arange(len(winner))]
    guesses = boxes | {
        WINNING: winning,
        WHOLE: np.broadcast_to([0.0, 0.0, 1.0, 1.0], true.shape),
        AVERAGE: average_of_others(true, attribute, count),
    }
    values = {name: measures(guess, true) for name, guess in guesses.items()}
    values[CHANCE] = by_chance(winning[:, 2:] - winning[:, :2], true)
    return Pointing(count, {name: mean_of_each(value, attribute, count) for name, value in values.items()})


def measures(guess: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return MEASURES (5, M) of boxes (M, 4) against true ones; NaN where the guess is."""
    low, high = np.maximum(guess[:, :2], true[:, :2]), np.minimum(guess[:, 2:], true[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    centre = (guess[:, :2] + guess[:, 2:]) / 2
    pointing = ((true[:, :2] <= centre) & (centre <= true[:, 2:])).all(axis=1)
    inside = ((guess[:, :2] <= true[:, :2]) & (true[:, 2:] <= guess[:, 2:])).all(axis=1)
    own, wanted = area(guess), area(true)
    values = np.stack([pointing, shared / wanted, inside, shared / (own + wanted - shared), own])
    return np.where(np.isnan(own), np.nan, values)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the area (M,) of boxes (M, 4), as a share of the picture's."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def average_of_others(true: np.ndarray, attribute: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return for each true box (M, 4) the average of its attribute's others; NaN where it has none."""
    sums = np.zeros((len(count), 4))
    np.add.at(sums, attribute, true)
    others = count[attribute][:, None] - 1
    return np.divide(sums[attribute] - true, others, out=np.full_like(true, np.nan), where=others > 0)


def by_chance(size: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the expected MEASURES (5, M): of any point of the picture for pointing, for the rest of a box of
    `size` (M, 2), width and height, at any place within the picture.

    The places are the middles of a grid of PLACES x PLACES cells; along one axis they know nothing of the
    other.
    """
    low = ((np.arange(PLACES) + 0.5) / PLACES)[:, None, None] * (1 - size)  # (P, M, 2)
    high = low + size
    shared = np.clip(np.minimum(high, true[:, 2:]) - np.maximum(low, true[:, :2]), 0, None)
    inside = (low <= true[:, :2]) & (true[:, 2:] <= high)
    own, wanted = size.prod(axis=1), area(true)
    iou = np.zeros(len(true))
    for column in shared[..., 0]:
        both = column * shared[..., 1]  # (P, M)
        iou += (both / (own + wanted - both)).mean(axis=0) / PLACES
    coverage = shared.mean(axis=0).prod(axis=1) / wanted
    return np.stack([wanted, coverage, inside.mean(axis=0).prod(axis=1), iou, own])


def mean_of_each(values: np.ndarray, attribute: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the means (5, K) of values (5, M) over each attribute's, NaN where it has none."""
    sums = np.stack([np.bincount(attribute, row, len(count)) for row in values])
    return np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean (5,) of the columns of (5, K) that are not NaN; NaN where all are."""
    defined = values[:, ~np.isnan(values[0])]
    return defined.mean(axis=1) if defined.size else np.full(len(values), np.nan)


TITLES = ("pointing", "coverage", "inside", "IoU", "area")  # of MEASURES
POINTING, IOU = MEASURES.index("pointing"), MEASURES.index("iou")
BESIDE = {  # what a baseline's centre is called, and the baseline
    CHANCE: ("any point of the picture", "chance"),
    WHOLE: ("the picture's centre", "the whole picture"),
    AVERAGE: (
        "the centre of the attribute's average box",
        "the average box, which needs true boxes but no network",
    ),
}
RANKS = ("worse than", "by one of the two better than", "better than")


def pointing_lines(found: Pointing) -> str:
    """Return what stands behind the table of an evaluation whose list has true boxes."""
    lines = [f"Regions against {found.boxes.sum():,} true boxes, means of {found.attributes} attributes:"]
    lines.append("\t" + " " * 15 + "".join(f"{title:>10}" for title in TITLES))
    for name, values in found.means().items():
        cells = ("n/a" if math.isnan(value) else f"{value:.4f}" for value in values)
        lines.append(f"\t{name:15}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join([*lines, *verdicts(found)])


def verdicts(found: Pointing) -> list[str]:
    """Return in sentences what the figures say of the winning level's regions."""
    means = {name: values for name, values in found.means().items() if not np.isnan(values).any()}
    own = means[WINNING]
    points = [
        f"{words} in {100 * means[name][POINTING]:.0f} %"
        for name, (words, _) in BESIDE.items()
        if name in means
    ]
    ranks = [
        f"{RANKS[(own[[POINTING, IOU]] > means[name][[POINTING, IOU]]).sum()]} {words}"
        for name, (_, words) in BESIDE.items()
        if name in means
    ]
    return [
        f"The centre of the winning level's region lies in the true box in {100 * own[POINTING]:.0f} % of "
        f"the cases; {', '.join(points)}.",
        f"By pointing and IoU these regions are {', '.join(ranks)}.",
    ]


def pointing_record(found: Pointing, attributes: Sequence[str]) -> dict:
    """Return the same as plain numbers; an undefined one is None."""
    return {
        "boxes": int(found.boxes.sum()),
        "mean": {name: measured(values) for name, values in found.means().items()},
        "attributes": [
            {"name": name, "boxes": int(found.boxes[k])}
            | {source: measured(values[:, k]) for source, values in found.figures.items()}
            for k, name in enumerate(attributes)
            if found.boxes[k]
        ],
    }


def measured(values: np.ndarray) -> Mapping[str, float | None]:
    """Return MEASURES by name."""
    return {name: none_for_nan(value) for name, value in zip(MEASURES, values.tolist(), strict=True)}
