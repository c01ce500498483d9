"""The embedded data set: drawn pedestrians with PETA's attributes, in PETA's format, with known regions.

<root>/PETA_train_list.txt, PETA_test_list.txt    `path l_1 ... l_35`
<root>/synthetic/{train,test}/00001.jpg, ...      the pictures: jpg, png and bmp
<root>/regions.json                               path -> attribute -> [x0, y0, x1, y1] in pixels
<root>/settings.json                              all that decides the drawing
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from alm.errors import AlmError
from utils.data.attributes import PETA
from utils.data.catalog import EXPERIMENTS
from utils.data.list_file import read_list
from utils.data.true_boxes import REGIONS
from utils.errors import DataError
from utils.io.atomic import whole_directory, write_text
from utils.io.untrusted import parsed, read_text
from utils.synthetic.pedestrian import Page, draw_pages

DRAWING_VERSION = 2  # to be raised with every change that gives other pictures or labels
TRAIN, TEST = 1500, 300  # pictures
RARE = 0.12  # the least share of positives that is aimed at

ATTRIBUTES = EXPERIMENTS["synthetic"].attributes
LISTS = dict(zip(("train", "test"), EXPERIMENTS["synthetic"].own_lists, strict=True))
SETTINGS = "settings.json"
FILE_TYPES = (".jpg", ".png", ".bmp")


def ensure_dataset(
    root, *, train: int = TRAIN, test: int = TEST, seed: int = 1, processes: int | None = None
) -> None:
    """Draw the data set under `root` unless it is there already.

    `train` and `test` are numbers of pictures. `processes` changes the time it takes, not the pictures; by
    default it is the number of cores. The directory appears whole or not at all, even if two processes start
    at once. Raises AlmError if `root` holds a set drawn with other settings, or anything else.
    """
    root = Path(root).resolve()
    settings = {"drawing": DRAWING_VERSION, "train": train, "test": test, "seed": seed}
    if _is_drawn(root, settings):
        return
    try:
        with whole_directory(root) as directory:
            _draw_dataset(directory, settings, processes)
    except OSError:
        if not _is_drawn(root, settings):  # else another process was faster, and drew the same
            raise


def draw_list(labels, output, seed: int = 1, *, limit: int | None = None) -> int:
    """Draw a picture for each row of a list in PETA's format, or for its first `limit` rows.

    The pictures get the list's paths under `output`; the list is copied beside them, and regions.json is
    written. Contradictory labels are drawn as they are. Returns the number of pictures. Raises DataError
    if the list is bad, naming file and line, and AlmError if `output` exists and is not empty.
    """
    labels, output = Path(labels), Path(output).resolve()
    paths, rows = read_list(labels, len(ATTRIBUTES))
    lines = [(n, line) for n, line in enumerate(read_text(labels).split("\n"), start=1) if line.strip()]
    paths, rows, lines = paths[:limit], rows[:limit], lines[:limit]
    _check_drawable(labels, [n for n, _ in lines], paths, rows)
    _refuse_occupied(output)
    with whole_directory(output) as directory:
        regions = draw_pages(directory, _pages(paths, rows, (seed,)))
        write_text(directory / labels.name, "".join(f"{line}\n" for _, line in lines))
        _write_data(directory / REGIONS, regions)
    return len(paths)


def _draw_dataset(directory: Path, settings: dict[str, int], processes: int | None) -> None:
    pages = []
    for number, (part, list_name) in enumerate(LISTS.items()):
        key = (settings["seed"], number)
        rows = sample_labels(settings[part], key)
        types = islice(cycle(FILE_TYPES), len(rows))
        paths = [f"synthetic/{part}/{index:05d}{suffix}" for index, suffix in enumerate(types, start=1)]
        lines = [f"{path} {' '.join(map(str, row))}\n" for path, row in zip(paths, rows, strict=True)]
        write_text(directory / list_name, "".join(lines))
        pages += _pages(paths, rows, key)
    _write_data(directory / REGIONS, draw_pages(directory, pages, processes))
    _write_data(directory / SETTINGS, settings)


def _pages(paths: list[str], rows: np.ndarray, key: tuple[int, ...]) -> list[Page]:
    """Return what to draw for each row (N, 35): its attributes, and the rest from `key` and its index."""
    names = np.array(ATTRIBUTES)
    return [
        Page(path, frozenset(names[row == 1].tolist()), (*key, index))
        for index, (path, row) in enumerate(zip(paths, rows, strict=True))
    ]


def _check_drawable(labels: Path, lines: list[int], paths: list[str], rows: np.ndarray) -> None:
    """Raise DataError if a row cannot be drawn, naming its line."""
    line_of: dict[str, int] = {}
    for line, path, row in zip(lines, paths, rows, strict=True):
        if (row > 1).any():
            raise DataError(f"{labels}:{line}: label 2, unknown, cannot be drawn; write 0 or 1")
        if Path(path).suffix.lower() not in (*FILE_TYPES, ".jpeg"):
            raise DataError(f"{labels}:{line}: {path} is no jpg, jpeg, png or bmp; name one of these types")
        if path in line_of:
            raise DataError(f"{labels}:{line}: {path} is on line {line_of[path]} already; list it once")
        line_of[path] = line


def _is_drawn(root: Path, settings: dict[str, int]) -> bool:
    """Return whether `root` holds the set drawn with `settings`. Raises AlmError if it holds another."""
    present = read_settings(root / SETTINGS)
    if present is None:
        _refuse_occupied(root)
    elif present != settings:
        names = [name for name in settings if present.get(name) != settings[name]]
        theirs, ours = (", ".join(f"{name}={of.get(name)}" for name in names) for of in (present, settings))
        raise AlmError(
            f"{root} was drawn with {theirs}, not with {ours}; name another directory, or delete this one to "
            "have it drawn anew"
        )
    return present is not None


def read_settings(path: Path) -> dict | None:
    """Return the settings of a drawn set, None if the file is missing or not ours."""
    try:
        settings = parsed(read_text(path))
    except DataError:
        return None
    return settings if isinstance(settings, dict) and "drawing" in settings else None


def _refuse_occupied(directory: Path) -> None:
    """Raise AlmError if `directory` exists, unless it is an empty directory."""
    if any(directory.iterdir()) if directory.is_dir() else directory.exists():
        raise AlmError(f"{directory} holds something else, which is not written over; name a new directory")


def _write_data(path: Path, content) -> None:
    write_text(path, json.dumps(content) + "\n")


@dataclass(frozen=True)
class Group:
    """Attributes that exclude each other, and the pictures that can have one of them."""

    attributes: tuple[str, ...]
    only_with: tuple[str, ...] = ()  # all of these
    not_with: tuple[str, ...] = ()  # none of these
    exhaustive: bool = False  # every such picture has one: the ratios are renormalized to sum to one


GROUPS = (
    Group(("Age16-30", "Age31-45", "Age46-60", "AgeAbove61"), exhaustive=True),
    Group(("Jeans", "Trousers", "Shorts", "Skirt"), exhaustive=True),
    Group(("Male",), not_with=("Skirt",)),
    Group(("Long hair",), not_with=("Male",)),
    Group(("Formal lower",), not_with=("Jeans", "Shorts")),
    Group(("Casual lower",), not_with=("Formal lower",), exhaustive=True),
    Group(("Formal upper",), not_with=("Shorts",)),
    Group(("Casual upper",), not_with=("Formal upper",), exhaustive=True),
    Group(("Short Sleeve",), only_with=("Casual upper",)),
    Group(("Tshirt",), only_with=("Short Sleeve",)),
    Group(("Jacket",), only_with=("Casual upper",), not_with=("Short Sleeve",)),
    Group(("UpperOther",), only_with=("Casual upper",), not_with=("Jacket", "Tshirt")),
    Group(("V-Neck",), only_with=("Casual upper",), not_with=("Jacket",)),
    Group(("Logo", "Plaid", "Stripes"), only_with=("Casual upper",)),
    Group(("Leather Shoes", "Sandals", "Shoes", "Sneaker")),
    Group(("Backpack", "CarryingOther", "Messenger Bag", "PlasticBags", "No carrying"), exhaustive=True),
    Group(("Hat", "Muffler", "Sunglasses", "No accessory"), exhaustive=True),
)


def sample_labels(count: int, seed: int | Sequence[int]) -> np.ndarray:
    """Return labels of `count` pictures, uint8 (count, 35), columns in PETA's order.

    Each attribute has as many positives as its ratio asks for, to the nearest whole number. So 20 pictures
    are enough for positives and negatives of every attribute.
    """
    random = np.random.default_rng(seed)
    aim = {attribute.name: max(attribute.positive_ratio, RARE) for attribute in PETA}
    wears = {attribute.name: np.zeros(count, dtype=bool) for attribute in PETA}
    for group in GROUPS:
        suits = np.ones(count, dtype=bool)
        for name in (*group.only_with, *group.not_with):
            suits &= wears[name] == (name in group.only_with)
        rows = np.flatnonzero(suits)
        ratios = np.array([aim[name] for name in group.attributes]) * count / max(len(rows), 1)
        total = ratios.sum()
        if group.exhaustive or total > 1:
            ratios /= total
        for name, part in zip(group.attributes, _allot(ratios, rows, random), strict=True):
            wears[name][part] = True
    return np.stack([wears[attribute.name] for attribute in PETA], axis=1).astype(np.uint8)


def _allot(ratios: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Return disjoint random parts of `rows`, each of its ratio's size rounded down or up."""
    ends = np.floor(np.cumsum(ratios) * len(rows) + random.random() + 1e-9).astype(int)
    return np.split(random.permutation(rows), np.minimum(ends, len(rows)))[: len(ratios)]
