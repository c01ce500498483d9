"""The data sets: attribute names, published positive ratios, where pictures and lists are looked for."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from utils.data.attributes import PA100K, PETA, RAP, Attribute
from utils.data.list_file import read_text
from utils.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_ATTRIBUTES = 1000


@dataclass(frozen=True)
class Experiment:
    """A data set: K attributes in the order of the labels, and its default places.

    `positive_ratio` holds the published constants, None where the training list's own count.
    `train_lists` and `val_lists` are file names under the root, looked for in this order.
    """

    name: str
    root: Path
    attributes: tuple[str, ...]
    positive_ratio: tuple[float, ...] | None = None
    train_lists: tuple[str, ...] = ("train.txt", "train_val.txt")
    val_lists: tuple[str, ...] = ("test.txt",)


def published(name: str, table: tuple[Attribute, ...]) -> Experiment:
    """Return one of the paper's data sets; its lists are found under upstream's names as well."""
    return Experiment(
        name,
        Path("/data/teco-data", name),
        tuple(attribute.name for attribute in table),
        tuple(attribute.positive_ratio for attribute in table),
        train_lists=(f"{name.upper()}_train_list.txt", *Experiment.train_lists),
        val_lists=(f"{name.upper()}_test_list.txt", *Experiment.val_lists),
    )


EXPERIMENTS = {
    "peta": published("peta", PETA),
    "rap": published("rap", RAP),
    "pa100k": published("pa100k", PA100K),
    "synthetic": replace(
        published("peta", PETA), name="synthetic", root=REPOSITORY / "data" / "synthetic", positive_ratio=None
    ),
}


def get_experiment(name: str) -> Experiment:
    """Return an experiment by name; DataError listing the known ones where there is none."""
    if name not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise DataError(f"unknown experiment {name!r}; choose {known}, or custom with --attributes FILE")
    return EXPERIMENTS[name]


def custom_experiment(attributes_file) -> Experiment:
    """Return the experiment `custom` with the attributes of a file, 1 to 1,000, one a line.

    Blank lines are skipped. Its default root is the working directory. Raises DataError naming the file,
    and the line of a name that is there twice.
    """
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_text(attributes_file).split("\n"), start=1):
        name = " ".join(line.split())
        if name in line_of:
            raise DataError(
                f"{attributes_file}:{number}: attribute {name!r} is on line {line_of[name]} already; "
                "give each attribute a name of its own"
            )
        if name:
            line_of[name] = number
        if len(line_of) > MAX_ATTRIBUTES:
            raise DataError(f"{attributes_file}:{number}: more than {MAX_ATTRIBUTES} attributes; give fewer")
    if not line_of:
        raise DataError(f"{attributes_file} names no attributes; write one name a line")
    return Experiment("custom", Path(), tuple(line_of))


def find_root(experiment: Experiment, data_root=None) -> Path:
    """Return the directory that list paths are relative to, whether it exists or not.

    It is `data_root`, else the environment variable ALM_DATA_ROOT, which names this directory or the one
    that holds it as <experiment>/, else the experiment's default. `synthetic` is drawn where it is asked
    for, so the variable, which is about real data, does not move it.
    """
    if data_root is not None:
        return Path(data_root)
    variable = os.environ.get("ALM_DATA_ROOT")
    if not variable or experiment.name == "synthetic":
        return experiment.root
    inner = Path(variable, experiment.name)
    return inner if inner.is_dir() else Path(variable)


def resolve_paths(
    experiment: Experiment, data_root=None, train_list=None, val_list=None, *, train_required: bool = True
) -> tuple[Path, Path | None, Path | None]:
    """Return root, training list and evaluation list.

    A list given is looked for as it is, then under the root. By default the experiment's names are looked
    for under the root; where none of them is there the evaluation list is None, and so is the training list
    unless `train_required`. Raises DataError where the root or a required list is missing.
    """
    root = find_root(experiment, data_root)
    if not root.is_dir():
        raise DataError(
            f"{root}, the root of {experiment.name}, is not a directory; name another with --data_root, "
            "or use --experiment synthetic, which needs no download"
        )
    train = find_list(root, train_list, experiment.train_lists, "--train_list")
    if train is None and train_required:
        names = ", ".join(experiment.train_lists)
        raise DataError(f"no training list in {root} (looked for {names}); name one with --train_list")
    return root, train, find_list(root, val_list, experiment.val_lists, "--val_list")


def find_list(root: Path, given, default_names: tuple[str, ...], option: str) -> Path | None:
    """Return the list given, which must exist, or the first default one that exists, or None."""
    candidates = [root / name for name in default_names] if given is None else [Path(given), root / given]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None and given is not None:
        raise DataError(f"list {given} found neither as it is nor in {root}; check {option}")
    return found


PETA_SUBSETS = (
    "3DPeS", "CAVIAR4REID", "CUHK", "GRID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR", "i-LID"
)  # fmt: skip
# An identity is the file's name up to the first `_` or `.`, within its subset.
PETA_PICTURE = re.compile(rf"(?:^|/)({'|'.join(PETA_SUBSETS)})/archive/([^/_.]+)[^/]*$")


def identities(names: Sequence[str]) -> list[str] | None:
    """Return the identity of each picture of a list, `<subset>/<identity>`; None where any path does not tell
    it. Those of PETA's archive do, `.../<subset>/archive/<identity>_1.png`.
    """
    matches = [PETA_PICTURE.search(name.replace("\\", "/")) for name in names]
    return [f"{match[1]}/{match[2]}" for match in matches] if all(matches) else None
