"""Regions and evidence against true boxes: does the network look where the attribute is?

A box is [left, top, right, bottom] in shares of the picture's width and height. There are five measures of a
region R against the true box T of an attribute:

    pointing    1 if the centre of R lies within T, else 0 (Zhang et al., arXiv 1608.00507, section 4.1)
    coverage    the share of T's area that R covers
    inside      1 if T lies wholly within R, else 0
    iou         the area of the intersection over the area of the union
    area        the share of the picture's area that R takes: a large R covers much by being large

Of evidence, R is the box around what is strong, and its strongest place stands for the centre.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from alm.inference.evidence import strongest_box, strongest_place
from alm.inference.prediction import PicturePredictor
from utils.evaluation.results import none_for_nan, with_digits
from utils.io.phrases import counted

MEASURES = ("pointing", "coverage", "inside", "iou", "area")
TITLES = ("pointing", "coverage", "inside", "IoU", "area")  # of MEASURES
POINTING, IOU = MEASURES.index("pointing"), MEASURES.index("iou")
WINNING, WHOLE, AVERAGE, CHANCE = "winning level", "whole picture", "average box", "chance"
EVIDENCE = "evidence"  # before the name of a branch, or "all"
PLACES = 32  # along each axis, which stand for all places of a box
BASELINES = {  # the point and the box of each, in words
    CHANCE: ("any point of the picture", "chance"),
    WHOLE: ("the picture's centre", "the whole picture"),
    AVERAGE: (
        "the centre of the attribute's average box",
        "the average box (which needs true boxes but no network)",
    ),
}


@dataclass(frozen=True)
class Pointing:
    """MEASURES of regions, of evidence and of BASELINES against the true boxes of K attributes.

    Attributes:
        boxes: int (K,), how many true boxes there are.
        figures: for each level, for WINNING, for each map of EVIDENCE and for each of BASELINES, float64
            (5, K): the means of MEASURES over an attribute's true boxes, NaN if it has none.
    """

    boxes: np.ndarray
    figures: dict[str, np.ndarray]

    def means(self) -> dict[str, np.ndarray]:
        """Return the means (5,) over the attributes whose figures are defined; each counts alike."""
        return {name: mean_of_defined(values) for name, values in self.figures.items()}

    @property
    def attributes(self) -> int:
        """How many attributes have true boxes."""
        return int((self.boxes > 0).sum())


Evidence = Mapping[str, tuple[np.ndarray, np.ndarray]]  # places (M, 2) and boxes (M, 4) of each map


def located_evidence(predictor: PicturePredictor, paths: Sequence[str], true: np.ndarray) -> Evidence:
    """Return where the evidence is strong, for each true box (N, K, 4) of N pictures, in their order.

    Pictures without a box are not predicted. Raises PictureError if one cannot be read.
    """
    has_box = ~np.isnan(true[..., 0])
    rows = np.flatnonzero(has_box.any(axis=1))
    predictions = predictor.each((paths[row] for row in rows), as_trained=True)
    parts: dict[str, list] = {}
    for row, prediction in zip(
        rows, tqdm(predictions, "Evidence", len(rows), leave=False, disable=None), strict=True
    ):
        for name, maps in prediction.evidence.items():
            boxed = maps[has_box[row]]
            parts.setdefault(name, []).append((strongest_place(boxed), strongest_box(boxed)))
    return {name: tuple(map(np.concatenate, zip(*pairs, strict=True))) for name, pairs in parts.items()}


def score(
    regions: Mapping[str, np.ndarray], logits: np.ndarray, true: np.ndarray, evidence: Evidence
) -> Pointing:
    """Score the regions of L levels, the evidence, and the baselines that they have to beat.

    The winning level is the one with the highest logit. The baselines are the whole picture; the attribute's
    average box over the other pictures, undefined for an attribute with one box; and chance. Chance is any
    point of the picture for pointing. For the other measures it is a box of the winning region's size at any
    place within the picture, all places equally probable.

    Args:
        regions: boxes (N, K, 4) of each level.
        logits: (L, N, K), in the order of `regions`.
        true: boxes (N, K, 4) of positive size, NaN if there is none.
        evidence: of these boxes, as `located_evidence` returns it.
    """
    has_box = ~np.isnan(true[..., 0])  # (N, K)
    attribute, true = np.nonzero(has_box)[1], true[has_box]  # (M,) and (M, 4): the true boxes alone
    count = has_box.sum(axis=0)
    boxes = {level: values[has_box] for level, values in regions.items()}  # (M, 4)
    winner = logits.argmax(axis=0)[has_box]
    winning = np.stack(list(boxes.values()))[winner, np.arange(len(winner))]
    values = {name: measures(box, true) for name, box in boxes.items()}
    values[WINNING] = measures(winning, true)
    values |= {f"{EVIDENCE} {name}": measures(box, true, place) for name, (place, box) in evidence.items()}
    values[WHOLE] = measures(np.broadcast_to([0.0, 0.0, 1.0, 1.0], true.shape), true)
    values[AVERAGE] = measures(average_of_others(true, attribute, count), true)
    values[CHANCE] = by_chance(winning[:, 2:] - winning[:, :2], true)
    return Pointing(count, {name: mean_of_each(value, attribute, count) for name, value in values.items()})


def measures(guess: np.ndarray, true: np.ndarray, place: np.ndarray | None = None) -> np.ndarray:
    """Return MEASURES (5, M) of boxes (M, 4) against true ones; NaN if the guess is NaN. A box points at its
    centre, or at a `place` (M, 2).
    """
    low, high = np.maximum(guess[:, :2], true[:, :2]), np.minimum(guess[:, 2:], true[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    place = (guess[:, :2] + guess[:, 2:]) / 2 if place is None else place
    pointing = ((true[:, :2] <= place) & (place <= true[:, 2:])).all(axis=1)
    inside = ((guess[:, :2] <= true[:, :2]) & (true[:, 2:] <= guess[:, 2:])).all(axis=1)
    own, other = area(guess), area(true)
    values = np.stack([pointing, shared / other, inside, shared / (own + other - shared), own])
    return np.where(np.isnan(own), np.nan, values)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas (M,) of boxes (M, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def average_of_others(true: np.ndarray, attribute: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return, for each true box, the average (M, 4) of its attribute's other boxes; NaN if there is none."""
    sums = np.zeros((len(count), 4))
    np.add.at(sums, attribute, true)
    others = count[attribute][:, None] - 1
    return np.divide(sums[attribute] - true, others, out=np.full_like(true, np.nan), where=others > 0)


def by_chance(size: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the expected MEASURES (5, M) of chance; its box has the `size` (M, 2), width and height.

    The places are the middles of a grid of PLACES x PLACES cells; the two axes are independent.
    """
    low = ((np.arange(PLACES) + 0.5) / PLACES)[:, None, None] * (1 - size)  # (P, M, 2)
    high = low + size
    shared = np.clip(np.minimum(high, true[:, 2:]) - np.maximum(low, true[:, :2]), 0, None)
    inside = (low <= true[:, :2]) & (true[:, 2:] <= high)
    own, other = size.prod(axis=1), area(true)
    iou = np.zeros(len(true))
    for column in shared[..., 0]:
        both = column * shared[..., 1]  # (P, M)
        iou += (both / (own + other - both)).mean(axis=0) / PLACES
    coverage = shared.mean(axis=0).prod(axis=1) / other
    return np.stack([other, coverage, inside.mean(axis=0).prod(axis=1), iou, own])


def mean_of_each(values: np.ndarray, attribute: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the means (5, K) of values (5, M) over the boxes of each attribute, NaN if it has none."""
    sums = np.stack([np.bincount(attribute, row, len(count)) for row in values])
    return np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean (5,) of the columns of (5, K) that are not NaN; NaN if all are."""
    defined = values[:, ~np.isnan(values[0])]
    return defined.mean(axis=1) if defined.size else np.full(len(values), np.nan)


def pointing_lines(pointing: Pointing) -> str:
    attributes = counted(pointing.attributes, "attribute")
    lines = [f"Regions and evidence against {pointing.boxes.sum():,} true boxes, means of {attributes}:"]
    width = 2 + max(map(len, pointing.figures))
    lines.append("\t" + " " * width + "".join(f"{title:>10}" for title in TITLES))
    for name, values in pointing.means().items():
        cells = (with_digits(value, 4) for value in values)
        lines.append(f"\t{name:{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join([*lines, *verdicts(pointing)])


def verdicts(pointing: Pointing) -> list[str]:
    means = {name: values for name, values in pointing.means().items() if not np.isnan(values).any()}
    own = means[WINNING]
    baselines = [(name, point, box) for name, (point, box) in BASELINES.items() if name in means]
    points = [f"{point} in {100 * means[name][POINTING]:.0f} %" for name, point, _ in baselines]
    strongest = [
        f"{100 * values[POINTING]:.0f} % ({name})"
        for name, values in means.items()
        if name.startswith(EVIDENCE)
    ]
    names_of: dict[str, list[str]] = {  # verdict -> what it is about
        "do not beat {} on pointing or on IoU": [],
        "beat {} on one of the two measures, pointing and IoU": [],
        "beat {} on both measures, pointing and IoU": [],
    }
    for name, _, box in baselines:
        wins = int((own[[POINTING, IOU]] > means[name][[POINTING, IOU]]).sum())
        list(names_of.values())[wins].append(box)
    return [
        f"The centre of the winning level's region lies in the true box in {100 * own[POINTING]:.0f} % of "
        f"the cases; {', '.join(points)}.",
        f"The strongest place of each map of evidence: {', '.join(strongest)}.",
        *(
            f"The regions {verdict.format(joint.join(names))}."
            for (verdict, names), joint in zip(
                reversed(names_of.items()), (" and ", " and ", " or "), strict=True
            )
            if names
        ),
    ]


def pointing_record(pointing: Pointing, attributes: Sequence[str]) -> dict:
    return {
        "boxes": int(pointing.boxes.sum()),
        "mean": {name: by_measure(values) for name, values in pointing.means().items()},
        "attributes": [
            {"name": name, "boxes": int(pointing.boxes[k])}
            | {source: by_measure(values[:, k]) for source, values in pointing.figures.items()}
            for k, name in enumerate(attributes)
            if pointing.boxes[k]
        ],
    }


def by_measure(values: np.ndarray) -> dict[str, float | None]:
    return {name: none_for_nan(value) for name, value in zip(MEASURES, values.tolist(), strict=True)}
