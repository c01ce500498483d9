"""Train or evaluate ALM.

python run_ALM.py --approach inception_iccv --experiment peta
python run_ALM.py --approach inception_iccv --experiment peta -e --resume 60.pth.tar
torchrun --nproc_per_node 4 run_ALM.py --approach inception_iccv --experiment peta

A step, from here: train -> TrainingRun.fit (alm/training/run.py) -> Trainer.train (alm/training/trainer.py).
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.run_ALM")

import os
from argparse import Namespace
from collections import ChainMap
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from alm.checkpoint.restore import is_own
from alm.constants import LAST, RANK_LOG
from alm.devices.host import keep_freed_memory
from alm.errors import AlmError
from alm.training import distributed
from alm.training.run import RunProgress, RunSettings, TrainingRun
from run_scripts.cli.main import Interruption
from run_scripts.cli.messages import explain
from run_scripts.cli.parser import refuse_other_launchers
from run_scripts.training.evaluation import report_evaluation
from run_scripts.training.options import DEFAULTS, build_parser
from run_scripts.training.resolve import chosen
from run_scripts.training.resume import DIRECTORY, restore
from run_scripts.training.seeds import report_runs, runs_of
from run_scripts.training.setup import TrainingSetup, build_loader, build_trainer, compile_network, set_up
from utils.diagnostics.fingerprint import fingerprinted
from utils.io.process import tell
from utils.io.untrusted import printable
from utils.runs import directory as run_directory
from utils.runs import log_text
from utils.runs.training_log import TrainingLog

REPOSITORY = Path(__file__).resolve().parents[1]
STREAMS = {"log_json": "Events", "tensorboard": "Scalars", "fingerprint": "Fingerprint"}
COMPILE_NOTE = "Compile: the first iteration compiles the network, which took 3 minutes on 2 CPU cores"


def main() -> int:
    """Train or evaluate; return the exit status."""
    with distributed.hushed():
        options = build_parser().parse_args()
    refuse_other_launchers()
    keep_freed_memory()
    with distributed.ranks(getattr(options, "timeout", DEFAULTS["timeout"])):
        if "runs" not in options:
            return start(options) or 0
        return start_all(options)


def start_all(options: Namespace) -> int:
    """Do one run after another; return the exit status."""
    if distributed.is_started():
        raise AlmError("--runs: torchrun starts one run; leave it out, and start one for each --seed")
    runs = runs_of(options, REPOSITORY / "runs")
    for number, run in enumerate(runs, start=1):
        place = f"run {number} of {len(runs)}"
        status = start(run, f"{place.capitalize()}: seed {run.seed}, in {run.output_dir}")
        if status is not None:
            options = f"--resume auto --output_dir {Path(run.output_dir).parent}"
            tell(f"Stopped in {place}; the same command with {options} goes on")
            return status
    report_runs(runs)
    return 0


def start(options: Namespace, title: str = "") -> int | None:
    """Evaluate, or do one run; return the exit status that a signal asked for, None if there was none.

    The `title` is told when nothing is wrong with the options.
    """
    with distributed.hushed():
        setup = set_up(options)
    if title:
        tell(title)
    if setup.options.runs and not setup.data.val:
        raise AlmError("--runs ends with figures of evaluations; give the list to evaluate with --val_list")
    with open_directory(setup) as directory, open_log(setup, directory) as log:
        if setup.options.evaluate:
            evaluate(setup, directory, log)
            return None
        return train(setup, directory, log)


def evaluate(setup: TrainingSetup, directory: Path | None, log: TrainingLog) -> None:
    """Evaluate a checkpoint; print the figures, and write them to the files that the options name."""
    announce(setup, log, setup.notes)
    trainer = build_trainer(setup, log)
    evaluation = trainer.evaluate(build_loader(setup, training=False))
    if distributed.is_main():
        report_evaluation(setup, trainer.evaluated, directory, log, setup.options.start_epoch, evaluation)
        tell_streams(setup.options, log)


def train(setup: TrainingSetup, directory: Path, log: TrainingLog) -> int | None:
    """Train until all epochs are done, or until a signal asks for an end; return the status that it asks for,
    None if there was none.
    """
    options, notes = setup.options, list(setup.notes)
    trainer = build_trainer(setup, log)
    trainer.network = distributed.parallel(setup.model, setup.device)
    if options.compile:
        trainer.network = compile_network(setup.model, options.batch_size)
        notes.append(COMPILE_NOTE)
    settings = RunSettings(
        decay_epochs=options.decay_epoch,
        keep=None if options.keep == "all" else options.keep,
        max_iters=None if options.max_iters == "all" else options.max_iters,
        **chosen(options, "epochs", "lr", "schedule", "warmup", "save_freq", "save_every_iters", "prefix"),
    )
    run = TrainingRun(trainer, directory, settings, identity(setup), RunProgress(options.start_epoch))
    if setup.checkpoint:
        notes.append(restore(run, options, setup.checkpoint, setup.position))
    if distributed.is_main():
        notes += run_directory.go_back(directory, setup.position)
    announce(setup, log, notes)
    train_loader = build_loader(setup, training=True)
    val_loader = build_loader(setup, training=False) if setup.data.val else None
    report = partial(report_evaluation, setup, trainer.evaluated, directory, log)
    if not distributed.is_main():
        report = ignored
    about = chosen(options, "experiment", "approach", "batch_size", "seed") | {"ranks": distributed.world()}
    watched = options.fingerprint if distributed.is_main() else None
    fingerprint = fingerprinted(trainer, watched, options.fingerprint_iters, about)
    with fingerprint, Interruption(is_silent=not distributed.is_main()) as interruption:
        is_done = run.fit(train_loader, val_loader, report, lambda: interruption() or distributed.is_orphan())
    replaced = ChainMap(*distributed.gather(train_loader.replaced))
    for line in log_text.faults_survived(replaced, trainer.nonfinite.skipped):
        log.line(line)
    tell_streams(options, log)
    if run.unsaved:
        raise AlmError(f"the last checkpoint could not be saved: {run.unsaved}")
    interruption.name = distributed.first_of(interruption.name)
    if is_done:
        log.line(f"{log_text.RUN}{directory}")
    elif not interruption():
        raise AlmError("torchrun is gone, so this training has ended; what it trained is saved")
    else:
        log.line(log_text.interrupted(interruption.name, directory / LAST))
    return interruption.status if interruption() else None


def ignored(*_) -> None:
    """Report nothing, of what the first rank reports."""


def tell_streams(options: Namespace, log: TrainingLog) -> None:
    """Name the files that grew with the run."""
    for name, title in STREAMS.items():
        if path := getattr(options, name):
            log.line(f"{title}: {path}")


@contextmanager
def open_directory(setup: TrainingSetup) -> Iterator[Path | None]:
    """Open the run's directory; an evaluation has one only if it is named. Of several ranks, the first one
    chooses it, for all later starts by torchrun too.
    """
    if not distributed.is_main():
        yield distributed.broadcast()
        return
    with own_directory(setup) as directory:
        if directory:
            distributed.keep_over_restarts(DIRECTORY, os.path.abspath(directory))
        yield distributed.broadcast(directory)


def own_directory(setup: TrainingSetup) -> AbstractContextManager[Path | None]:
    """Return the run's directory, as a context. A run continues in the directory of its checkpoint, unless
    later ones are there.
    """
    options = setup.options
    resume = Path(options.resume) if options.resume else None
    if options.output_dir:
        directory = Path(options.output_dir)
        run_directory.check_run_directory(directory, resume, setup.position)
        return run_directory.opened_run_directory(directory, vars(options))
    if options.evaluate:
        return nullcontext()
    if is_own(setup.checkpoint) and run_directory.can_go_on(resume, setup.position):
        return run_directory.opened_run_directory(resume.parent, vars(options))
    directory = run_directory.new_run_directory(REPOSITORY / "runs", options.experiment, options.approach)
    return run_directory.opened_run_directory(directory, vars(options), must_be_new=True)


@contextmanager
def open_log(setup: TrainingSetup, directory: Path | None) -> Iterator[TrainingLog]:
    """Open the run's log. An error that ends the run is in its file too: standard error may be gone.

    Of several ranks, the first one prints; the others write to a file if --log_ranks asks for it.
    """
    options, rank = setup.options, distributed.rank()
    path = directory / (RANK_LOG.format(rank) if rank else run_directory.LOG) if directory else None
    files = {
        "metrics_path": directory / run_directory.METRICS if directory else None,
        "json_path": options.log_json,
        "tensorboard_dir": options.tensorboard,
    }
    if rank:
        path, files = path if options.log_ranks else None, {}
    nowhere = open(os.devnull, "w")  # noqa: SIM115, closed below
    log = TrainingLog(
        path,
        **files,
        stream=nowhere if rank else None,
        print_freq=options.print_freq,
        epochs=None if options.evaluate else options.epochs,
        max_iters=None if options.max_iters == "all" else options.max_iters,
        first_iteration=0 if options.evaluate else setup.checkpoint.get("iterations", 0),
        rank=rank,
    )
    with nowhere, log:
        try:
            yield log
        except (Exception, KeyboardInterrupt) as error:
            log.failed("interrupted" if isinstance(error, KeyboardInterrupt) else explain(error))
            raise


def announce(setup: TrainingSetup, log: TrainingLog, notes: list[str]) -> None:
    """Log the published argument block and parameter count, then what else the run starts from."""
    log.line(log_text.argument_block(vars(setup.options)))
    log.line(log_text.parameter_count(sum(p.numel() for p in setup.model.parameters())))
    for purpose, pictures in (("Training", setup.data.train), ("Evaluation", setup.data.val)):
        if pictures:
            log.line(f"{purpose}: {len(pictures)} of {pictures.listed} pictures of {pictures.label}")
    for note in notes:
        log.line(printable(note))


def identity(setup: TrainingSetup) -> dict:
    """Return what a checkpoint says of its model, which is enough to use it without any option."""
    lists = {"train": setup.data.train, "val": setup.data.val}
    return {
        "approach": setup.model.approach,
        "backbone": setup.model.backbone_name,
        "levels": list(setup.model.levels),
        "mean": list(setup.model.mean),
        "std": list(setup.model.std),
        "experiment": setup.experiment.name,
        "attributes": list(setup.experiment.attributes),
        "positive_ratio": setup.ratio,
        "data": {name: pictures.digest() if pictures else None for name, pictures in lists.items()},
        "align_corners": setup.model.align_corners,
        "options": vars(setup.options),
    }
