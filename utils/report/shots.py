"""The weakest attributes with their surest mistakes, as small pictures with regions."""

import numpy as np

from utils.data.identity import identities
from utils.report import text
from utils.report.evaluation import Evaluation
from utils.report.mistakes import surest, worst_attributes
from utils.report.thumbnails import thumbnail

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
