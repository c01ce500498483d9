"""What each option of run_ALM.py is. One rule: what is named on the command line, else what the checkpoint of
--resume was trained with, else the default.
"""

import os
import re
from argparse import Namespace
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alm.checkpoint.schema import shown
from alm.devices.precision import fast_amp
from alm.errors import AlmError
from run_scripts.cli.parser import LARGEST, is_file_name_part, refuse_inputs_as_outputs
from run_scripts.training.options import CHOICES, DEFAULTS, LARGEST_SEED, PUBLISHED, SYNTHETIC, build_parser
from utils.data.catalog import has_ratios
from utils.evaluation.thresholds import named_thresholds
from utils.io.atomic import unwritable
from utils.io.untrusted import is_number

OF_THE_DATA = ("data_root", "train_list", "val_list", "allow_missing", "ratios")  # of no other experiment
OF_THE_MACHINE = ("device", "amp", "data_root", "train_list", "val_list")  # another machine may lack these


class Kind(NamedTuple):
    """What an option's value must be: a test, and the same in words."""

    is_right: Callable[[object], bool]
    words: str


def is_whole(value, least: int, most: int = LARGEST) -> bool:
    """Whether this is a whole number from `least` to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def one_of(choices: Sequence[str]) -> Kind:
    """Return the kind of one of some words."""
    return Kind(lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}")


COUNT = Kind(lambda value: is_whole(value, 1), "a whole number from 1 on")
SWITCH = Kind(lambda value: isinstance(value, bool), "True or False")
PLACE = Kind(lambda value: isinstance(value, str) and value != "" and "\0" not in value, "a path")
ABOVE_ZERO = Kind(lambda value: is_number(value) and value > 0, "a number above 0")
NOT_NEGATIVE = Kind(lambda value: is_number(value) and value >= 0, "a number from 0 on")
EPOCHS = Kind(lambda value: isinstance(value, tuple) and all(is_whole(epoch, 0) for epoch in value), "epochs")
WORKERS = Kind(lambda value: value == "auto" or is_whole(value, 0), "a whole number from 0 on, or auto")
SEED = Kind(lambda value: is_whole(value, 0, LARGEST_SEED), "a whole number from 0 on")
KEEP = Kind(lambda value: value == "all" or is_whole(value, 1), "a whole number from 1 on, or all")
PREFIX = Kind(lambda value: isinstance(value, str) and is_file_name_part(value), "part of a file name")

GIVEN_BACK = {name: one_of(choices) for name, choices in CHOICES.items()} | {
    "epochs": COUNT,
    "batch_size": COUNT,
    "lr": ABOVE_ZERO,
    "momentum": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "print_freq": COUNT,
    "save_freq": COUNT,
    "save_every_iters": COUNT,
    "keep": KEEP,
    "decay_epoch": EPOCHS,
    "prefix": PREFIX,
    "data_root": PLACE,
    "train_list": PLACE,
    "val_list": PLACE,
    "allow_missing": SWITCH,
    "workers": WORKERS,
    "seed": SEED,
    "compile": SWITCH,
    "max_iters": COUNT,
}


def given_back(saved: Mapping, named: Mapping) -> dict:
    """Return the options, `saved` in a checkpoint, that hold for a run that goes on from it.

    Of those that are `named` on the command line, which win, one that is not what it must be is left out;
    of the others, AlmError is raised. None means that an option was not set.
    """
    other_data = named.get("experiment", saved.get("experiment")) != saved.get("experiment")
    restored = {}
    for name, kind in GIVEN_BACK.items():
        value = saved.get(name)
        if value is None or (other_data and name in OF_THE_DATA):
            continue
        if kind.is_right(value):
            restored[name] = value
        elif name not in named:
            raise AlmError(
                f"{named['resume']}: this checkpoint is damaged: its option --{name} is {shown(value)}, not "
                f"{kind.words}; name --{name} to go on without it"
            )
    if "data_root" in restored and "data_root" not in named:
        require_data(restored["data_root"], named["resume"])
    return restored


def require_data(root: str, path: str) -> None:
    """Raise AlmError unless the directory that a checkpoint names has something in it: the synthetic set
    would be drawn there.
    """
    try:
        found = any(Path(root).iterdir())
    except OSError:
        found = False
    if not found:
        raise AlmError(
            f"{path} was trained with --data_root {root}, where there is no data; name --data_root"
        )


@contextmanager
def origin_told(named: Container[str], options: Namespace) -> Iterator[None]:
    """Let an error about an option that is not `named`, and so the checkpoint's, say where it is from."""
    try:
        yield
    except AlmError as error:
        theirs = [
            f"--{name} {getattr(options, name)}"
            for name in OF_THE_MACHINE
            if name not in named
            and getattr(options, name) != DEFAULTS[name]
            and re.search(rf"--{name}\b", str(error))
        ]
        if not options.resume or not theirs:
            raise
        raise type(error)(f"{error}. {options.resume} was trained with {' and '.join(theirs)}") from error


PLACES = {
    "data_root", "train_list", "val_list", "cache", "json", "predictions", "calibrate", "report",
    "fingerprint", "log_json", "tensorboard",
}  # fmt: skip
READ = ("resume", "init_from", "pretrained", "attributes", "train_list", "val_list")
WRITTEN = ("json", "predictions", "calibrate", "report", "fingerprint", "log_json")


def complete(named: Namespace, resumed: Mapping | None) -> tuple[Namespace, list[str]]:
    """Return all options, and a line for each that is named and differs from the checkpoint's.

    `resumed` is the checkpoint that the run goes on from. Exits with status 2 where options contradict each
    other; raises AlmError where the checkpoint's make no sense, or not on this machine.
    """
    named = absolute({name: value for name, value in vars(named).items() if name in DEFAULTS})
    restored = {}
    if resumed and "options" in resumed:
        restored = absolute(given_back(resumed["options"], named))
    options = Namespace(**(DEFAULTS | restored | named))
    parser = build_parser()
    if options.calibrate and "val_list" not in named:
        parser.error(
            "--calibrate chooses thresholds on the list that is evaluated, by default the test list: name "
            "another with --val_list, such as one that prepare_data.py --separate-val writes"
        )
    if problem := next(problems(options), None):
        parser.error(problem)
    inputs, outputs = (chosen(options, *names) for names in (READ, WRITTEN))
    refuse_inputs_as_outputs(parser, inputs.values(), **outputs)
    with origin_told(named, options):
        fill_defaults(options)
    if options.start_epoch is None:
        options.start_epoch = resumed["epoch"] if resumed else 0
    return options, [
        f"Option: --{name} {value}, {restored[name]} in {named['resume']}"
        for name, value in named.items()
        if name in restored and value != restored[name]
    ]


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
        options.ratios = "published" if has_ratios(options.experiment) else "list"
    if synthetic and options.amp == "auto":
        options.amp = fast_amp(options.device)


def problems(options: Namespace) -> Iterator[str]:
    """Yield what options lack, where they contradict each other, and which files cannot be written."""
    yield from problems_of_the_data(options)
    starts = [name for name in ("resume", "init_from", "pretrained") if getattr(options, name)]
    if len(starts) > 1:
        yield (
            f"--{' and --'.join(starts)}: give one of them. --resume goes on with a run, --init_from starts "
            "a new one from any checkpoint, --pretrained starts one from weights of the backbone alone"
        )
    if options.evaluate and not options.resume:
        yield "-e needs --resume FILE: the checkpoint to evaluate"
    for name in ("predictions", "calibrate"):
        if getattr(options, name) and not options.evaluate:
            yield f"--{name} goes with -e: give it the checkpoint to evaluate"
    if options.fingerprint and (options.evaluate or options.compile):
        yield "--fingerprint watches training steps as they are: leave out -e and --compile"
    for name in WRITTEN:
        path = getattr(options, name)
        if path is not None and (reason := unwritable(path)):
            yield f"--{name} {path}: {reason}"
    if options.calibrate and is_other_file(options.calibrate):
        yield (
            f"--calibrate {options.calibrate} is where thresholds are written, and that file holds something "
            "else; name another (the list to choose them on is --val_list)"
        )


def is_other_file(path: str) -> bool:
    """Whether a file is there that holds no thresholds, such as the list to choose them on."""
    try:
        return os.path.isfile(path) and named_thresholds(path) is None
    except AlmError:
        return True


def problems_of_the_data(options: Namespace) -> Iterator[str]:
    """Yield what the options lack that say which data set it is, and where they contradict each other."""
    if options.experiment is None:
        source = f": {options.resume} does not say which data set it is of" if options.resume else ""
        yield f"--experiment NAME is needed{source}"
    if options.experiment != "custom":
        if options.attributes:
            yield "--attributes goes with --experiment custom"
    elif not options.attributes and not options.resume:
        yield "--experiment custom needs --attributes FILE: a name a line"
    elif options.evaluate and not options.val_list:
        yield "--experiment custom with -e needs --val_list FILE"
    elif not options.evaluate and not options.train_list:
        yield "--experiment custom needs --train_list FILE"
    if options.experiment and options.ratios == "published" and not has_ratios(options.experiment):
        yield f"--ratios published: there are none for {options.experiment}; leave the option out"


def chosen(options: Namespace, *names: str) -> dict:
    """Return some of the options, to be handed on under their names."""
    return {name: getattr(options, name) for name in names}
