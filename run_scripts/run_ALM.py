"""Train or evaluate ALM.

python run_ALM.py --approach inception_iccv --experiment peta
python run_ALM.py --approach inception_iccv --experiment peta -e --resume 60.pth.tar

A step, from here: train -> TrainingRun.fit (alm/training/run.py) -> Trainer.train (alm/training/trainer.py).
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.run_ALM")

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch

from alm import WeightedBCELoss
from alm.checkpoint.restore import is_own
from alm.constants import LAST
from alm.devices.device import device_name
from alm.devices.precision import gradient_scaler, precision_name
from alm.errors import AlmError
from alm.training.run import RunProgress, RunSettings, TrainingRun
from alm.training.trainer import NonFiniteSteps, Trainer
from run_scripts.cli.main import Interruption
from run_scripts.cli.messages import explain
from run_scripts.cli.parser import refuse_several_processes
from run_scripts.training import setup as build
from run_scripts.training.evaluation import report_evaluation
from run_scripts.training.options import parse_arguments
from run_scripts.training.resolve import chosen
from run_scripts.training.resume import restore
from run_scripts.training.setup import Start, start
from utils.diagnostics.fingerprint import Fingerprint
from utils.io.untrusted import printable
from utils.runs import directory as run_directory
from utils.runs import log_text
from utils.runs.training_log import TrainingLog

REPOSITORY = Path(__file__).resolve().parents[1]
COMPILE_NOTE = "Compile: the first iteration compiles the network, which took 3 minutes on 2 CPU cores"


def main() -> None:
    """Find all that is needed, then train or evaluate."""
    named = parse_arguments()
    refuse_several_processes()
    begun = start(named)
    interruption = Interruption()
    with opened_directory(begun) as directory, opened_log(begun, directory) as log, end_told(log):
        if begun.options.evaluate:
            evaluate(begun, directory, log)
        else:
            train(begun, directory, log, interruption)
    if interruption():
        sys.exit(interruption.status)


def evaluate(begun: Start, directory: Path | None, log: TrainingLog) -> None:
    """Print the figures of a checkpoint, and keep them where the options say."""
    announce(begun, log, begun.notes)
    evaluation = build_trainer(begun, log).evaluate(build_loader(begun, training=False))
    report_evaluation(begun, directory, log, begun.options.start_epoch, evaluation)


def train(begun: Start, directory: Path, log: TrainingLog, interruption: Interruption) -> None:
    """Train until all epochs are done, or until a signal asks for an end."""
    options, notes = begun.options, list(begun.notes)
    trainer = build_trainer(begun, log)
    if options.compile:
        trainer.compiled = build.compile_network(begun.model, options.batch_size)
        notes.append(COMPILE_NOTE)
    settings = RunSettings(
        decay_epochs=options.decay_epoch,
        keep=None if options.keep == "all" else options.keep,
        **chosen(options, "epochs", "lr", "max_iters", "save_freq", "save_every_iters", "prefix"),
    )
    run = TrainingRun(trainer, directory, settings, identity(begun), RunProgress(options.start_epoch))
    if begun.checkpoint:
        notes.append(restore(run, options, begun.checkpoint, begun.reached))
    notes += run_directory.go_back(directory, begun.reached)
    announce(begun, log, notes)
    train_loader = build_loader(begun, training=True)
    val_loader = build_loader(begun, training=False) if begun.data.val else None
    record = partial(report_evaluation, begun, directory, log)
    with fingerprinted(begun, trainer), interruption:
        is_done = run.fit(train_loader, val_loader, record, interruption)
    for line in log_text.faults_survived(train_loader.replaced, trainer.nonfinite.skipped):
        log.line(line)
    if run.unsaved:
        raise AlmError(f"the last checkpoint could not be saved: {run.unsaved}")
    if is_done:
        log.line(f"Run: {directory}")
    else:
        log.line(log_text.interrupted(interruption.name, directory / LAST))


def build_trainer(begun: Start, log: TrainingLog) -> Trainer:
    """Return what takes the steps."""
    options, device, precision = begun.options, begun.device, begun.precision
    named = chosen(options, "optimizer", "lr", "weight_decay", "momentum")
    optimizer = build.build_optimizer(begun.model, device=device, **named)
    criterion, scaler = WeightedBCELoss(begun.ratio, options.loss), gradient_scaler(device, precision)
    return Trainer(
        begun.model, criterion, optimizer, scaler, device, precision, log,
        nonfinite=NonFiniteSteps(skip=options.on_nonfinite == "skip"),
        localize=begun.true_boxes is not None or options.report is not None,
    )  # fmt: skip


@contextmanager
def fingerprinted(begun: Start, trainer: Trainer) -> Iterator[None]:
    """Write the fingerprint of the first iterations, where one is asked for."""
    options = begun.options
    if not options.fingerprint:
        yield
        return
    about = {"torch": torch.__version__, "device": begun.device.type, "machine": device_name(begun.device)}
    about |= chosen(options, "experiment", "approach", "batch_size", "seed")
    about["precision"] = precision_name(begun.precision)
    with open(options.fingerprint, "w", encoding="utf-8") as file:

        def write(entry: dict) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()  # whoever stops the run early has what there is

        trainer.watch = Fingerprint(
            begun.model, trainer.criterion, trainer.scaler, options.fingerprint_iters, write, about
        )
        yield


def build_loader(begun: Start, training: bool) -> build.Loader:
    """Return the batches of the training or of the evaluation list."""
    return build.build_loader(
        begun.data.train if training else begun.data.val,
        training=training,
        replaces=training and begun.options.on_bad_image == "skip",
        device=begun.device,
        **chosen(begun.options, "batch_size", "seed", "workers"),
    )


def opened_directory(begun: Start):
    """Return the run's directory, as a context; an evaluation has one only where it is named.

    A run goes on in the directory of its checkpoint, unless later ones lie there.
    """
    options = begun.options
    resume = Path(options.resume) if options.resume else None
    if options.output_dir:
        directory = Path(options.output_dir)
        run_directory.check_run_directory(directory, resume, begun.reached)
        return run_directory.opened_run_directory(directory, vars(options))
    if options.evaluate:
        return nullcontext()
    if is_own(begun.checkpoint) and run_directory.can_go_on(resume, begun.reached):
        return run_directory.opened_run_directory(resume.parent, vars(options))
    directory = run_directory.new_run_directory(REPOSITORY / "runs", options.experiment, options.approach)
    return run_directory.opened_run_directory(directory, vars(options), must_be_new=True)


def opened_log(begun: Start, directory: Path | None) -> TrainingLog:
    """Return the run's log, as a context."""
    options = begun.options
    return TrainingLog(
        directory / run_directory.LOG if directory else None,
        metrics_path=directory / run_directory.METRICS if directory else None,
        json_path=options.log_json,
        tensorboard_dir=options.tensorboard,
        print_freq=options.print_freq,
        first_iteration=0 if options.evaluate else begun.checkpoint.get("iterations", 0),
    )


@contextmanager
def end_told(log: TrainingLog) -> Iterator[None]:
    """Let the log's file end with the error that ends the run: standard error may be gone by then."""
    try:
        yield
    except KeyboardInterrupt:
        log.failed("interrupted")
        raise
    except Exception as error:
        log.failed(explain(error))
        raise


def announce(begun: Start, log: TrainingLog, notes: list[str]) -> None:
    """Log the published argument block and parameter count, then what else the run starts from."""
    log.line(log_text.argument_block(vars(begun.options)))
    log.line(log_text.parameter_count(sum(p.numel() for p in begun.model.parameters())))
    for purpose, pictures in (("Training", begun.data.train), ("Evaluation", begun.data.val)):
        if pictures:
            log.line(f"{purpose}: {len(pictures)} of {pictures.listed} pictures of {pictures.label}")
    for note in notes:
        log.line(printable(note))


def identity(begun: Start) -> dict:
    """Return what a checkpoint says of its model: enough to use it without this command's options."""
    return {
        "approach": begun.options.approach,
        "experiment": begun.experiment.name,
        "attributes": list(begun.experiment.attributes),
        "positive_ratio": begun.ratio,
        "data": {
            "train": begun.data.train.digest(),
            "val": begun.data.val.digest() if begun.data.val else None,
        },
        "align_corners": begun.model.align_corners,
        "options": vars(begun.options),
    }
