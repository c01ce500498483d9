"""The options of run_ALM.py: the published program's under their names, and ours."""

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from alm import APPROACHES
from alm.device import DEVICES, PRECISIONS, cpu_has_bfloat16
from alm.loss import WEIGHTINGS
from utils.experiments import EXPERIMENTS

# Defaults that depend on the experiment: the published program's, and those of the embedded data set.
PUBLISHED = {"epochs": 60, "batch_size": 32, "lr": 1e-4, "decay_epoch": (20, 40)}
SYNTHETIC = {"epochs": 5, "batch_size": 16, "lr": 1e-3, "decay_epoch": (4,)}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return run_ALM.py's options, every default filled in. Exits with status 2 on a wrong one."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    check(parser, options)
    fill_defaults(options)
    return options


def fill_defaults(options: argparse.Namespace) -> None:
    """Fill in the defaults that depend on other options or on the machine."""
    synthetic = options.experiment == "synthetic"
    for name, value in (SYNTHETIC if synthetic else PUBLISHED).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.ratios is None:
        options.ratios = "published" if options.experiment in ("peta", "rap", "pa100k") else "list"
    if options.workers is None:
        options.workers = min(4, (os.cpu_count() or 1) // 2)
    if synthetic and options.amp == "auto" and options.device in ("auto", "cpu") and cpu_has_bfloat16():
        options.amp = "bf16"


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that lack or contradict each other."""
    custom = options.experiment == "custom"
    refusals = (
        (options.evaluate and not options.resume, "-e needs --resume FILE: the checkpoint to evaluate"),
        (custom and not options.attributes, "--experiment custom needs --attributes FILE: a name a line"),
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
            options.resume and (options.init_from or options.pretrained),
            "--resume goes on with a run, --init_from and --pretrained start one: give one of them",
        ),
        (
            options.init_from and options.pretrained,
            "--init_from and --pretrained both give the backbone's weights: give one of them",
        ),
        *(
            (reason, f"{option} {path}: {reason}")
            for option, path in (("--json", options.json), ("--log_json", options.log_json))
            if path is not None and (reason := unwritable(path))
        ),
    )
    for refused, message in refusals:
        if refused:
            parser.error(message)


def unwritable(path: str | Path) -> str | None:
    """Return why no file can be written at `path`, or None: better said before hours of work than after."""
    path = Path(path)
    if path.is_dir():
        return "that is a directory; name a file"
    if not path.parent.is_dir():
        return "there is no such directory"
    if not os.access(path.parent, os.W_OK):
        return "the directory cannot be written to"
    return None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its groups are the sections of run_scripts/README.md's table."""
    parser = argparse.ArgumentParser(
        description="Train or evaluate ALM: pedestrian attributes with attribute-specific localization.",
        epilog="Without any download: run_ALM.py --experiment synthetic",
        allow_abbrev=False,
    )
    add_published_options(parser.add_argument_group("the published program's options"))
    add_data_options(parser.add_argument_group("data"))
    add_model_options(parser.add_argument_group("model and loss"))
    add_device_options(parser.add_argument_group("device and speed"))
    add_output_options(parser.add_argument_group("output"))
    return parser


def add_published_options(group) -> None:
    """Add the published program's options: names, defaults and meaning are theirs."""
    add = group.add_argument
    names = [*EXPERIMENTS, "custom"]
    add("--experiment", required=True, choices=names, help="the data set: %(choices)s", metavar="NAME")
    add("--approach", default="inception_iccv", choices=list(APPROACHES), metavar="NAME",
        help="inception_iccv (ALM, the default) or bn_inception (its warm-up baseline)")  # fmt: skip
    add("--epochs", type=positive(int), metavar="N", help=depends("epochs", "train up to this epoch"))
    add("--batch_size", type=positive(int), metavar="N", help=depends("batch_size", "pictures a step"))
    add("--lr", "--learning-rate", type=positive(float), metavar="X",
        help=depends("lr", "learning rate before any decay"))  # fmt: skip
    add("--optimizer", choices=("adam", "sgd"), default="adam", help="default adam")
    add("--momentum", type=not_negative(float), default=0.9, metavar="X", help="of sgd; default 0.9")
    add("--weight_decay", type=not_negative(float), default=5e-4, metavar="X", help="default 0.0005")
    add("--start-epoch", type=not_negative(int), default=0, metavar="N", help="first epoch; default 0")
    add("--print_freq", type=positive(int), default=100, metavar="N",
        help="an `Epoch:` or `Test:` line every N iterations; default 100")  # fmt: skip
    add("--save_freq", type=positive(int), default=10, metavar="N",
        help="a checkpoint every N epochs, beside the last and the best; default 10")  # fmt: skip
    add("--resume", default="", metavar="FILE", help="go on from this checkpoint, ours or a published one")
    add("--decay_epoch", type=epochs, metavar='"(N,...)"',
        help=depends("decay_epoch", "learning rate x 0.1 from each of these epochs on"))  # fmt: skip
    add("--prefix", default="", metavar="TEXT", help="put before the names of the checkpoints")
    add("-e", "--evaluate", action="store_true", help="evaluate the checkpoint of --resume, and end")


def add_data_options(group) -> None:
    """Add what is read, and how."""
    add = group.add_argument
    add("--data_root", metavar="DIR", help="the data set's directory; default: as run_scripts/README.md says")
    add(
        "--train_list", metavar="FILE", help="training list, as given or relative to the data set's directory"
    )
    add("--val_list", metavar="FILE", help="evaluation list, likewise")
    add("--attributes", metavar="FILE", help="of --experiment custom: the attributes' names, one a line")
    add("--allow_missing", action="store_true",
        help="evaluate although pictures of the list are missing; the table says on how many")  # fmt: skip
    add("--cache", default="none", metavar="none|auto|DIR",
        help="keep resized pictures in one file (auto: in .alm_cache/ beside the data)")  # fmt: skip
    add("--workers", type=not_negative(int), metavar="N",
        help="processes that read pictures; default: half the cores, 4 at most")  # fmt: skip


def add_model_options(group) -> None:
    """Add what is trained, and from what start."""
    add = group.add_argument
    add("--pretrained", metavar="FILE", help="start the backbone from bn_inception-52deb4733.pth")
    add("--init_from", metavar="FILE",
        help="start the backbone and the global classifier from a checkpoint of bn_inception")  # fmt: skip
    add("--loss", choices=WEIGHTINGS, default="reference",
        help="weights in the loss: as published, as in the paper, none; default reference")  # fmt: skip
    add("--ratios", choices=("published", "list"),
        help="positive ratios: constants (peta, rap, pa100k), or the training list's")  # fmt: skip
    add("--align_corners", choices=("auto", "true", "false"), default="auto",
        help="sampling of the regions; auto: the checkpoint's, or false; default auto")  # fmt: skip
    add("--seed", type=not_negative(int), default=1, metavar="N",
        help="starting weights, order and mirroring follow from it alone; default 1")  # fmt: skip


def add_device_options(group) -> None:
    """Add where it runs."""
    add = group.add_argument
    add(
        "--device",
        choices=("auto", *DEVICES),
        default="auto",
        help="auto: the first of the others; default auto",
    )
    add("--amp", choices=("auto", "off", *PRECISIONS), default="auto",
        help="auto: fp16 on sdaa and cuda, off on the CPU (synthetic: bf16 where it has it)")  # fmt: skip
    add("--compile", action="store_true",
        help="train with torch.compile; the first iteration then takes minutes")  # fmt: skip
    add("--max_iters", type=positive(int), metavar="N", help="end each epoch after N iterations")


def add_output_options(group) -> None:
    """Add what is written beside the log on standard output."""
    add = group.add_argument
    add("--output_dir", metavar="DIR",
        help="where log and checkpoints go; default: a new one under runs/ in the repository")  # fmt: skip
    add("--json", metavar="FILE", help="write the evaluation's figures as JSON")
    add("--log_json", metavar="FILE", help="append the log as a stream of JSON events")
    add("--tensorboard", metavar="DIR", help="write scalars for TensorBoard")


def depends(name: str, text: str) -> str:
    """Return a help line with both defaults of an option."""
    published, synthetic = (str(values[name]).replace(" ", "") for values in (PUBLISHED, SYNTHETIC))
    return f"{text}; default {published}, synthetic {synthetic}"


def positive(kind: Callable) -> Callable:
    """Return a parser of finite numbers above zero."""

    def parse(text: str):
        value = kind(text)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"  # argparse: "invalid positive int value"
    return parse


def not_negative(kind: Callable) -> Callable:
    """Return a parser of finite numbers of at least zero."""

    def parse(text: str):
        value = kind(text)
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError
        return value

    parse.__name__ = f"not negative {kind.__name__}"
    return parse


def epochs(text: str) -> tuple[int, ...]:
    """Parse `(20,40)`, `20,40`, `20` or `()`. Never evaluated as code."""
    if not re.fullmatch(r"[\[(]?\s*(\d+\s*(,\s*\d+\s*)*,?)?\s*[\])]?", text.strip()):
        raise ValueError
    return tuple(sorted(int(number) for number in re.findall(r"\d+", text)))
