"""Writers of predictions: a table for people, CSV and JSON for programs; votes of a person's pictures."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
from tqdm import tqdm

from alm.inference.prediction import Prediction, Recognition, number, pixels
from utils.data.attributes import BODY_PARTS
from utils.data.catalog import OTHER, body_part
from utils.evaluation.prediction_table import FOUND, LEVEL
from utils.io.atomic import whole_file
from utils.io.phrases import counted
from utils.io.process import tell
from utils.io.untrusted import printable
from utils.prediction.sources import Source

STANDARD_OUTPUT = "-"
SIDES = ("left", "top", "right", "bottom")

INDENT = 2
COLUMN = max(map(len, BODY_PARTS)) + INDENT + 2  # where attributes begin


@dataclass(frozen=True, eq=False)
class Vote(Recognition):
    """The mean of the probabilities over `pictures` pictures of one person, whose id a tracker gave."""

    pictures: int

    @property
    def extent(self) -> str:
        return counted(self.pictures, "picture")

    def to_dict(self) -> dict:
        return {"pictures": self.pictures, "attributes": self.rows()}


class Writer(Protocol):
    """Writes one prediction after the other."""

    def write(self, source: Source, prediction: Prediction | Vote) -> None:
        """A picture was predicted, or a person's pictures have voted."""

    def leave_out(self, source: Source) -> None:
        """The picture could not be read."""

    def finish(self) -> None:
        """All pictures have come."""


@contextmanager
def opened(path: str) -> Iterator[IO]:
    """Give standard output for `-`, else a file that is whole at the end, or not there at all."""
    if path == STANDARD_OUTPUT:
        yield sys.stdout
    else:
        with whole_file(path, "w") as file:
            yield file


class Output:
    """A file to write, of which a writer gives the text picture by picture; `head` comes before all."""

    def __init__(self, path: str, make_writer: Callable[[IO], Writer]):
        self.path = path
        self._buffer = io.StringIO()
        self._writer = make_writer(self._buffer)
        self.head = self._taken()

    def text(self, source: Source, prediction: Prediction) -> str:
        self._writer.write(source, prediction)
        return self._taken()

    def _taken(self) -> str:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text


class Table(Writer):
    """Prints the attributes of each picture, as wide as the terminal, and a blank line."""

    def write(self, source: Source, prediction: Prediction | Vote) -> None:
        width = shutil.get_terminal_size().columns
        with tqdm.external_write_mode(sys.stdout):
            tell(*table_lines(source, prediction, width), "")


def table_lines(source: Source, prediction: Prediction | Vote, width: int) -> list[str]:
    """Return a picture's path or a person's id, and a line for each part of the body with the attributes that
    are found, the most probable first. Lines have at most `width` characters, unless a name alone has more.
    """
    lines = [f"{printable(source.title)}  {prediction.extent}"]
    parts: dict[str, list[str]] = {}
    for k in prediction.found():
        part = body_part(prediction.attributes[k])
        parts.setdefault(part, []).append(printable(prediction.describe(k)))
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
    """Writes a header and one row per picture or person; with `levels` also what `csv_details` says."""

    def __init__(
        self, file: IO, attributes: Sequence[str], levels: Sequence[str] | None, first: str = "path"
    ):
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow(csv_header(attributes, levels, first))
        self.is_full = levels is not None

    def write(self, source: Source, prediction: Prediction | Vote) -> None:
        self.writer.writerow(csv_row(source, prediction, self.is_full))


def csv_header(attributes: Sequence[str], levels: Sequence[str] | None, first: str = "path") -> list[str]:
    """Return the names of the columns: the path, for each attribute the probability under its name, which is
    what compare.py reads, and whether it is found; with `levels`, then those of `csv_details`.
    """
    header = [first, *(column for name in attributes for column in (name, f"{name} {FOUND}"))]
    if levels is not None:
        details = [LEVEL, *(f"{level} {side}" for level in levels for side in SIDES)]
        header += (f"{attribute} {detail}" for attribute in attributes for detail in details)
    return header


def csv_row(source: Source, prediction: Prediction | Vote, is_full: bool) -> list:
    row = [storable(source.title)]
    for probability, positive in zip(prediction.probabilities, prediction.positive(), strict=True):
        row += [number(probability), "yes" if positive else "no"]
    return row + (csv_details(prediction) if is_full else [])


def csv_details(prediction: Prediction) -> list:
    """Return for each attribute the winning level, and every level's region in pixels."""
    row = []
    for k, level in enumerate(prediction.level):
        row += [level, *(side for box in prediction.regions.values() for side in pixels(box[k]))]
    return row


class JsonLines(Writer):
    """Writes one JSON object per line and picture or person: which one it is, and what its `to_dict` says."""

    def __init__(self, file: IO):
        self.file = file

    def write(self, source: Source, prediction: Prediction | Vote) -> None:
        self.file.write(json.dumps(source.to_dict() | prediction.to_dict()) + "\n")


class Votes(Writer):
    """Gives other writers one vote per person, when all pictures have come."""

    def __init__(self, writers: Sequence[Writer]):
        self.writers = writers
        self.votes: dict[str, Vote] = {}

    def write(self, source: Source, prediction: Prediction) -> None:
        vote = self.votes.get(source.person)
        count = vote.pictures if vote else 0
        before = vote.probabilities if vote else np.zeros(len(prediction.attributes))
        mean = before + (prediction.probabilities - before) / (count + 1)
        self.votes[source.person] = Vote(prediction.attributes, mean, prediction.thresholds, count + 1)

    def finish(self) -> None:
        for person, vote in self.votes.items():
            for writer in self.writers:
                writer.write(Source(person=person), vote)


def storable(name: str) -> str:
    """Return a path as UTF-8. What is no character is spelt out, and so is a carriage return, which Python's
    csv does not quote before 3.13.
    """
    return name.replace("\r", "\\x0d").encode("utf-8", "backslashreplace").decode()
