"""What --resume means: which checkpoint a run goes on from, how far that is, and what it gives back."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.retention import Position, newest_checkpoint, position
from alm.errors import AlmError
from alm.training.run import TrainingRun
from run_scripts.training.options import AUTO, build_parser
from utils.data.dataset import MultiLabelDataset

DIRECTORY = "output_dir"  # of a training, as it is kept over restarts


class Resumption(NamedTuple):
    """What --resume leads to."""

    typed: Namespace  # the options of the command line, with a file in the place of `auto`
    notes: list[str]  # what was decided, a line each
    checkpoint: dict | None = None  # None if a new run starts
    may_be_done: bool = False  # with `--resume auto` a finished run is not an error


def find_checkpoint(typed: Namespace) -> Resumption:
    """Return the checkpoint of --resume. Raises AlmError if no run can go on from it; exits with status 2 if
    `auto` makes no sense beside the other options.
    """
    check_resume(typed)
    if "resume" not in typed:
        return Resumption(typed, [])
    if typed.resume != AUTO:
        return Resumption(typed, [], load_checkpoint(typed.resume))
    newest = newest_checkpoint(Path(typed.output_dir))
    rest = Namespace(**vars(typed))
    del rest.resume
    if newest is None:
        note = f"Resume: nothing in {typed.output_dir} yet; a new run"
        return Resumption(rest, [note], may_be_done=True)
    for name in {"init_from", "pretrained"} & vars(rest).keys():  # of a run's first start
        delattr(rest, name)
    rest.resume = str(newest.path)
    notes = [f"Resume: passed over {fault}" for fault in newest.passed_over]
    return Resumption(rest, notes, newest.checkpoint, may_be_done=True)


def check_resume(typed: Namespace) -> None:
    """Exit with status 2 if --resume makes no sense beside the other options."""
    if "resume" not in typed:
        return
    if typed.resume != AUTO:
        if "runs" in typed:
            build_parser().error(
                f"--resume {typed.resume}: a checkpoint is of one run; leave out --runs, or let each run go "
                "on from its own with --resume auto"
            )
        return
    for name, problem in (
        ("evaluate", "name the checkpoint that -e is to evaluate"),
        ("start_epoch", "the checkpoint tells the epoch; leave out --start-epoch"),
    ):
        if name in typed:
            build_parser().error(f"--resume auto: {problem}")
    if "output_dir" not in typed:
        build_parser().error("--resume auto looks for checkpoints in --output_dir; name it")


def after_restart(typed: Namespace, directory: str | None) -> Namespace:
    """Return the options of the command line; those of a training that torchrun has started again, in a
    `directory`, lead to its newest checkpoint, if there is one already.
    """
    if directory is None or "evaluate" in typed:
        return typed
    typed = Namespace(**vars(typed) | {"output_dir": directory})
    if newest_checkpoint(Path(directory)):
        typed.resume = AUTO
        vars(typed).pop("start_epoch", None)
    return typed


def start_position(resumed: Mapping | None, start_epoch: int) -> Position:
    """Return how far a run is: as far as its checkpoint, unless --start-epoch names another epoch."""
    if resumed is None or resumed["epoch"] != start_epoch:
        return Position(start_epoch)
    return position(resumed)


def check_data(path: str, resumed: Mapping, **data: MultiLabelDataset | None) -> None:
    """Raise AlmError if a list's pictures or labels are not those that the run had: its epoch would have
    another order, and its figures would be of other pictures.
    """
    for name, pictures in data.items():
        before = resumed["data"].get(name)
        if before and pictures and pictures.digest() != before:
            raise AlmError(
                f"{pictures.label}: its pictures or labels are not those that {path} was trained with; give "
                "the list as it was, go on with this one with --force, or start a new training from the "
                "weights with --init_from"
            )


def restore(run: TrainingRun, options: Namespace, checkpoint: dict, reached: Position) -> str:
    """Restore all but the weights from the checkpoint of --resume, and empty it: it has 120 MB of moments.

    Returns what became of the optimizer, in words. Raises AlmError if its state is of another model.
    """
    theirs = checkpoint.get("options", {})
    before = theirs.get("optimizer"), theirs.get("freeze", 0)
    goes_on = before == (options.optimizer, options.freeze)
    state = {name: part for name, part in checkpoint.items() if goes_on or name != "optimizer"}
    if reached != position(checkpoint):  # --start-epoch: from an epoch's beginning
        state |= {"epoch": reached.epoch, "iteration": 0, "seen": 0, "unevaluated": False}
    if Path(options.resume).resolve().parent != run.directory.resolve():
        state["saved"] = []  # what lies in another directory is not this run's to remove
    try:
        run.load_state_dict(state)
    except AlmError as error:
        raise AlmError(f"{options.resume}: {error}") from error
    checkpoint.clear()
    if goes_on:
        return f"Optimizer: {options.optimizer} with its state in {options.resume}"
    reason = "the checkpoint's is {}, with --freeze {}".format(*before)
    reason = reason if theirs else "a published checkpoint holds no state of it"
    return f"Optimizer: {options.optimizer} starts anew; {reason}"
