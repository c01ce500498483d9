"""Which mistakes an evaluation made: the surest ones, and those that come together."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alm.constants import UNKNOWN
from alm.errors import PictureError
from alm.inference.image_io import read_picture
from utils.data.catalog import identities
from utils.prediction.drawing import draw_regions, fitted
from utils.report import text
from utils.report.evaluation import Evaluation

SIZE = (160, 240)  # the most width and height, in pixels
QUALITY = 80  # of the JPEG: 5 to 8 kB a picture


def thumbnail(path: str, boxes: Mapping[str, Sequence[float]], winner: str) -> tuple[str, int, int] | None:
    """Return a picture as a data URI, with its width and height; None where it cannot be read any more.

    `boxes` are each level's, in shares of the picture; the `winner`'s is drawn strong. Without any, the
    picture is shown as it is.
    """
    try:
        picture = read_picture(path)
    except PictureError:
        return None
    scale = (*picture.size, *picture.size)
    pixels = {level: np.multiply(box, scale) for level, box in boxes.items()}
    panel = draw_regions(picture, pixels, winner, SIZE) if boxes else fitted(picture, SIZE)
    file = io.BytesIO()
    panel.save(file, "JPEG", quality=QUALITY, subsampling=0)  # else thin lines lose their colour
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), *panel.size


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


WORST = 10  # attributes
OF_EACH = 3  # pictures overlooked, and as many seen where it is not
OVERLOOKED, INVENTED = "Overlooked", "Seen where it is not"


def worst(evaluation: Evaluation, wrong: np.ndarray) -> list[dict]:
    """Return the weakest attributes with pictures, of mistakes (N, K)."""
    rows = evaluation.record["attributes"]
    logits, names = evaluation.logits, evaluation.pictures.names
    people = identities(names) or names
    chosen = worst_attributes([row["ma"] for row in rows], wrong, WORST)
    found = []
    for k in chosen:
        overlooked, invented = surest(logits[:, k], wrong[:, k], people, OF_EACH)
        mistakes = [(OVERLOOKED, row) for row in overlooked] + [(INVENTED, row) for row in invented]
        shots = [shot(evaluation, what, row, k) for what, row in mistakes]
        found.append({"name": rows[k]["name"], "ma": rows[k]["ma"], "shots": shots})
    return found


def shot(evaluation: Evaluation, what: str, row: int, k: int) -> dict:
    """Return what is shown of one mistake."""
    branches, name = evaluation.branches[:, row, k], evaluation.pictures.names[row]
    level = evaluation.levels[branches.argmax()]
    probability = text.probability(float(branches.max()))
    boxes = {of: box[row, k] for of, box in evaluation.boxes.items()}
    drawn = thumbnail(evaluation.pictures.paths[row], boxes, level)
    image, width, height = drawn or (None, 0, 0)
    return {
        "what": what,
        "probability": probability,
        "level": level,
        "name": name,
        "image": image,
        "width": width,
        "height": height,
        "alt": f"{name}: {evaluation.attributes[k]}, {what.lower()}, {probability}",
    }
