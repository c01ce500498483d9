"""The data sets, one entry each: a new one is a new entry of EXPERIMENTS. Nothing else knows its name."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from alm.constants import MAX_ATTRIBUTES
from utils.data.attributes import PA100K, PETA, RAP, Attribute
from utils.errors import DataError
from utils.io.untrusted import read_text

REPOSITORY = Path(__file__).resolve().parents[2]
OTHER = "other"  # the body part of an attribute that no data set has


@dataclass(frozen=True)
class Experiment:
    """A data set: K attributes in the order of the labels, and all that is known about it.

    Attributes:
        name: what --experiment calls it.
        root: the directory that list paths are relative to, by default.
        attributes: K names.
        positive_ratio: K published ratios; None if the training list's own count.
        title: its name in print.
        official_names: what the official files call the K attributes; None if the same.
        body_parts: the parts of a person that show the K attributes.
        train_lists: file names under the root, looked for in this order.
        val_lists: likewise.
        val_is_test: whether the evaluation list is the published test list, so that no epoch may be chosen
            by it.
        ratio_source: what the published ratios were counted in.
        folders: spellings of the folder that the pictures lie in.
        identity: tells who is on a picture by its path, None if the path does not tell.
    """

    name: str
    root: Path
    attributes: tuple[str, ...]
    positive_ratio: tuple[float, ...] | None = None
    title: str = "custom"
    official_names: tuple[str, ...] | None = None
    body_parts: tuple[str, ...] = ()
    train_lists: tuple[str, ...] = ("train.txt", "train_val.txt")
    val_lists: tuple[str, ...] = ("test.txt",)
    val_is_test: bool = False
    ratio_source: str | None = None
    folders: tuple[str, ...] = ()
    identity: Callable[[str], str | None] | None = None

    @property
    def own_lists(self) -> tuple[str, str] | None:
        """The names of its training and its evaluation list; None if they could be any data set's."""
        names = self.train_lists[0], self.val_lists[0]
        return None if names[0] in Experiment.train_lists else names


def published(title: str, table: Sequence[Attribute], **more) -> Experiment:
    """Return the entry of a published data set; its lists may also have other programs' names."""
    prefix = title.replace("-", "")
    official = tuple(attribute.official_name or attribute.name for attribute in table)
    names = tuple(attribute.name for attribute in table)
    return Experiment(
        prefix.lower(),
        Path("/data/teco-data", prefix.lower()),
        names,
        tuple(attribute.positive_ratio for attribute in table),
        title,
        None if official == names else official,
        tuple(attribute.body_part for attribute in table),
        train_lists=(f"{prefix}_train_list.txt", *Experiment.train_lists),
        val_lists=(f"{prefix}_test_list.txt", *Experiment.val_lists),
        val_is_test=True,
        **more,
    )


# In the order in which PETA.mat has them.
PETA_SUBSETS = (
    "3DPeS", "CAVIAR4REID", "CUHK", "GRID", "i-LID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR"
)  # fmt: skip
PETA_PICTURE = re.compile(rf"(?:^|/)({'|'.join(PETA_SUBSETS)})/archive/([^/_.][^/]*)$")


def identity_of(file: str) -> str:
    """Return who is on a picture of PETA's, within its subset: the file's name up to the first `_` or `.`."""
    return file.partition("_")[0].partition(".")[0]


def peta_identity(path: str) -> str | None:
    """Return `<subset>/<identity>` from a path `.../<subset>/archive/<identity>_1.png`."""
    match = PETA_PICTURE.search(path)
    return f"{match[1]}/{identity_of(match[2])}" if match else None


PETA_EXPERIMENT = published(
    "PETA",
    PETA,
    ratio_source="the first 9,500 lines of the training list",
    folders=("PETA_dataset", "PETA dataset"),  # as its lists spell it, and as its archive does
    identity=peta_identity,
)
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        PETA_EXPERIMENT,
        published(
            "RAP", RAP, ratio_source="all 41,585 rows of an older annotation, in which a 2 counts as 2"
        ),
        published("PA-100K", PA100K, ratio_source="the training and the validation list together"),
        replace(
            PETA_EXPERIMENT,
            name="synthetic",
            root=REPOSITORY / "data" / "synthetic",
            positive_ratio=None,
            val_is_test=False,
        ),
    )
}

TRAIN_LISTS = {name for experiment in EXPERIMENTS.values() for name in experiment.train_lists}


def get_experiment(name: str) -> Experiment:
    """Return a data set by name. Raises DataError, listing the known ones, if there is none."""
    if name not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise DataError(f"unknown experiment {name!r}; choose {known}, or custom with --attributes FILE")
    return EXPERIMENTS[name]


def has_ratios(name: str) -> bool:
    """Whether there are published ratios of a data set; there are none of `custom`."""
    return name in EXPERIMENTS and EXPERIMENTS[name].positive_ratio is not None


def read_names(path) -> tuple[str, ...]:
    """Return the attributes that a file names, 1 to 1,000, one a line; blank lines are skipped.

    Raises DataError naming the file, and the line of a name that is there twice.
    """
    line_of: dict[str, int] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        name = " ".join(line.split())
        if name in line_of:
            raise DataError(
                f"{path}:{number}: attribute {name!r} is on line {line_of[name]} already; give each "
                "attribute a name of its own"
            )
        if name:
            line_of[name] = number
        if len(line_of) > MAX_ATTRIBUTES:
            raise DataError(f"{path}:{number}: more than {MAX_ATTRIBUTES} attributes; give fewer")
    if not line_of:
        raise DataError(f"{path} names no attributes; write one name a line")
    return tuple(line_of)


def find_root(experiment: Experiment, data_root=None) -> Path:
    """Return the directory that list paths are relative to, whether it exists or not.

    It is `data_root`, else the environment variable ALM_DATA_ROOT, which names this directory or the one that
    holds it as <experiment>/, else the experiment's default. The variable is about real data, so it does not
    move `synthetic`, which is drawn if it is not there.
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

    They are looked for as find_list does, by default under the experiment's names. If there is none, the
    evaluation list is None, and so is the training list unless `train_required`. Raises DataError if the root
    or a required list is missing.
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
        raise DataError(
            f"no training list in {root} (looked for {names}); name one with --train_list, or let "
            "prepare_data.py write one from the data set's own files"
        )
    return root, train, find_list(root, val_list, experiment.val_lists, "--val_list")


def find_list(root: Path, name, default_names: Sequence[str], option: str) -> Path | None:
    """Return the list `name`, as it is or under the root, or else the first default one that exists, or None.
    Raises DataError if `name` does not exist.
    """
    candidates = [root / default for default in default_names] if name is None else [Path(name), root / name]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None and name is not None:
        raise DataError(f"list {name} found neither as it is nor in {root}; check {option}")
    return found


def identities(paths: Sequence[str]) -> list[str] | None:
    """Return who is on each picture of a list; None if no data set's rule finds it in all of the paths."""
    paths = [path.replace("\\", "/") for path in paths]
    for rule in dict.fromkeys(each.identity for each in EXPERIMENTS.values() if each.identity):
        people = list(takewhile(lambda person: person is not None, map(rule, paths)))
        if len(people) == len(paths) > 0:
            return people
    return None


def body_part(attribute: str) -> str:
    """Return the part of a person that shows an attribute of any data set, `other` if none has it."""
    for experiment in EXPERIMENTS.values():
        if attribute in experiment.attributes and experiment.body_parts:
            return experiment.body_parts[experiment.attributes.index(attribute)]
    return OTHER


def other_spellings(path: str, root: str | Path) -> list[str]:
    """Return a path relative to a root with all other spellings of its first folder, and without it if the
    root is that folder.
    """
    first, slash, rest = path.partition("/")
    for experiment in EXPERIMENTS.values():
        if first in experiment.folders:
            without = [rest] if Path(root).name in experiment.folders else []
            return [folder + slash + rest for folder in experiment.folders if folder != first] + without
    return []


def one_spelling(path: str) -> str:
    """Return a path as it is compared: with slashes, and the first spelling of every data set's folder."""
    path = path.replace("\\", "/").removeprefix("./")
    for experiment in EXPERIMENTS.values():
        for folder in experiment.folders[1:]:
            path = path.replace(f"{folder}/", f"{experiment.folders[0]}/")
    return path
