"""Predictions as a person reads them on a terminal: what is found, part by part of the body."""

from collections.abc import Sequence

import numpy as np

from alm.inference.prediction import Prediction
from utils.data.attributes import BODY_PARTS, PART_OF
from utils.io.printable import printable

OTHER = "other"  # the part of an attribute that is in no published data set
INDENT = 2
COLUMN = max(map(len, BODY_PARTS)) + INDENT + 2  # where attributes begin


def block(name: str, prediction: Prediction, positive: np.ndarray, width: int) -> list[str]:
    """Return the lines that show a picture's attributes that are `positive`, bool (K,), at most `width` wide
    where the names let them: its path, then a line a part of the body, the most probable first.
    """
    lines = ["{}  {} x {}".format(printable(name), *prediction.size)]
    found: dict[str, list[str]] = {}
    for k in sorted(np.flatnonzero(positive), key=lambda k: -prediction.probabilities[k]):
        attribute = prediction.attributes[k]
        text = f"{printable(attribute)} {prediction.probabilities[k]:.2f}"
        found.setdefault(PART_OF.get(attribute, OTHER), []).append(text)
    for part in (*BODY_PARTS, OTHER):
        if part in found:
            first, *others = joined(found[part], width - COLUMN)
            lines.append(f"{'':{INDENT}}{part}".ljust(COLUMN) + first)
            lines += [" " * COLUMN + other for other in others]
    if not found:
        lines.append(f"{'':{INDENT}}nothing found")
    return lines


def joined(items: Sequence[str], width: int) -> list[str]:
    """Return items separated by commas, in lines of at most `width` characters where each item fits."""
    lines = [items[0]]
    for item in items[1:]:
        if len(lines[-1]) + len(item) + 3 <= width:  # and the comma that may follow
            lines[-1] += f", {item}"
        else:
            lines[-1] += ","
            lines.append(item)
    return lines
