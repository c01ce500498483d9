"""List files: one line per picture, `path l_1 ... l_K`, labels 0 (no), 1 (yes) or 2 (unknown)."""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from alm.constants import UNKNOWN
from utils.data.catalog import other_spellings
from utils.errors import DataError
from utils.io.phrases import counted
from utils.io.untrusted import read_text

# An absolute path, a drive letter or a step up; with either separator, since lists come from Windows too.
LEAVES_ROOT = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")
LOOKS_LIKE_PATH = re.compile(r"[/\\]|\.[A-Za-z]")
ENDS_IN_LABEL = re.compile(r"[\s,;][012]$")
WORD = re.compile(r"[^\s,;]+")  # some lists separate labels by commas or semicolons, and end in one
EMPTY_LABEL = re.compile(r"[,;]\s*[,;]")
COLUMN_TITLE = re.compile(  # the column of paths is called `image`, `Filename`, "img_path"
    r"[\"']?(image|img|picture|photo|file|path|name)(s|[_-]?(name|path|file|id)s?)?[\"']?", re.IGNORECASE
)
LABELS = {"0", "1", "2"}


def read_list(path, num_attributes: int | None = None) -> tuple[list[str], np.ndarray]:
    """Return the picture paths of a list file, relative to the root, and their labels, uint8 (N, K).

    The last K words of a line are its labels, the rest is its path, which may hold blanks. Words are
    separated by blanks, tabs, commas or semicolons; one of these may end a line. K is `num_attributes`, by
    default the number of labels in the first line. Blank lines are skipped.

    Raises DataError naming file and line if labels are too few, too many or not 0, 1 or 2, if a path is
    absolute or leaves the root, or if the first line is a header; and naming the file if it is missing,
    empty or not text, or if its labels are 1 and 2 alone, which some annotations have for no and yes.
    """
    lines = read_text(path).split("\n")
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{path} is empty; give a list with a line `path l_1 ... l_K` for each picture")
    first_number, first = rows[0]
    if is_header(first):
        raise DataError(f"{path}:{first_number}: this is a header, not a picture with its labels; delete it")
    if num_attributes is None:
        num_attributes = count_labels(first)
    names, labels = [], []  # labels: one string of K digits per picture
    for number, line in rows:
        try:
            name, digits = parse_line(line, num_attributes)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        names.append(name)
        labels.append(digits)
    characters = np.frombuffer("".join(labels).encode("ascii"), np.uint8)
    if characters.min() > ord("0") and characters.max() == ord("2"):
        raise DataError(
            f"{path}: no label is 0, so 1 and 2 may mean no and yes; write 0 for no, 1 for yes and 2 for "
            "unknown, as prepare_data.py csv --negative 1 --positive 2 does from a table"
        )
    return names, (characters - ord("0")).reshape(len(names), num_attributes)


def parse_line(line: str, num_attributes: int) -> tuple[str, str]:
    """Return the path of a line and its labels, a string of K digits. Raises DataError as read_list does."""
    name, labels = split_line(line, num_attributes)
    digits = "".join(labels)
    complete = len(labels) == len(digits) == num_attributes > 0
    if not complete or digits.strip("012") or ENDS_IN_LABEL.search(name) or not name:
        raise DataError(label_fault(line, num_attributes))
    if LEAVES_ROOT.search(name):
        raise DataError(f"the path {name} leaves the root; list paths relative to the root")
    return name, digits


def split_line(line: str, num_attributes: int) -> tuple[str, list[str]]:
    """Return a line's path and its last K words, or fewer if it has fewer. Raises DataError if a label is
    missing between commas or semicolons.
    """
    name, *labels = line.strip().rsplit(None, num_attributes)
    if not re.search("[,;]", line) or LABELS.issuperset(labels or [name]):
        return name, labels  # the usual list; commas are part of the name
    words = list(WORD.finditer(line))[-num_attributes:]
    start = words[0].start() if words else 0
    if EMPTY_LABEL.search(line, start):
        raise DataError("nothing between two commas or semicolons; write 0 for no, 1 for yes, 2 for unknown")
    return line[:start].rstrip(",; \t").lstrip(), [word[0] for word in words]


def is_header(line: str) -> bool:
    """Whether a line names columns: it begins with a title, or has neither a label nor a path."""
    words = WORD.findall(line)
    has_path = any(LOOKS_LIKE_PATH.search(word) for word in words)
    if words and is_title(words):
        return not (has_path and is_label(words[-1]))  # `image data/1.jpg 0 1` is a picture
    return len(words) > 1 and not has_path and not any(map(is_label, words))


def is_title(words: list[str]) -> bool:
    """Whether a line's first word is that of a header: `image`, `# Image`, `#anything`."""
    if words[0].startswith("#"):
        return not LOOKS_LIKE_PATH.search(words[0])
    return COLUMN_TITLE.fullmatch(words[0]) is not None


def is_label(word: str) -> bool:
    """Whether a word could be meant as a label, right or wrong."""
    return re.fullmatch(r"[-+]?[\d.]+", word) is not None


def label_fault(line: str, num_attributes: int) -> str:
    count = count_labels(line)
    wrong = next((label for label in WORD.findall(line)[-count:] if label not in LABELS), None)
    if count == num_attributes and wrong is None:
        count += 1  # no word looks like a path, and the first one is a label
    if count != num_attributes or not count:
        expected = num_attributes or "some"
        return f"{counted(count, 'label')}, expected {expected}; give one label for each attribute"
    if wrong == "-1":
        return "label '-1' is not 0, 1 or 2; write 0 for no, which -1 mostly means, or 2 for unknown"
    return f"label {wrong!r} is not 0, 1 or 2; write 0 for no, 1 for yes, 2 for unknown"


def count_labels(line: str) -> int:
    """Return the number of words behind the path, which ends in the last word that looks like one."""
    words = WORD.findall(line)
    ends = [i for i, word in enumerate(words) if LOOKS_LIKE_PATH.search(word)]
    return len(words) - 1 - (ends[-1] if ends else 0)


def positive_ratio(labels) -> np.ndarray:
    """Return the share of positives among the known labels (N, K), float64 (K,); 0 if none is known."""
    labels = np.asarray(labels)
    known = (labels != UNKNOWN).sum(axis=0)
    return (labels == 1).sum(axis=0) / np.maximum(known, 1)


def constant_columns(labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield "always 0", "always 1" and "always unknown", each with the columns of the labels (N, K) of which
    it is true; unknown ones may stand beside the first two.
    """
    has_no, has_yes = (labels == 0).any(axis=0), (labels == 1).any(axis=0)
    yield "always 0", np.flatnonzero(has_no & ~has_yes)
    yield "always 1", np.flatnonzero(has_yes & ~has_no)
    yield "always unknown", np.flatnonzero(~has_no & ~has_yes)


def find_picture(root, name: str) -> str | None:
    """Return the file of a list's path, or None if it is missing.

    Backslashes are tried as slashes too, as lists from Windows have them, and so are all spellings of a data
    set's folder. The root may also be that folder.
    """
    for spelling in spellings(name, root):
        path = os.path.abspath(os.path.join(root, spelling))
        if os.path.isfile(path):
            return path
    return None


def spellings(name: str, root) -> Iterator[str]:
    """Yield the ways to spell a list's path, the list's own way first."""
    yield name
    slashed = name.replace("\\", "/")
    if slashed != name:
        yield slashed
    yield from other_spellings(slashed, root)


def refuse_links_out(root, label, names: Sequence[str], paths: Sequence[str | None]) -> None:
    """Raise DataError if a link in the root leads to a picture outside of it. The root may be a link."""
    inside = os.path.join(os.path.realpath(root), "")
    real: dict[str, str] = {}  # each directory is resolved once
    for name, path in zip(names, paths, strict=True):
        if path is None:
            continue
        directory, file = os.path.split(path)
        if directory not in real:
            real[directory] = os.path.realpath(directory)
        place = os.path.realpath(path) if os.path.islink(path) else os.path.join(real[directory], file)
        if not place.startswith(inside):
            raise DataError(
                f"{label}: {name} leads out of {root} through a link, to {place}; if that is meant, allow it "
                "with --follow_links"
            )
