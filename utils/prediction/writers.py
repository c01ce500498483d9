"""Predictions for programs: CSV and JSON, with every attribute and every region, a line a picture."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import numpy as np

from alm.inference.prediction import Prediction
from utils.data.attributes import BODY_PARTS, PART_OF
from utils.io.atomic import whole_file
from utils.io.untrusted import printable
from utils.prediction.sources import Source

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


STANDARD_OUTPUT = "-"
SIDES = ("left", "top", "right", "bottom")


@contextmanager
def opened(path: str) -> Iterator[IO]:
    """Give standard output for `-`, else a file that is whole at the end, or not there at all."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout
    else:
        with whole_file(path, "w") as file:
            yield file


class JsonLines:
    """A JSON object a line: `path`, `width`, `height`, and in `attributes`, by name, `probability`, whether
    it is `positive`, the `level` whose probability it is, and `regions`, by level, as [left, top, right,
    bottom] in pixels of the picture.
    """

    def __init__(self, file: IO):
        self.file = file

    def write(self, source: Source, prediction: Prediction, positive: np.ndarray) -> None:
        """Write a picture's line; `positive` (K,) says which attributes are above their thresholds."""
        attributes = {
            attribute: {
                "probability": number(prediction.probabilities[k]),
                "positive": bool(positive[k]),
                "level": prediction.level[k],
                "regions": {level: pixels(box[k]) for level, box in prediction.regions.items()},
            }
            for k, attribute in enumerate(prediction.attributes)
        }
        width, height = prediction.size
        line = {"path": source.name, "width": width, "height": height, "attributes": attributes}
        self.file.write(json.dumps(line) + "\n")


class Csv:
    """A line a picture: its path, then the probability of each attribute under its name, as compare.py reads
    it, then of each attribute the level whose probability it is, and each level's region in pixels.
    """

    def __init__(self, file: IO, attributes: Sequence[str], levels: Sequence[str]):
        """Write the header."""
        self.writer = csv.writer(file, lineterminator="\n")
        regions = (f"{level} {side}" for level in levels for side in SIDES)
        behind = ["level", *regions] if levels else []
        columns = (f"{attribute} {column}" for attribute in attributes for column in behind)
        self.writer.writerow(["path", *attributes, *columns])

    def write(self, source: Source, prediction: Prediction, _positive: np.ndarray) -> None:
        """Write a picture's line."""
        row = [storable(source.name), *map(number, prediction.probabilities)]
        for k, level in enumerate(prediction.level):
            if prediction.regions:
                row.append(level)
            for box in prediction.regions.values():
                row += pixels(box[k])
        self.writer.writerow(row)


def number(probability: float) -> float:
    """Return a float32 as the shortest number of at most 9 digits, which give it back."""
    return float(f"{probability:.9g}")


def pixels(box: np.ndarray) -> list[float]:
    """Return a box to a hundredth of a pixel."""
    return [round(float(side), 2) for side in box]


def storable(name: str) -> str:
    """Return a path as UTF-8 can store it: bytes that are none are spelt out."""
    return name.encode("utf-8", "backslashreplace").decode()
