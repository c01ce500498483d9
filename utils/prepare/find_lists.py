"""Which lists a check is about, and of which data set they are."""

from collections.abc import Sequence
from pathlib import Path

from utils.data.catalog import EXPERIMENTS, Experiment, find_list
from utils.data.list_file import DataError
from utils.prepare.check import TEST, TRAIN

PUBLISHED = tuple(EXPERIMENTS[name] for name in ("peta", "rap", "pa100k"))
NAMELESS = Experiment("nameless", Path(), ())  # its lists have upstream's names


def find_lists(
    paths: Sequence[Path], experiment: Experiment | None
) -> tuple[Experiment | None, dict[str, Path]]:
    """Return the data set, where it is given or the lists' names tell it, and the lists by part.

    `paths` is a directory, a list, or the training list and the evaluation list. Raises DataError where there
    is no list.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist; give a data set's directory, or its lists")
    if len(paths) == 1 and paths[0].is_dir():
        return in_directory(paths[0], experiment)
    if len(paths) > 2 or any(path.is_dir() for path in paths):
        raise DataError("give a directory, or a list, or the training list and the evaluation list")
    experiment = experiment or next(filter(None, map(named_after, paths)), None)
    parts = (TRAIN, TEST) if len(paths) == 2 else (part_of(paths[0]),)
    return experiment, dict(zip(parts, paths, strict=True))


def in_directory(directory: Path, experiment: Experiment | None) -> tuple[Experiment | None, dict[str, Path]]:
    """Return the same from the lists that training finds in a directory."""
    for candidate in (experiment,) if experiment else (*PUBLISHED, NAMELESS):
        names = {TRAIN: candidate.train_lists, TEST: candidate.val_lists}
        if candidate in PUBLISHED and not experiment:  # other names are every data set's
            names = {part: own[:1] for part, own in names.items()}
        found = {part: find_list(directory, None, own, "") for part, own in names.items()}
        if any(found.values()):
            lists = {part: path for part, path in found.items() if path}
            return None if candidate is NAMELESS else candidate, lists
    looked_for = experiment.train_lists if experiment else ("PETA_train_list.txt", *NAMELESS.train_lists)
    raise DataError(
        f"no list in {directory} (looked for {', '.join(looked_for)}, ...); name the lists themselves, or "
        "write them with another subcommand of prepare_data.py"
    )


def named_after(path: Path) -> Experiment | None:
    """Return the data set whose list has this name."""
    for experiment in PUBLISHED:
        if path.name in (experiment.train_lists[0], experiment.val_lists[0]):
            return experiment
    return None


def part_of(path: Path) -> str:
    """Return what a list is for, by its name: training, unless it says that it is not."""
    name = path.name.lower()
    return TEST if "train" not in name and ("test" in name or "val" in name) else TRAIN
