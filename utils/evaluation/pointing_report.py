"""How regions meet true boxes, for people and for machines."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from utils.evaluation.pointing import AVERAGE, CHANCE, MEASURES, WHOLE, WINNING, Pointing
from utils.runs.log_text import none_for_nan

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
