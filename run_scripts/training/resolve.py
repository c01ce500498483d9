"""The value of every option of run_ALM.py. One rule: what is on the command line, or else what the checkpoint
of --resume was trained with, or else the default, which --recipe may change.
"""

import os
import re
from argparse import Namespace
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alm.checkpoint.schema import shown
from alm.devices.precision import fast_amp
from alm.errors import AlmError
from alm.inference.thresholds import named_thresholds
from alm.models.network import APPROACHES, Baseline
from alm.training.schedule import ONE_CYCLE_WARMUP
from run_scripts.cli.parser import refuse_inputs_as_outputs
from run_scripts.training.options import DEFAULTS, OPTIONS, RECIPES, Trait, build_parser, names
from utils.data.catalog import has_ratios
from utils.io.atomic import unwritable


def resolve(typed: Namespace, resumed: Mapping | None) -> tuple[Namespace, list[str]]:
    """Return all options, and a line for each one that differs from the checkpoint's because it is typed, or
    because it belonged to a trial.

    `typed` are the options of the command line, `resumed` is the checkpoint to continue from. Exits
    with status 2 if options contradict each other. Raises AlmError if the checkpoint's make no sense, or not
    on this machine.
    """
    typed = absolute({name: value for name, value in vars(typed).items() if name in OPTIONS})
    restored = {}
    if resumed and "options" in resumed:
        restored = absolute(restored_options(resumed["options"], typed))
    recipe = (DEFAULTS | restored | typed)["recipe"]
    started_with = restored or RECIPES[recipe]  # a recipe may have changed since the run began
    options = Namespace(**(DEFAULTS | started_with | typed))
    parser = build_parser()
    if restored and recipe != restored.get("recipe", DEFAULTS["recipe"]):
        parser.error(
            f"--recipe {recipe}: a run goes on with the options that it has; name each one that is to "
            "change, or start a new training from its weights with --init_from"
        )
    if problem := next(problems(options, typed), None):
        parser.error(problem)
    inputs, outputs = (chosen(options, *names(trait)) for trait in (Trait.READ, Trait.WRITTEN))
    refuse_inputs_as_outputs(parser, inputs.values(), **outputs)
    with checkpoint_named(typed, options):
        fill_defaults(options)
    if options.start_epoch is None:
        options.start_epoch = resumed["epoch"] if resumed else 0
    notes = [
        f"Option: --{name} {value}, {restored[name]} in {typed['resume']}"
        for name, value in typed.items()
        if name in restored and value != restored[name]
    ]
    trial = (resumed or {}).get("options", {}).get("max_iters")
    if OPTIONS["max_iters"].kind.is_right(trial) and trial != options.max_iters:
        notes.append(f"Option: --max_iters {options.max_iters}, {trial} in {typed['resume']}")
    return options, notes


def restored_options(saved: Mapping, typed: Mapping) -> dict:
    """Return the options, `saved` in a checkpoint, that hold for a run that continues from it.

    None means that an option was not set. Raises AlmError if one is not what it must be; but if it is typed
    too, that value wins, and the checkpoint's does not matter.
    """
    other_data = typed.get("experiment", saved.get("experiment")) != saved.get("experiment")
    restored = {}
    for name in names(Trait.RESTORED):
        value, kind = saved.get(name), OPTIONS[name].kind
        if value is None or (other_data and Trait.DATA in OPTIONS[name].traits):
            continue
        if kind.is_right(value):
            restored[name] = value
        elif name not in typed:
            raise AlmError(
                f"{typed['resume']}: this checkpoint is damaged: its option --{name} is {shown(value)}, not "
                f"{kind.words}; give --{name} to continue without it"
            )
    if "data_root" in restored and "data_root" not in typed:
        require_data(restored["data_root"], typed["resume"])
    return restored


def require_data(root: str, path: str) -> None:
    """Raise AlmError unless the directory that a checkpoint names has something in it: the synthetic set
    would be drawn there.
    """
    try:
        has_data = any(Path(root).iterdir())
    except OSError:
        has_data = False
    if not has_data:
        raise AlmError(f"{path} was trained with --data_root {root}, but no data are there; give --data_root")


def absolute(options: dict) -> dict:
    """Return options whose files and directories mean the same from any directory."""
    fixed = dict(options)
    for name in names(Trait.PLACE):
        path = options.get(name)
        if path is None or (name == "cache" and path in ("none", "auto")):
            continue
        if name in ("train_list", "val_list") and not Path(path).exists():
            continue  # a name in the data set's directory
        fixed[name] = os.path.abspath(path)
    return fixed


def fill_defaults(options: Namespace) -> None:
    """Fill in the defaults that depend on other options or on the machine."""
    synthetic = options.experiment == "synthetic"
    for name, option in OPTIONS.items():
        if option.synthetic is not None and getattr(options, name) is None:
            setattr(options, name, option.synthetic if synthetic else option.default)
    if options.ratios is None:
        options.ratios = "published" if has_ratios(options.experiment) else "list"
    if options.warmup is None:
        options.warmup = ONE_CYCLE_WARMUP if options.schedule == "onecycle" else 0.0
    if synthetic and options.amp == "auto":
        options.amp = fast_amp(options.device)


@contextmanager
def checkpoint_named(typed: Container[str], options: Namespace) -> Iterator[None]:
    """Let an error about an option that is not typed, and so the checkpoint's, name that checkpoint."""
    try:
        yield
    except AlmError as error:
        theirs = [
            f"--{name} {getattr(options, name)}"
            for name in names(Trait.MACHINE)
            if name not in typed
            and getattr(options, name) != DEFAULTS[name]
            and re.search(rf"--{name}\b", str(error))
        ]
        if not options.resume or not theirs:
            raise
        raise type(error)(f"{error}. {options.resume} was trained with {' and '.join(theirs)}") from error


def problems(options: Namespace, typed: Container[str]) -> Iterator[str]:
    """Yield which options are missing, which contradict each other, and which files cannot be written."""
    if options.calibrate and "val_list" not in typed:
        yield (
            "--calibrate chooses thresholds on the list that is evaluated, by default the test list: give "
            "another with --val_list, such as one that prepare_data.py --separate-val writes"
        )
    yield from problems_of_the_data(options)
    starts = [name for name in ("resume", "init_from", "pretrained") if getattr(options, name)]
    if len(starts) > 1:
        yield (
            f"--{' and --'.join(starts)}: give only one of them. --resume continues a run, --init_from "
            "starts a new one from any checkpoint, --pretrained starts one from weights of the backbone alone"
        )
    if options.freeze and not starts:
        yield (
            f"--freeze {options.freeze} leaves the first stages as they start, and from scratch that is at "
            "random; name their weights with --pretrained or --init_from"
        )
    if options.width != OPTIONS["width"].default and APPROACHES[options.approach] is Baseline:
        yield f"--width is of the lateral layers, and {options.approach} has none; leave it out"
    if "decay_epoch" in typed and options.schedule != "step":
        yield f"--decay_epoch is of --schedule step, and {options.schedule} falls by itself; leave one out"
    if options.evaluate and not options.resume:
        yield "-e needs --resume FILE: the checkpoint to evaluate"
    for name in ("predictions", "calibrate", "threshold"):
        if getattr(options, name) and not options.evaluate:
            yield f"--{name} goes with -e: give it the checkpoint to evaluate"
    if options.fingerprint and (options.evaluate or options.compile):
        yield "--fingerprint watches training steps as they are: leave out -e and --compile"
    for name in ("report", "fingerprint", "log_json"):
        if options.runs and getattr(options, name):
            yield f"--{name} is a file of one run, and --runs {options.runs} are several; leave one out"
    for name, path in chosen(options, *names(Trait.WRITTEN)).items():
        if path is None or makes(options.output_dir, os.path.dirname(path)):
            continue
        if reason := unwritable(path):
            yield f"--{name} {path}: {reason}"
    if options.calibrate and is_other_file(options.calibrate):
        yield (
            f"--calibrate {options.calibrate}: thresholds are written there, but that file holds something "
            "else; name another (the list to choose them on is --val_list)"
        )


def makes(run: str | None, directory: str) -> bool:
    """Whether a run in the directory `run` makes a directory: its own, or one above it."""
    return (
        bool(run) and not os.path.exists(directory) and Path(os.path.abspath(run)).is_relative_to(directory)
    )


def is_other_file(path: str) -> bool:
    """Whether a file is there that holds no thresholds, such as the list to choose them on."""
    try:
        return os.path.isfile(path) and named_thresholds(path) is None
    except AlmError:
        return True


def problems_of_the_data(options: Namespace) -> Iterator[str]:
    """Yield what is wrong with the options that say which data set it is."""
    if options.experiment is None:
        source = f": {options.resume} does not say which data set it is of" if options.resume else ""
        yield f"--experiment NAME is needed{source}"
    if options.experiment != "custom":
        if options.attributes:
            yield "--attributes goes with --experiment custom"
    elif not options.attributes and not options.resume:
        yield "--experiment custom needs --attributes FILE: one name per line"
    elif options.evaluate and not options.val_list:
        yield "--experiment custom with -e needs --val_list FILE"
    elif not options.evaluate and not options.train_list:
        yield "--experiment custom needs --train_list FILE"
    if options.experiment and options.ratios == "published" and not has_ratios(options.experiment):
        yield f"--ratios published: there are none for {options.experiment}; leave the option out"


def chosen(options: Namespace, *names: str) -> dict:
    """Return some of the options, to be passed on under their names."""
    return {name: getattr(options, name) for name in names}
