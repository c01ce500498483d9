"""What each option of run_ALM.py is. One rule: what is named on the command line, else what the checkpoint of
--resume was trained with, else the default.
"""

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

from alm.devices.precision import fast_amp
from run_scripts.cli.main import refuse_inputs_as_outputs
from run_scripts.training.options import DEFAULTS, PUBLISHED, SYNTHETIC, build_parser
from run_scripts.training.saved_options import given_back, origin_told
from utils.errors import InputError
from utils.evaluation.thresholds import named_thresholds
from utils.io.atomic import unwritable

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
        options.ratios = "published" if options.experiment in ("peta", "rap", "pa100k") else "list"
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
    except InputError:
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
    if options.experiment in ("custom", "synthetic") and options.ratios == "published":
        yield f"--ratios published: there are none for {options.experiment}; leave the option out"


def chosen(options: Namespace, *names: str) -> dict:
    """Return some of the options, to be handed on under their names."""
    return {name: getattr(options, name) for name in names}
