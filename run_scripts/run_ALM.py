"""Train or evaluate ALM.

python run_ALM.py --approach inception_iccv --experiment peta
python run_ALM.py --approach inception_iccv --experiment peta -e --resume 60.pth.tar
"""

import math
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from alm import AlmError, WeightedBCELoss
from alm.checkpoint import load_checkpoint
from alm.device import choose_device, choose_precision, gradient_scaler
from alm.table import RULE, evaluation_record, evaluation_table
from alm.trainer import Run, Trainer
from run_scripts import build
from run_scripts.argument import parse_arguments
from run_scripts.command import clear_ending
from utils import run_directory
from utils.experiments import Experiment
from utils.logger import TrainingLog


def main() -> None:
    """Parse, build, run. Everything that can be wrong is found before the run's directory is made."""
    options = parse_arguments()
    device = choose_device(options.device)
    precision = choose_precision(device, options.amp)
    experiment = build.choose_experiment(options)
    resumed = load_checkpoint(options.resume) if options.resume else None
    data = build.open_data(options, experiment)
    ratio = build.choose_ratio(options, experiment, data, resumed)
    model, notes = build.start_model(options, experiment, resumed)
    start_epoch = first_epoch(options, resumed)
    model = model.to(device)
    compiled = build.compile_network(options, model)
    if compiled:
        notes.append(build.COMPILE_NOTE)
    optimizer = build.build_optimizer(options, model, device)
    scaler = gradient_scaler(device, precision)
    if resumed and not options.evaluate:
        notes.append(build.restore_optimizer(options, optimizer, scaler, resumed))

    directory = open_directory(options, start_epoch)
    log_path = directory / run_directory.LOG if directory else None
    with TrainingLog(log_path, json_path=options.log_json, tensorboard_dir=options.tensorboard) as log:
        announce(log, options, model, data, notes)
        criterion = WeightedBCELoss(ratio, options.loss).to(device)
        trainer = Trainer(
            model, criterion, optimizer, scaler, device, precision, log, options.print_freq, compiled
        )
        val_loader = build.build_loader(options, data.val, device, training=False) if data.val else None
        evaluated = partial(record_evaluation, log, options, experiment, data, directory)
        if options.evaluate:
            evaluated(start_epoch, trainer.evaluate(val_loader, len(experiment.attributes)))
            return
        run = Run(
            directory,
            epochs=options.epochs,
            lr=options.lr,
            decay_epochs=options.decay_epoch,
            start_epoch=start_epoch,
            max_iters=options.max_iters,
            save_freq=options.save_freq,
            prefix=options.prefix,
            identity=identity(options, experiment, model, ratio),
        )
        if resumed:
            run.best_ma = resumed.get("best_ma", -math.inf)
            run.best_accu = float(resumed.get("best_accu", 0.0))
        train_loader = build.build_loader(options, data.train, device, training=True)
        run.fit(trainer, train_loader, val_loader, len(experiment.attributes), evaluated)
        log.line(f"Run: {directory}")


def first_epoch(options: Namespace, resumed: dict | None) -> int:
    """Return the epoch to start at, counted from 0: the checkpoint's, or --start-epoch."""
    start = int(resumed.get("epoch", 0)) if resumed else options.start_epoch
    if start >= options.epochs and not options.evaluate:
        raise AlmError(f"nothing to train: the start is epoch {start} of {options.epochs}; raise --epochs")
    return start


def open_directory(options: Namespace, start_epoch: int) -> Path | None:
    """Return the run's directory with its options in it; an evaluation has one only where it is named."""
    if options.output_dir:
        resume = Path(options.resume) if options.resume else None
        directory = run_directory.open_run_directory(Path(options.output_dir), resume, start_epoch)
    elif options.evaluate:
        return None
    else:
        runs = REPOSITORY / "runs"
        directory = run_directory.new_run_directory(runs, options.experiment, options.approach)
    run_directory.write_options(directory, vars(options))
    return directory


def announce(log: TrainingLog, options: Namespace, model, data: build.Data, notes: list[str]) -> None:
    """Log the published argument block and parameter count, then what else the run starts from."""
    arguments = [f"\t{name}: {value}" for name, value in vars(options).items()]
    for text in (RULE, "Arguments = ", *arguments, RULE):
        log.line(text)
    log.line(f"Number of model parameters: {sum(p.numel() for p in model.parameters())}\n")
    for purpose, pictures in (("Training", data.train), ("Evaluation", data.val)):
        if pictures:
            log.line(f"{purpose}: {len(pictures)} of {pictures.listed} pictures of {pictures.label}")
    for note in notes:
        log.line(note)


def identity(options: Namespace, experiment: Experiment, model, ratio: list[float]) -> dict:
    """Return what a checkpoint says of its model: enough to use it without this command's options."""
    return {
        "approach": options.approach,
        "experiment": experiment.name,
        "attributes": list(experiment.attributes),
        "positive_ratio": ratio,
        "align_corners": getattr(model, "align_corners", False),
        "options": vars(options),
    }


def record_evaluation(
    log: TrainingLog,
    options: Namespace,
    experiment: Experiment,
    data: build.Data,
    directory: Path | None,
    epoch: int,
    figures: dict,
) -> None:
    """Print one evaluation's table, and keep its figures wherever the options say."""
    shared = (figures, experiment.attributes, len(data.val), data.val.listed)
    log.line(evaluation_table(*shared))
    log.evaluation(epoch, {name: value for name, value in figures.items() if isinstance(value, float)})
    record = {"experiment": experiment.name, "approach": options.approach, "epoch": epoch}
    record |= evaluation_record(*shared)
    if directory:
        run_directory.append_metrics(directory, record)
    if options.json:
        run_directory.write_json(Path(options.json), record)


if __name__ == "__main__":
    with clear_ending():
        main()
