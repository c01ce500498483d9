"""The directory of one run: no other run writes to it, and none that goes on loses what lies there."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.retention import Position, numbered_position, position
from alm.constants import BEST, KEPT, LAST, LATER_OPTIONS, LOG, METRICS, OPTIONS, TEMPORARY
from alm.errors import AlmError
from utils.io.atomic import write_json, write_text
from utils.io.process import LOCK, locked

CHECKPOINT = ".pth.tar"
# What a killed run leaves half written. Version 1.1 had the process's number for the unique part.
RUN_FILES = rf"(.*\{CHECKPOINT}|{OPTIONS}l?|{METRICS}|.{{{KEPT}}})"
ABANDONED = re.compile(TEMPORARY.format(name=RUN_FILES, unique="[0-9a-f]+"))


def new_run_directory(runs: Path, experiment: str, approach: str) -> Path:
    return runs / f"{experiment}-{approach}-{time.strftime('%Y%m%d-%H%M%S')}"


def can_go_on(resume: Path, reached: Position) -> bool:
    """Whether a checkpoint lies in its run's directory, and the run has saved none there that is further."""
    return (resume.parent / LOG).is_file() and not later_checkpoints(resume.parent, reached)


def check_run_directory(directory: Path, resume: Path | None, reached: Position) -> None:
    """Raise AlmError if checkpoints lie in the directory that `--output_dir` names, and the new run does not
    go on from the last of them: it would write over them. `reached` is how far `resume` is.
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
    """Give a run its directory, with its options in it. If it `must_be_new`, its name may get a number.

    What a killed run had not written whole, a checkpoint of 180 MB, say, is removed. A run that fails before
    `TrainingLog` has anything to tell leaves nothing. Raises AlmError if a run is using the directory.
    """
    try:
        directory, made = make_directory(directory, must_be_new)
    except OSError as error:
        raise AlmError(
            f"cannot make {directory} ({error.strerror}); name another place with --output_dir"
        ) from error
    try:
        with locked(directory) as alone:
            for path in directory.glob(".*.tmp") if alone else ():
                if ABANDONED.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            written = write_options(directory, options)
            try:
                yield directory
            except BaseException:
                if not (directory / LOG).exists():
                    written.unlink(missing_ok=True)
                raise
    except BaseException:
        if made:  # by this run, so that nobody else's lock is in there
            (directory / LOCK).unlink(missing_ok=True)
        for empty in made:
            with suppress(OSError):
                empty.rmdir()
        raise


def make_directory(directory: Path, must_be_new: bool) -> tuple[Path, list[Path]]:
    """Return a directory and all that were created for it, the innermost first."""
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


def write_options(directory: Path, options: dict) -> Path:
    """Write the options of a run's first start to options.json, or add a later one's to options.jsonl.

    A start that died before it saved anything is none: the next one begins again, perhaps with other options.
    """
    first, later = directory / OPTIONS, directory / LATER_OPTIONS
    if not first.exists() or not checkpoints(directory):
        write_json(first, options)
        return first
    earlier = later.read_text(encoding="utf-8") if later.exists() else ""
    write_text(later, f"{earlier}{json.dumps(options)}\n")
    return later


def go_back(directory: Path, reached: Position) -> list[str]:
    """Let a directory be as it was so far in a run that goes on from there; return lines of what changed.

    Figures of later evaluations are dropped from metrics.jsonl: they come again, and train.log has them. A
    later best.pth.tar is kept as `best.<epoch>.pth.tar`, since the run may not come to a better one.
    """
    drop_later_metrics(directory / METRICS, reached.epoch if reached.evaluated else reached.epoch - 1)
    best = directory / BEST
    if not best.is_file():
        return []
    try:
        later = load_checkpoint(best, weights=False)["epoch"]
    except AlmError as error:
        return [f"Best: {error}; the next better evaluation replaces it"]
    if later <= reached.epoch:
        return []
    kept = best.with_name(f"best.{later}{CHECKPOINT}")
    best.replace(kept)
    return [f"Best: {best} is of epoch {later}, later than {reached.epoch}; kept as {kept.name}"]


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
    return sorted(directory.glob(f"*{CHECKPOINT}")) if directory.is_dir() else []


def later_checkpoints(directory: Path, reached: Position) -> list[Path]:
    return [path for path in checkpoints(directory) if is_later(path, reached)]


def is_later(path: Path, reached: Position) -> bool:
    """Whether a checkpoint is further than `reached`, and whole: its weights are read only if the rest is."""
    by_name = numbered_position(path.name)
    if path.name != LAST and (by_name is None or by_name[:2] <= reached[:2]):
        return False
    try:
        return all(
            position(load_checkpoint(path, weights=weights))[:2] > reached[:2] for weights in (False, True)
        )
    except AlmError:
        return False
