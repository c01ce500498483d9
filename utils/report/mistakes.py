"""The mistakes of an evaluation: the surest ones, and those that come together."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alm.constants import UNKNOWN
from alm.errors import PictureError
from alm.inference.image_io import read_picture
from utils.data.catalog import identities
from utils.prediction.drawing import draw_regions, fitted
from utils.prediction.heatmap import beside_evidence
from utils.report import text
from utils.report.evaluation import Report

WEAKEST = 10  # attributes
OF_EACH = 3  # pictures of each kind of mistake
OVERLOOKED, INVENTED = "Overlooked", "Seen where it is not"  # the kinds
SIZE = (160, 240)  # the largest width and height of a thumbnail, in pixels
QUALITY = 80  # of its JPEG: 8 to 12 kB per picture


class Pair(NamedTuple):
    """Two attributes, by number, that are wrong in the same pictures.

    `both` is the number of these pictures, `expected` what it would be if the mistakes were independent,
    `correlation` that of the two mistakes over the pictures (phi).
    """

    first: int
    second: int
    both: int
    expected: float
    correlation: float


def wrong_predictions(margins: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which known labels (N, K) are predicted wrong, bool (N, K)."""
    return ((margins > 0) != (labels == 1)) & (labels != UNKNOWN)


def weakest_attributes(report: Report, wrong: np.ndarray) -> list[dict]:
    """Return the attributes of the lowest mA, each with examples of its mistakes (N, K)."""
    rows = report.record["attributes"]
    margins, names = report.margins, report.pictures.names
    people = identities(names) or names
    weakest = []
    for k in lowest_ma([row["ma"] for row in rows], wrong, WEAKEST):
        overlooked, invented = surest_mistakes(margins[:, k], wrong[:, k], people, OF_EACH)
        mistakes = [(OVERLOOKED, row) for row in overlooked] + [(INVENTED, row) for row in invented]
        examples = [example(report, kind, row, k) for kind, row in mistakes]
        weakest.append({"name": rows[k]["name"], "ma": rows[k]["ma"], "examples": examples})
    return weakest


def lowest_ma(attribute_ma: Sequence[float | None], wrong: np.ndarray, most: int) -> list[int]:
    """Return the attributes with a mistake and an mA, the lowest first."""
    candidates = [k for k, ma in enumerate(attribute_ma) if ma is not None and wrong[:, k].any()]
    return sorted(candidates, key=lambda k: attribute_ma[k])[:most]


def surest_mistakes(
    margins: np.ndarray, wrong: np.ndarray, people: Sequence[str], most: int
) -> tuple[list[int], list[int]]:
    """Return the pictures with an attribute that was overlooked, and those without it that seem to have it,
    the surest mistake first, at most `most` of each and one per person. All arguments but it are (N,).
    """
    order = np.argsort(-np.abs(margins), kind="stable")
    rows = order[wrong[order]]
    overlooked = margins[rows] <= 0
    return tuple(
        one_per_person(kind.tolist(), people)[:most] for kind in (rows[overlooked], rows[~overlooked])
    )


def one_per_person(rows: Sequence[int], people: Sequence[str]) -> list[int]:
    firsts: dict[str, int] = {}
    for row in rows:
        firsts.setdefault(people[row], row)
    return list(firsts.values())


def example(report: Report, kind: str, row: int, k: int) -> dict:
    """Return the mistake in picture `row` and attribute `k`, for the page."""
    branches, name = report.branches[:, row, k], report.pictures.names[row]
    winner = report.branch_names[branches.argmax()]
    probability = text.probability(float(branches.max()))
    image, width, height = thumbnail(report, row, k, winner) or (None, 0, 0)
    return {
        "kind": kind,
        "probability": probability,
        "winner": winner,
        "name": name,
        "image": image,
        "width": width,
        "height": height,
        "alt": f"{name}: {report.attributes[k]}, {kind.lower()}, {probability}",
    }


def thumbnail(report: Report, row: int, k: int, winner: str) -> tuple[str, int, int] | None:
    """Return picture `row` as a data URI, with its width and height; None if it can no longer be read.

    The boxes of attribute `k` are drawn on it, the `winner`'s thick, and the evidence beside it; without
    localization it is alone.
    """
    try:
        picture = read_picture(report.pictures.paths[row])
    except PictureError:
        return None
    if report.boxes:
        scale = np.tile(picture.size, 2)
        panel = draw_regions(
            picture, {level: box[row, k] * scale for level, box in report.boxes.items()}, winner, SIZE
        )
        [prediction] = report.predictor(picture, as_trained=True)
        evidence = {name: maps[k] for name, maps in prediction.evidence.items()}
        panel = beside_evidence(panel, picture, evidence, winner)
    else:
        panel = fitted(picture, SIZE)
    file = io.BytesIO()
    panel.save(file, "JPEG", quality=QUALITY, subsampling=0)  # else thin lines lose their colour
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), *panel.size


def pairs_wrong_together(wrong: np.ndarray, most: int) -> list[Pair]:
    """Return the pairs of attributes whose mistakes (N, K) correlate, the highest correlation first. A pair
    needs at least two pictures in which both are wrong.
    """
    counts = wrong.sum(axis=0)
    both = wrong.T.astype(np.float32) @ wrong.astype(np.float32)  # whole numbers: exact
    pictures = max(len(wrong), 1)
    expected = np.outer(counts, counts) / pictures
    spread = np.sqrt(counts * (1 - counts / pictures))
    scale = np.outer(spread, spread)
    correlation = np.divide(both - expected, scale, out=np.zeros_like(expected), where=scale > 0)
    first, second = np.nonzero(np.triu(both > 1, k=1) & (correlation > 0))
    order = np.argsort(-correlation[first, second], kind="stable")[:most]
    return [
        Pair(int(i), int(j), int(both[i, j]), float(expected[i, j]), float(correlation[i, j]))
        for i, j in zip(first[order], second[order], strict=True)
    ]
