"""The directory of one run: its name, that no other run writes to it, and what lies there but checkpoints."""

import json
import os
import re
import time
from pathlib import Path

OPTIONS, LOG, METRICS = "options.json", "train.log", "metrics.jsonl"


class RunDirectoryError(ValueError):
    """A directory that must not be written to; the message is one sentence for the user."""


def new_run_directory(runs: Path, experiment: str, approach: str) -> Path:
    """Create and return `<runs>/<experiment>-<approach>-<date>-<time>/`, numbered where that is taken."""
    name = f"{experiment}-{approach}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while True:
        directory = runs / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return directory


def open_run_directory(directory: Path, resume: Path | None, start_epoch: int) -> Path:
    """Create or reopen the directory that `--output_dir` names, and return it.

    Raises RunDirectoryError where a run's files are there and the run does not go on from them, or goes on
    from an epoch before the last one saved there: nothing of an earlier run is written over.
    """
    directory.mkdir(parents=True, exist_ok=True)
    theirs = run_files(directory)
    if not theirs:
        return directory
    if resume is None:
        raise RunDirectoryError(
            f"--output_dir {directory}: another run's files are there ({theirs[0].name}, ...); "
            "name a new directory, or go on from that run with --resume"
        )
    if resume.resolve().parent != directory.resolve():
        raise RunDirectoryError(
            f"--output_dir {directory}: the files of another run than {resume}'s are there "
            f"({theirs[0].name}, ...); name a new directory"
        )
    later = [path.name for path in theirs if (saved_epoch(path) or 0) > start_epoch]
    if later:
        raise RunDirectoryError(
            f"--output_dir {directory}: {later[0]} is later than epoch {start_epoch}, where {resume.name} "
            "goes on from, and would be written over; name a new directory"
        )
    return directory


def run_files(directory: Path) -> list[Path]:
    """Return the files that a run has left in a directory, by name."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.name in (OPTIONS, LOG, METRICS) or path.name.endswith(".pth.tar")
    )


def saved_epoch(path: Path) -> int | None:
    """Return the epoch in a checkpoint's name, `[<prefix>_]<epoch>.pth.tar`; None for other files."""
    match = re.fullmatch(r"(?:.*_)?(\d+)\.pth\.tar", path.name)
    return int(match[1]) if match else None


def write_options(directory: Path, options: dict) -> None:
    """Write options.json; a continued run's go beside the first ones, as options_2.json, ..."""
    path, number = directory / OPTIONS, 1
    while path.exists():
        number += 1
        path = directory / f"options_{number}.json"
    write_json(path, options)


def append_metrics(directory: Path, record: dict) -> None:
    """Add one evaluation's figures to metrics.jsonl, a line each."""
    with open(directory / METRICS, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
