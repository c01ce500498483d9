"""List files: a line a picture, `path l_1 ... l_K`, labels 0 (no), 1 (yes) or 2 (unknown)."""

import re
from pathlib import Path

import numpy as np

UNKNOWN = 2

# An absolute path, a drive letter or a step up; with either separator, since lists come from Windows too.
LEAVES_ROOT = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")
LOOKS_LIKE_PATH = re.compile(r"[/\\]|\.[A-Za-z]")
ENDS_IN_LABEL = re.compile(r"\s[012]$")


class DataError(ValueError):
    """Bad input; the message is one sentence for the user: what, where, how to mend it."""


def read_text(path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark; lines end in a line feed.

    Raises DataError where it cannot be read or is not text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        raise DataError(f"{path} is not text; give a text file in UTF-8")
    return text


def read_list(path, num_attributes: int | None = None) -> tuple[list[str], np.ndarray]:
    """Return the picture paths of a list file, relative to the root, and their labels, uint8 (N, K).

    The last K fields of a line are its labels, the rest is its path, which may hold blanks. K is
    `num_attributes`, by default the number of labels in the first line. Blank lines are skipped.
    Raises DataError: naming file and line where labels are too few, too many or not 0, 1 or 2, or where a
    path is absolute or leaves the root; naming the file where it is missing, empty or not text.
    """
    lines = read_text(path).split("\n")
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{path} is empty; give a list with a line `path l_1 ... l_K` for each picture")
    if num_attributes is None:
        num_attributes = count_labels(rows[0][1])
    names, labels = [], []  # labels: a string of K digits for each picture
    for number, line in rows:
        try:
            name, digits = parse_line(line, num_attributes)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        names.append(name)
        labels.append(digits)
    characters = np.frombuffer("".join(labels).encode("ascii"), np.uint8)
    return names, (characters - ord("0")).reshape(len(names), num_attributes)


def parse_line(line: str, num_attributes: int) -> tuple[str, str]:
    """Return the path of a list's line and its labels as a string of K digits; DataError as in read_list."""
    name, *labels = line.strip().rsplit(None, num_attributes)
    digits = "".join(labels)
    complete = len(labels) == len(digits) == num_attributes > 0
    if not complete or digits.strip("012") or ENDS_IN_LABEL.search(name):
        raise DataError(label_fault(line, num_attributes))
    if LEAVES_ROOT.search(name):
        raise DataError(f"the path {name} leaves the root; list paths relative to the root")
    return name, digits


def label_fault(line: str, num_attributes: int) -> str:
    """Return the sentence that says what is wrong with the labels of a line."""
    found = count_labels(line)
    if found != num_attributes or not found:
        return f"{found} labels, expected {num_attributes or 'some'}; give one label for each attribute"
    wrong = next(label for label in line.split()[-found:] if label not in ("0", "1", "2"))
    return f"label {wrong!r} is not 0, 1 or 2; use 2 for unknown"


def count_labels(line: str) -> int:
    """Return the number of fields behind the path, which ends in the last field that looks like a path."""
    fields = line.split()
    ends = [i for i, field in enumerate(fields) if LOOKS_LIKE_PATH.search(field)]
    return len(fields) - 1 - (ends[-1] if ends else 0)


def positive_ratio(labels) -> np.ndarray:
    """Return the share of positives among the known labels (N, K) of each attribute, float64 (K,).

    An attribute without known labels has 0.
    """
    labels = np.asarray(labels)
    known = (labels != UNKNOWN).sum(axis=0)
    return (labels == 1).sum(axis=0) / np.maximum(known, 1)
