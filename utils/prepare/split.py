"""Which picture is for training and which for the test: by lists, by a draw, or by who is on it."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from alm.inference.image_io import SUFFIXES
from utils.errors import DataError
from utils.io.phrases import counted, first_few
from utils.io.untrusted import read_text

PETA_TEST_SHARE = 0.4  # 7,600 of 19,000
DRAWS = 100  # of identities, to choose from
PARTS = {1: ("train",), 2: ("train", "test"), 3: ("train", "val", "test")}  # by the number of lists
# The first words of a line up to a picture's suffix: a folder may have blanks, `PETA dataset/...`.
ENDINGS = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES))
PICTURE = re.compile(rf"\s*(.+?(?:{ENDINGS}))(?=[\s,;]|$)", re.IGNORECASE)


def split_by_lists(files: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Return part -> indices of `names`, in the order of existing lists, and notes.

    The lists are those of training and test, or of training, validation and test. Of a line only the picture
    counts, which is found by the last three parts of its path, `subset/archive/file`. Raises DataError if a
    line names no picture, if a picture is not among `names`, or if one is listed twice.
    """
    if len(files) not in PARTS:
        raise DataError(f"--split has {len(files)} lists; give training and test, or training, val and test")
    index_of = {key_of(name): index for index, name in enumerate(names)}
    parts: dict[str, list[int]] = {}
    file_of: dict[int, Path] = {}
    twice, across = [], []
    for part, file in zip(PARTS[len(files)], files, strict=True):
        pictures = read_pictures(file)
        missing = [name for name in pictures if key_of(name) not in index_of]
        if missing:
            raise DataError(
                f"{counted(missing, 'picture')} of {file} not in the archive: {first_few(missing)}; get all "
                "of the archive, or correct the list"
            )
        parts[part] = [index_of[key_of(name)] for name in pictures]
        for index in parts[part]:
            if index in file_of:
                (twice if file_of[index] is file else across).append(names[index])
            file_of[index] = file
    for faults, place in ((twice, "more than once in a list"), (across, "in two lists")):
        if faults:
            raise DataError(f"{counted(faults, 'picture')} {place}: {first_few(faults)}; list each once")
    unused = len(names) - len(file_of)
    return parts, [f"{unused} of {len(names)} pictures are in none of the lists"] if unused else []


def read_pictures(file: Path) -> list[str]:
    """Return the pictures that a list names, whatever stands behind them. DataError names file and line."""
    names = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        match = PICTURE.match(line)
        if not match:
            raise DataError(f"{file}:{number}: this line names no picture; correct or delete it")
        names.append(match[1])
    if not names:
        raise DataError(f"{file} is empty; give a list with a picture on each line")
    return names


def key_of(name: str) -> str:
    """Return the last three parts of a path, which tell a picture of an archive from all others."""
    return "/".join(name.replace("\\", "/").split("/")[-3:])


def split_at_random(names: Sequence[str], test_share: float, seed: int) -> dict[str, list[int]]:
    """Return part -> indices, each half in the order of `names`; `test_share` of them are for the test.

    A picture's lot follows from the seed and its name alone. Raises DataError if a half would be empty.
    """
    return draw([[i] for i in range(len(names))], names, test_share, str(seed))


def split_groups(
    groups: Sequence[Sequence[int]], names: Sequence[str], labels: np.ndarray, test_share: float, seed: int
) -> tuple[dict[str, list[int]], float]:
    """Return part -> indices so that no group is in both halves, and how far the halves' ratios differ.

    The difference is that of the share of positives of the attribute, of `labels` (N, K), that differs most.
    Of `DRAWS` draws, the one with the least difference is returned: if few people are on many pictures, a
    single draw differs by much. Jia et al. (arXiv 2107.03576) ask for a difference below 0.03.
    """
    draws = [draw(groups, names, test_share, f"{seed}.{number}") for number in range(DRAWS)]
    differences = [
        float(abs(labels[parts["train"]].mean(0) - labels[parts["test"]].mean(0)).max()) for parts in draws
    ]
    best = int(np.argmin(differences))
    return draws[best], differences[best]


def draw(
    groups: Sequence[Sequence[int]], names: Sequence[str], test_share: float, seed: str
) -> dict[str, list[int]]:
    """Return part -> indices so that no group is in both halves.

    Groups are drawn one after another. A group goes to the test list unless the list would outgrow its share.
    """
    size = round(test_share * len(names))
    test: set[int] = set()
    for group in sorted(groups, key=lambda group: lot(seed, min(names[i] for i in group))):
        if len(test) + len(group) <= size:
            test.update(group)
    if not 0 < len(test) < len(names):
        raise DataError(
            f"{counted(names, 'picture')} in {counted(groups, 'group')} cannot be split so that a share of "
            f"{test_share:g} is for testing; give more pictures"
        )
    return {"train": [i for i in range(len(names)) if i not in test], "test": sorted(test)}


def lot(seed: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()


def group_people(identities: Sequence[Hashable], pixels: Sequence[Hashable]) -> list[list[int]]:
    """Return groups of indices: pictures of one identity, or equal by pixels, are in one group."""
    parent = list(range(len(identities)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for keys in (identities, pixels):
        first: dict[Hashable, int] = {}
        for index, key in enumerate(keys):
            parent[root(index)] = root(first.setdefault(key, index))
    groups = defaultdict(list)
    for index in range(len(identities)):
        groups[root(index)].append(index)
    return list(groups.values())


def describe_people(identities: Sequence[tuple[str, str]], parts: dict[str, list[int]]) -> list[str]:
    """Return notes on a split of (subset, identity): how many identities each half has, and which subsets
    have one picture per identity, so that no split could have put an identity in both halves.
    """
    notes = [
        f"{part}: {len({identities[i] for i in indices})} identities on {len(indices)} pictures"
        for part, indices in parts.items()
    ]
    pictures, people = (
        Counter(subset for subset, _ in pairs) for pairs in (identities, sorted(set(identities)))
    )
    single = [subset for subset in pictures if pictures[subset] == people[subset]]
    if single:
        notes.append(f"one picture per identity, which any split keeps apart: {', '.join(single)}")
    return notes
