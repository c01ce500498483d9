"""Writers of predictions: a table for people, CSV and JSON for programs. Each picture is written at once."""

import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Protocol

import numpy as np
from tqdm import tqdm

from alm.inference.prediction import Prediction
from utils.data.attributes import BODY_PARTS
from utils.data.catalog import OTHER, body_part
from utils.evaluation.prediction_table import LEVEL
from utils.io.atomic import whole_file
from utils.io.process import tell
from utils.io.untrusted import printable
from utils.prediction.sources import Source

STANDARD_OUTPUT = "-"
SIDES = ("left", "top", "right", "bottom")

INDENT = 2
COLUMN = max(map(len, BODY_PARTS)) + INDENT + 2  # where attributes begin


class Writer(Protocol):
    """Writes one prediction after the other."""

    def write(self, source: Source, prediction: Prediction, positive: np.ndarray) -> None:
        """`positive`, bool (K,), says which attributes the picture has."""

    def leave_out(self, source: Source) -> None:
        """The picture could not be read."""


@contextmanager
def opened(path: str) -> Iterator[IO]:
    """Give standard output for `-`, else a file that is whole at the end, or not there at all."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout
    else:
        with whole_file(path, "w") as file:
            yield file


class Table(Writer):
    """Prints the attributes of each picture, as wide as the terminal, and a blank line."""

    def write(self, source: Source, prediction: Prediction, positive: np.ndarray) -> None:
        width = shutil.get_terminal_size().columns
        with tqdm.external_write_mode(sys.stdout):
            tell(*table_lines(source.name, prediction, positive, width), "")


def table_lines(name: str, prediction: Prediction, positive: np.ndarray, width: int) -> list[str]:
    """Return a picture's path, and a line for each part of the body with the attributes that are `positive`,
    bool (K,), the most probable first. Lines have at most `width` characters, unless a name alone has more.
    """
    lines = ["{}  {} x {}".format(printable(name), *prediction.size)]
    parts: dict[str, list[str]] = {}
    for k in sorted(np.flatnonzero(positive), key=lambda k: -prediction.probabilities[k]):
        attribute = prediction.attributes[k]
        text = f"{printable(attribute)} {prediction.probabilities[k]:.2f}"
        parts.setdefault(body_part(attribute), []).append(text)
    for part in (*BODY_PARTS, OTHER):
        if part in parts:
            first, *others = joined(parts[part], width - COLUMN)
            lines.append(f"{'':{INDENT}}{part}".ljust(COLUMN) + first)
            lines += [" " * COLUMN + other for other in others]
    if not parts:
        lines.append(f"{'':{INDENT}}nothing found")
    return lines


def joined(items: Sequence[str], width: int) -> list[str]:
    """Return items separated by commas, in lines of at most `width` characters if the items allow it."""
    lines = [items[0]]
    for item in items[1:]:
        if len(lines[-1]) + len(item) + 3 <= width:  # with the comma that may follow
            lines[-1] += f", {item}"
        else:
            lines[-1] += ","
            lines.append(item)
    return lines


class Csv(Writer):
    """Writes a header and one row per picture."""

    def __init__(self, file: IO, attributes: Sequence[str], levels: Sequence[str]):
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow(csv_header(attributes, levels))

    def write(self, source: Source, prediction: Prediction, _positive: np.ndarray) -> None:
        self.writer.writerow(csv_row(source, prediction))


def csv_header(attributes: Sequence[str], levels: Sequence[str]) -> list[str]:
    """Return the names of the columns: the path, the probability of each attribute under its name, which is
    what compare.py reads, then for each attribute the winning level and every level's region in pixels.
    """
    details = [LEVEL, *(f"{level} {side}" for level in levels for side in SIDES)]
    return ["path", *attributes, *(f"{attribute} {detail}" for attribute in attributes for detail in details)]


def csv_row(source: Source, prediction: Prediction) -> list:
    row = [storable(source.name), *map(number, prediction.probabilities)]
    for k, level in enumerate(prediction.level):
        row += [level, *(side for box in prediction.regions.values() for side in pixels(box[k]))]
    return row


class JsonLines(Writer):
    """Writes one JSON object per line and picture: `path`, `width`, `height` and `attributes`. Each attribute
    has, under its name, `probability`, `positive`, the winning `level`, each level's box in `regions`, and
    the strongest `place` and the `box` of each map of `evidence`.
    """

    def __init__(self, file: IO):
        self.file = file

    def write(self, source: Source, prediction: Prediction, positive: np.ndarray) -> None:
        places, boxes = prediction.strongest_places(), prediction.strongest_boxes()
        attributes = {
            attribute: {
                "probability": number(prediction.probabilities[k]),
                "positive": bool(positive[k]),
                "level": prediction.level[k],
                "regions": {level: pixels(box[k]) for level, box in prediction.regions.items()},
                "evidence": {
                    name: {"place": pixels(place[k]), "box": pixels(boxes[name][k])}
                    for name, place in places.items()
                },
            }
            for k, attribute in enumerate(prediction.attributes)
        }
        width, height = prediction.size
        line = {"path": source.name, "width": width, "height": height, "attributes": attributes}
        self.file.write(json.dumps(line) + "\n")


def number(probability: float) -> float:
    """Return a float32 as a number of at most 9 digits, which are enough to give it back."""
    return float(f"{probability:.9g}")


def pixels(numbers: np.ndarray) -> list[float]:
    """Return a box or a place in hundredths of a pixel."""
    return [round(float(number), 2) for number in numbers]


def storable(name: str) -> str:
    """Return a path as UTF-8. What is no character is spelt out, and so is a carriage return, which Python's
    csv does not quote before 3.13.
    """
    return name.replace("\r", "\\x0d").encode("utf-8", "backslashreplace").decode()
