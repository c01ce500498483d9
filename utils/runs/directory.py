"""The directory of one run: its name, that no other run writes to it, and what lies there but checkpoints."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.retention import Position, numbered_position, position
from alm.constants import BEST, LAST, LOG, METRICS, OPTIONS
from alm.errors import AlmError
from utils.io.atomic import write_json, write_text
from utils.io.process import LOCK, locked

CHECKPOINT = ".pth.tar"


def new_run_directory(runs: Path, experiment: str, approach: str) -> Path:
    """Return `<runs>/<experiment>-<approach>-<date>-<time>/`."""
    return runs / f"{experiment}-{approach}-{time.strftime('%Y%m%d-%H%M%S')}"


def can_go_on(resume: Path, reached: Position) -> bool:
    """Whether a checkpoint lies in its run's directory, and the run has saved none there that is further."""
    return (resume.parent / LOG).is_file() and not later_checkpoints(resume.parent, reached)


def check_run_directory(directory: Path, resume: Path | None, reached: Position) -> None:
    """Raise AlmError where checkpoints of a run lie in the directory that `--output_dir` names, and
    the new run does not go on from them, or goes on from before what was saved last: nothing that was learned
    is written over. `reached` is how far `resume` is.
    """
    if directory.exists() and not directory.is_dir():
        raise AlmError(f"--output_dir {directory}: that is a file; name a directory")
    theirs = checkpoints(directory)
    if not theirs:
        return
    if resume is None:
        raise AlmError(
            f"--output_dir {directory}: another run's files are there ({theirs[0].name}, ...); "
            "name a new directory, or go on from that run with --resume"
        )
    if resume.resolve().parent != directory.resolve():
        raise AlmError(
            f"--output_dir {directory}: the files of another run than {resume}'s are there "
            f"({theirs[0].name}, ...); name a new directory"
        )
    if later := later_checkpoints(directory, reached):
        raise AlmError(
            f"--output_dir {directory}: {later[0].name} is later than {resume.name}, and would be written "
            "over; go on from that one, or name a new directory"
        )


@contextmanager
def opened_run_directory(directory: Path, options: dict, must_be_new: bool = False) -> Iterator[Path]:
    """Give a run its directory, with its options in it; numbered, where one is there that must not be.

    What an earlier run without checkpoints left there is kept beside, what a killed one had not written whole
    is removed. A run that fails before its log has anything to tell leaves nothing: see `TrainingLog`. Raises
    AlmError where a run is using it.
    """
    try:
        directory, made = make_directory(directory, must_be_new)
    except OSError as error:
        raise AlmError(
            f"cannot make {directory} ({error.strerror}); name another place with --output_dir"
        ) from error
    try:
        with locked(directory) as alone, options_written(directory, options, alone):
            yield directory
    except BaseException:
        if made:  # by this run, so that nobody else's lock is in there
            (directory / LOCK).unlink(missing_ok=True)
        for empty in made:
            with suppress(OSError):
                empty.rmdir()
        raise


@contextmanager
def options_written(directory: Path, options: dict, alone: bool) -> Iterator[None]:
    """Tidy a directory and write the run's options there; they go again where it fails before its log has
    anything to tell.
    """
    if alone:
        remove_abandoned(directory)
    if not checkpoints(directory):
        keep_beside(directory)
    written = write_options(directory, options)
    try:
        yield
    except BaseException:
        if not (directory / LOG).exists():
            written.unlink(missing_ok=True)
        raise


def make_directory(directory: Path, must_be_new: bool) -> tuple[Path, list[Path]]:
    """Create a directory, and those above it; return it and all that were created, the innermost first."""
    made = [path for path in directory.parents if not path.exists()]
    directory.parent.mkdir(parents=True, exist_ok=True)
    name, number = directory.name, 1
    while True:
        try:
            directory.mkdir()
        except FileExistsError:
            if not must_be_new:
                return directory, made
            number += 1
            directory = directory.with_name(f"{name}-{number}")
        else:
            return directory, [directory, *made]


def keep_beside(directory: Path) -> None:
    """Rename log, options and metrics of an earlier run: `train.log` becomes `train.1.log`, or the next free
    number.
    """
    for path in [directory / LOG, directory / METRICS, *directory.glob("options*.json")]:
        number = 1
        while (beside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
            number += 1
        if path.is_file() and re.fullmatch(r"train|metrics|options(_\d+)?", path.stem):
            path.rename(beside)


def remove_abandoned(directory: Path) -> None:
    """Remove what killed runs had not written whole: a checkpoint of 180 MB, say. The names are those that
    alm/checkpoint/files.py and utils/io/atomic.py give.
    """
    of_a_checkpoint = rf"\..*{re.escape(CHECKPOINT)}\.\d+\.tmp"
    of_another = rf"\.(options(_\d+)?\.json|{METRICS})\.[0-9a-f]{{32}}\.tmp"
    for path in directory.glob(".*.tmp"):
        if re.fullmatch(f"{of_a_checkpoint}|{of_another}", path.name):
            path.unlink(missing_ok=True)


def go_back(directory: Path, reached: Position) -> list[str]:
    """Let a directory be as it was so far in a run, for one that goes on from there; return lines that say
    what was changed.

    Figures of later evaluations are dropped from metrics.jsonl: they come again. A best.pth.tar of a later
    epoch is kept beside as `best.<epoch>.pth.tar`, since the run may not come to a better one; one that is
    damaged as `best.damaged.pth.tar`.
    """
    epoch = reached.epoch
    drop_later_metrics(directory / METRICS, epoch if reached.evaluated else epoch - 1)
    best = directory / BEST
    if not best.is_file():
        return []
    try:
        later = load_checkpoint(best)["epoch"]
    except AlmError as error:
        return [f"Best: {error}; kept as {moved_beside(best, 'damaged').name}"]
    if later <= epoch:
        return []
    kept = moved_beside(best, str(later))
    return [f"Best: {best} is of epoch {later}, later than {epoch}; kept as {kept.name}"]


def moved_beside(best: Path, what: str) -> Path:
    """Rename best.pth.tar to `best.<what>.pth.tar`, or the next free number of it; return the new path."""
    beside, number = best.with_name(f"best.{what}{CHECKPOINT}"), 1
    while beside.exists():
        number += 1
        beside = best.with_name(f"best.{what}-{number}{CHECKPOINT}")
    best.rename(beside)
    return beside


def drop_later_metrics(path: Path, epoch: int) -> None:
    """Drop the lines of later epochs, and one that is torn."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if is_record_until(line, epoch)]
    if kept != lines:
        write_text(path, "".join(f"{line}\n" for line in kept))


def is_record_until(line: str, epoch: int) -> bool:
    """Whether a line is a whole record, of no later epoch."""
    try:
        return json.loads(line)["epoch"] <= epoch
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, by name."""
    return sorted(directory.glob(f"*{CHECKPOINT}")) if directory.is_dir() else []


def later_checkpoints(directory: Path, reached: Position) -> list[Path]:
    """Return the checkpoints in a directory that are of later epochs or iterations; one that is damaged is
    none.
    """
    return [path for path in checkpoints(directory) if progress(path, reached) > reached[:2]]


def progress(path: Path, reached: Position) -> tuple[int, int]:
    """Return the epochs and iterations of a checkpoint; (0, 0) for one that is damaged, or whose name tells
    that it is not further than `reached`.
    """
    by_name = numbered_position(path.name)
    if path.name != LAST and (by_name is None or by_name[:2] <= reached[:2]):
        return 0, 0
    try:
        return position(load_checkpoint(path))[:2]
    except AlmError:
        return 0, 0


def write_options(directory: Path, options: dict) -> Path:
    """Write options.json and return its path; a continued run's lie beside it, as options_2.json, ..."""
    path, number = directory / OPTIONS, 1
    while path.exists():
        number += 1
        path = directory / f"options_{number}.json"
    write_json(path, options)
    return path
