"""What each option of run_ALM.py is. One rule: what is named on the command line, else what the checkpoint of
--resume was trained with, else the default.
"""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from alm import AlmError
from alm.precision import fast_amp
from run_scripts.argument import DEFAULTS, PUBLISHED, SYNTHETIC, build_parser
from utils.files import unwritable

# What belongs to one start of a run, not to the run: a checkpoint does not give it back.
OF_ONE_START = (
    "start_epoch", "resume", "evaluate", "attributes", "pretrained", "init_from", "output_dir", "predictions"
)  # fmt: skip
OF_THE_DATA = ("data_root", "train_list", "val_list", "allow_missing", "ratios")  # of no other experiment
OF_TRAINING = ("json", "log_json", "tensorboard")  # where a training's figures go, not an evaluation's
PLACES = {"data_root", "train_list", "val_list", "cache", "json", "predictions", "log_json", "tensorboard"}


def complete(named: Namespace, resumed: Mapping | None) -> tuple[Namespace, list[str]]:
    """Return all options, and a line for each that is named and differs from the checkpoint's.

    `resumed` is the checkpoint that the run goes on from. Exits with status 2 where options contradict each
    other; raises AlmError where the checkpoint's make no sense.
    """
    named = absolute({name: value for name, value in vars(named).items() if name in DEFAULTS})
    restored = restore(named, resumed["options"]) if resumed and "options" in resumed else {}
    options = Namespace(**(DEFAULTS | restored | named))
    check(options)
    fill_defaults(options)
    if options.start_epoch is None:
        options.start_epoch = resumed["epoch"] if resumed else 0
    return options, [
        f"Option: --{name} {value}, {restored[name]} in {named['resume']}"
        for name, value in named.items()
        if name in restored and value != restored[name]
    ]


def restore(named: dict, saved: Mapping) -> dict:
    """Return the options of a checkpoint that hold for a run that goes on from it."""
    left_out = {*OF_ONE_START, *(OF_TRAINING if "evaluate" in named else ())}
    if named.get("experiment", saved.get("experiment")) != saved.get("experiment"):
        left_out.update(OF_THE_DATA)
    words = []
    for name, value in saved.items():
        if name not in DEFAULTS or name in left_out or value is None or value is False or value == "":
            continue
        words.append(f"--{name}" if value is True else f"--{name}={value}")
    parser = build_parser()
    parser.error = refuse_checkpoint(named["resume"])
    return absolute(vars(parser.parse_args(words)))


def refuse_checkpoint(path: str) -> Callable:
    """Return what a parser does about wrong options in a checkpoint."""

    def error(message: str) -> None:
        raise AlmError(f"{path}: this checkpoint is damaged: of its options, {message}")

    return error


def absolute(options: dict) -> dict:
    """Return options whose files and directories mean the same from any directory."""
    fixed = dict(options)
    for name in PLACES & options.keys():
        words = ("none", "auto") if name == "cache" else ()
        in_data_root = name in ("train_list", "val_list") and not Path(options[name]).exists()
        if options[name] not in words and not in_data_root:
            fixed[name] = os.path.abspath(options[name])
    return fixed


def fill_defaults(options: Namespace) -> None:
    """Fill in the defaults that depend on other options or on the machine."""
    synthetic = options.experiment == "synthetic"
    for name, value in (SYNTHETIC if synthetic else PUBLISHED).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.ratios is None:
        options.ratios = "published" if options.experiment in ("peta", "rap", "pa100k") else "list"
    if synthetic and options.amp == "auto":
        options.amp = fast_amp(options.device)


def check(options: Namespace) -> None:
    """Refuse options that lack or contradict each other."""
    custom = options.experiment == "custom"
    starts = [name for name in ("resume", "init_from", "pretrained") if getattr(options, name)]
    refusals = (
        (
            options.experiment is None,
            "--experiment NAME is needed"
            + (f": {options.resume} does not say which data set it is of" if options.resume else ""),
        ),
        (options.evaluate and not options.resume, "-e needs --resume FILE: the checkpoint to evaluate"),
        (
            options.predictions and not options.evaluate,
            "--predictions goes with -e: give it the checkpoint to evaluate",
        ),
        (
            custom and not options.attributes and not options.resume,
            "--experiment custom needs --attributes FILE: a name a line",
        ),
        (options.attributes and not custom, "--attributes goes with --experiment custom"),
        (
            custom and not options.evaluate and not options.train_list,
            "--experiment custom needs --train_list FILE",
        ),
        (
            custom and options.evaluate and not options.val_list,
            "--experiment custom with -e needs --val_list FILE",
        ),
        (
            options.experiment in ("custom", "synthetic") and options.ratios == "published",
            f"--ratios published: there are none for {options.experiment}; leave the option out",
        ),
        (
            len(starts) > 1,
            f"--{' and --'.join(starts)}: give one of them. --resume goes on with a run, --init_from starts "
            "a new one from any checkpoint, --pretrained starts one from weights of the backbone alone",
        ),
        *(
            (reason, f"--{name} {getattr(options, name)}: {reason}")
            for name in ("json", "predictions", "log_json")
            if getattr(options, name) is not None and (reason := unwritable(getattr(options, name)))
        ),
    )
    for refused, message in refusals:
        if refused:
            build_parser().error(message)


def chosen(options: Namespace, *names: str) -> dict:
    """Return some of the options, to be handed on under their names."""
    return {name: getattr(options, name) for name in names}
