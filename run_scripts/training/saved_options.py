"""The options that a checkpoint gives back to a run that goes on from it, and what each must be.

What is not here never comes from a file: what belongs to one start of a run, what says where something is
written or kept, and --follow_links. So nobody's checkpoint names a file to write over or a picture cache to
believe, or lets a list reach out of the data set's directory.
"""

import re
from argparse import Namespace
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alm import AlmError
from alm.checkpoint.schema import shown
from run_scripts.cli.main import LARGEST
from run_scripts.cli.parser import is_file_name_part
from run_scripts.training.options import CHOICES, DEFAULTS, LARGEST_SEED
from utils.errors import InputError
from utils.io.json_values import is_number

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
    except (AlmError, InputError) as error:
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
