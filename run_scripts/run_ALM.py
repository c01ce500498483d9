"""Train or evaluate ALM.

python run_ALM.py --approach inception_iccv --experiment peta
python run_ALM.py --approach inception_iccv --experiment peta -e --resume 60.pth.tar

A step, from here: main -> Run.fit (alm/run.py) -> Trainer.train_epoch (alm/trainer.py).
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from alm import AlmError, WeightedBCELoss
from alm.abilities import explain_abilities, layout
from alm.checkpoint import load_checkpoint
from alm.checkpoint_parts import is_own
from alm.device import choose_device, explain_choice
from alm.precision import choose_precision, gradient_scaler, set_arithmetic
from alm.run import Run
from alm.trainer import Trainer
from run_scripts import build
from run_scripts.argument import parse_arguments
from run_scripts.command import clear_ending, refuse_several_processes
from run_scripts.options import chosen, complete
from run_scripts.saved_options import origin_told
from utils import log_text, run_directory
from utils.experiments import Experiment
from utils.files import write_json
from utils.identity import identities
from utils.logger import TrainingLog
from utils.predictions import write_predictions
from utils.significance import intervals, tally

COMPILE_NOTE = "Compile: the first iteration compiles the network, which took 3 minutes on 2 CPU cores"


def main() -> None:
    """Parse, build, run. Everything that can be wrong is found before the run's directory is made."""
    named = parse_arguments()
    refuse_several_processes()
    resumed = load_checkpoint(named.resume) if "resume" in named else None
    options, notes = complete(named, resumed)
    check_start(options, resumed)
    with origin_told(named, options):
        device = choose_device(options.device)
        precision = choose_precision(device, options.amp)
    notes += filter(None, (explain_choice(options.device, device), explain_abilities(device)))
    notes.append(set_arithmetic(device, precision))

    with origin_told(named, options):
        experiment = build.choose_experiment(
            options.experiment, options.attributes, options.data_root, resumed
        )
        data = build.open_data(
            experiment,
            training=not options.evaluate,
            **chosen(options, "data_root", "train_list", "val_list", "allow_missing", "cache"),
        )
    if resumed and "positive_ratio" in resumed and "ratios" not in named:
        ratio = list(resumed["positive_ratio"])
    else:
        ratio = build.choose_ratio(experiment, options.ratios, data.train_list)
    model, start = build.start_model(
        options.approach,
        experiment.attributes,
        align_corners=None if options.align_corners == "auto" else options.align_corners == "true",
        resumed=resumed,
        **chosen(options, "seed", "resume", "pretrained", "init_from"),
    )
    model = model.to(device, memory_format=layout(device))
    notes += start
    load = partial(build.build_loader, device=device, **chosen(options, "batch_size", "seed", "workers"))

    with opened_directory(options, resumed) as directory, opened_log(options, resumed, directory) as log:
        trainer = build_trainer(options, model, ratio, device, precision, log)
        val_loader = load(data.val, training=False) if data.val else None
        evaluated = partial(record_evaluation, log, options, experiment, data, directory)
        if options.evaluate:
            announce(log, options, model, data, notes)
            resumed.clear()  # the weights are where they belong now
            evaluated(options.start_epoch, trainer.evaluate(val_loader))
            return
        if options.compile:
            trainer.compiled = build.compile_network(model, options.batch_size)
            notes.append(COMPILE_NOTE)
        run = Run(
            trainer,
            directory,
            decay_epochs=options.decay_epoch,
            identity=identity(options, experiment, model, ratio),
            **chosen(options, "epochs", "lr", "max_iters", "save_freq", "prefix"),
        )
        if resumed:
            notes.append(restore_run(run, options, resumed))
            resumed.clear()  # 180 MB of weights and moments
        run.epoch = options.start_epoch
        announce(log, options, model, data, notes)
        run.fit(load(data.train, training=True), val_loader, evaluated)
        log.line(f"Run: {directory}")


def check_start(options: Namespace, resumed: Mapping | None) -> None:
    """Raise AlmError where there is no epoch to train, naming the option that the user may be after."""
    if options.evaluate or options.start_epoch < options.epochs:
        return
    if not resumed:
        raise AlmError(
            f"--start-epoch {options.start_epoch}: no epoch is left of {options.epochs}; lower it, or raise "
            "--epochs"
        )
    raise AlmError(
        f"{options.resume}: no epoch is left to train, {options.start_epoch} of {options.epochs} are done. "
        "To evaluate it, add -e; to start a new training from its weights, give it to --init_from instead of "
        "--resume; to go on at the learning rate that it has come down to, raise --epochs"
    )


def build_trainer(
    options: Namespace,
    model: nn.Module,
    ratio: list[float],
    device: torch.device,
    precision: torch.dtype | None,
    log: TrainingLog,
) -> Trainer:
    """Return what takes the steps."""
    named = chosen(options, "optimizer", "lr", "weight_decay", "momentum")
    optimizer = build.build_optimizer(model, device=device, **named)
    criterion, scaler = WeightedBCELoss(ratio, options.loss), gradient_scaler(device, precision)
    return Trainer(model, criterion, optimizer, scaler, device, precision, log)


def opened_directory(options: Namespace, resumed: Mapping | None):
    """Return the run's directory, as a context; an evaluation has one only where it is named.

    A run goes on in the directory of its checkpoint, unless later ones lie there.
    """
    resume = Path(options.resume) if options.resume else None
    if options.output_dir:
        directory = Path(options.output_dir)
        run_directory.check_run_directory(directory, resume, options.start_epoch)
        return run_directory.opened_run_directory(directory, vars(options))
    if options.evaluate:
        return nullcontext()
    if resumed and is_own(resumed) and run_directory.can_go_on(resume, options.start_epoch):
        return run_directory.opened_run_directory(resume.parent, vars(options))
    directory = run_directory.new_run_directory(REPOSITORY / "runs", options.experiment, options.approach)
    return run_directory.opened_run_directory(directory, vars(options), must_be_new=True)


def opened_log(options: Namespace, resumed: Mapping | None, directory: Path | None) -> TrainingLog:
    """Return the run's log, as a context."""
    return TrainingLog(
        directory / run_directory.LOG if directory else None,
        json_path=options.log_json,
        tensorboard_dir=options.tensorboard,
        print_freq=options.print_freq,
        first_iteration=resumed.get("iterations", 0) if resumed else 0,
    )


def restore_run(run: Run, options: Namespace, resumed: Mapping) -> str:
    """Restore all but the weights from a checkpoint; return what became of the optimizer, in words."""
    before = resumed["options"].get("optimizer") if is_own(resumed) else None
    try:
        run.load_state_dict(resumed if before == options.optimizer else without_optimizer(resumed))
    except AlmError as error:
        raise AlmError(f"{options.resume}: {error}") from error
    if before == options.optimizer:
        return f"Optimizer: {options.optimizer} goes on from {options.resume}"
    reason = f"the checkpoint's is {before}" if before else "a published checkpoint holds no state of it"
    return f"Optimizer: {options.optimizer} starts anew; {reason}"


def without_optimizer(checkpoint: Mapping) -> dict:
    """Return a checkpoint as it would be without an optimizer's state."""
    return {name: value for name, value in checkpoint.items() if name != "optimizer"}


def announce(
    log: TrainingLog, options: Namespace, model: nn.Module, data: build.Data, notes: list[str]
) -> None:
    """Log the published argument block and parameter count, then what else the run starts from."""
    log.line(log_text.argument_block(vars(options)))
    log.line(log_text.parameter_count(sum(p.numel() for p in model.parameters())))
    for purpose, pictures in (("Training", data.train), ("Evaluation", data.val)):
        if pictures:
            log.line(f"{purpose}: {len(pictures)} of {pictures.listed} pictures of {pictures.label}")
    for note in notes:
        log.line(note)


def identity(options: Namespace, experiment: Experiment, model: nn.Module, ratio: list[float]) -> dict:
    """Return what a checkpoint says of its model: enough to use it without this command's options."""
    return {
        "approach": options.approach,
        "experiment": experiment.name,
        "attributes": list(experiment.attributes),
        "positive_ratio": ratio,
        "align_corners": model.align_corners,
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
    """Print an evaluation's table and keep its figures where the options say, after `epoch` epochs."""
    logits = figures.pop("logits").numpy()
    shared = (figures, experiment.attributes, len(data.val), data.val.listed)
    log.line(log_text.evaluation_table(*shared))
    sample = tally(logits > 0, data.val.labels.numpy(), identities(data.val.names))
    spans = (intervals(sample), sample.units, sample.resampled)
    log.line(log_text.interval_lines(*spans))
    log.evaluation(epoch, {name: value for name, value in figures.items() if isinstance(value, float)})
    record = {"experiment": experiment.name, "approach": options.approach, "epoch": epoch}
    record |= log_text.evaluation_record(*shared)
    record["intervals"] = log_text.interval_record(*spans)
    if directory:
        run_directory.append_metrics(directory, record)
    if options.json:
        write_json(options.json, record)
    if options.predictions:
        write_predictions(options.predictions, data.val.names, experiment.attributes, logits)


if __name__ == "__main__":
    with clear_ending():
        main()
