"""A run's checkpoints in its directory: their names, which of them stay, and the newest good one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from alm.checkpoint.files import check_sums, give_second_name, save_checkpoint
from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.schema import NUMBERED
from alm.constants import BEST, LAST
from alm.errors import AlmError


class Position(NamedTuple):
    """How far a run has come: epochs that are trained, iterations of the next one, and whether the last whole
    epoch has been evaluated since.
    """

    epoch: int
    iteration: int = 0
    evaluated: bool = True


def numbered_name(prefix: str, epoch: int, iteration: int) -> str:
    """Return `[<prefix>_]<epoch>.pth.tar`; within the next epoch it is `<epoch>+<iteration>.pth.tar`."""
    number = f"{epoch}+{iteration}" if iteration else f"{epoch}"
    return f"{prefix}_{number}.pth.tar" if prefix else f"{number}.pth.tar"


def numbered_position(name: str) -> Position | None:
    """Return how far a checkpoint's run was, by its name; None for names without a number."""
    match = NUMBERED.fullmatch(name)
    return Position(int(match[1]), int(match[2] or 0)) if match else None


def position(checkpoint: Mapping) -> Position:
    """Return how far a checkpoint's run was."""
    return Position(checkpoint["epoch"], checkpoint["iteration"], not checkpoint["unevaluated"])


def save_under(directory: Path, names: Sequence[str], state: dict) -> Iterator[str]:
    """Write a checkpoint once under all these names; yield each once the file has it. Raises OSError."""
    first = directory / names[0]
    save_checkpoint(first, state)
    yield names[0]
    for name in names[1:]:
        give_second_name(first, directory / name)
        yield name


def drop_surplus(directory: Path, names: Sequence[str], keep: int, verified: Path) -> list[str]:
    """Remove all but the newest `keep` of the checkpoints of whole epochs, and of those within epochs. Return
    those that stay, also because they cannot be removed now. `names` are in the order of saving.

    Nothing is removed before the file `verified` was read back. Raises AlmError if it is damaged.
    """
    within = [name for name in names if numbered_position(name).iteration]
    whole = [name for name in names if name not in within]
    surplus = [*whole[:-keep], *within[:-keep]]
    if surplus:
        try:
            check_sums(verified)
        except AlmError as error:
            raise AlmError(f"{verified}: {error}, right after it was written") from error
    return [name for name in names if name not in surplus or not was_removed(directory / name)]


def was_removed(path: Path) -> bool:
    """Remove a file, if it is there; return whether that was possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


class Newest(NamedTuple):
    """The newest good checkpoint of a directory, and a line for each newer file that is none."""

    path: Path
    checkpoint: dict
    passed_over: list[str]


def newest_checkpoint(directory: Path) -> Newest | None:
    """Return the checkpoint that is furthest in a run's directory; None if there is none. Its weights are the
    only ones that are read, unless it is damaged. Raises AlmError if all that are there are damaged.
    """
    newest, faults = None, []
    files = directory.glob("*.pth.tar")
    paths = [path for path in files if path.name in (BEST, LAST) or numbered_position(path.name)]
    # The newest file first, and of its names last.pth.tar.
    for path in sorted(paths, key=lambda path: (-path.lstat().st_mtime_ns, path.name != LAST)):
        if newest and is_no_later(path, newest):
            continue
        try:
            if newest is None or position(load_checkpoint(path, weights=False)) > position(newest.checkpoint):
                newest = Newest(path, load_checkpoint(path), [])
        except AlmError as error:
            faults.append(str(error))
    if newest:
        return newest._replace(passed_over=faults)
    if faults:
        raise AlmError(
            f"every checkpoint in {directory} is damaged, so the run cannot resume; move them to another "
            f"directory to start a new run, nothing was overwritten ({faults[0]})"
        )
    return None


def is_no_later(path: Path, newest: Newest) -> bool:
    """Whether a file need not be read to know that its run was no further than the newest one's."""
    by_name = numbered_position(path.name)
    is_same = path.exists() and path.samefile(newest.path)  # a link may lead nowhere
    return is_same or (by_name is not None and by_name < position(newest.checkpoint))
