"""The options of run_ALM.py and their defaults: the published program's under their names, and ours."""

import argparse

from alm import APPROACHES
from alm.devices.device import DEVICES
from alm.devices.precision import PRECISIONS
from alm.models.loss import WEIGHTINGS
from run_scripts.cli.parser import (
    Parser,
    checkpoint_file,
    epochs,
    file_name_part,
    not_negative,
    or_word,
    positive,
    whole_number,
)
from utils.data.catalog import EXPERIMENTS

# In the order in which the log lists them.
DEFAULTS = {
    "experiment": None,
    "approach": "inception_iccv",
    "epochs": None,
    "batch_size": None,
    "lr": None,
    "optimizer": "adam",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "start_epoch": None,
    "print_freq": 100,
    "save_freq": 10,
    "save_every_iters": None,
    "keep": 3,
    "resume": "",
    "decay_epoch": None,
    "prefix": "",
    "evaluate": False,
    "data_root": None,
    "train_list": None,
    "val_list": None,
    "attributes": None,
    "allow_missing": False,
    "follow_links": False,
    "cache": "none",
    "on_bad_image": "error",
    "force": False,
    "workers": "auto",
    "pretrained": None,
    "init_from": None,
    "loss": "reference",
    "ratios": None,
    "on_nonfinite": "stop",
    "align_corners": "auto",
    "seed": 1,
    "device": "auto",
    "amp": "auto",
    "compile": False,
    "max_iters": None,
    "output_dir": None,
    "json": None,
    "predictions": None,
    "calibrate": None,
    "report": None,
    "fingerprint": None,
    "fingerprint_iters": 2,
    "log_json": None,
    "tensorboard": None,
}
CHOICES = {
    "experiment": (*EXPERIMENTS, "custom"),
    "approach": tuple(APPROACHES),
    "optimizer": ("adam", "sgd"),
    "loss": WEIGHTINGS,
    "ratios": ("published", "list"),
    "align_corners": ("auto", "true", "false"),
    "on_bad_image": ("error", "skip"),
    "on_nonfinite": ("stop", "skip"),
    "device": ("auto", *DEVICES),
    "amp": ("auto", "off", *PRECISIONS),
}
AUTO = "auto"  # of --resume
LARGEST_SEED = 2**63 - 1
# Defaults that depend on the experiment: the published program's, and those of the embedded data set.
PUBLISHED = {"epochs": 60, "batch_size": 32, "lr": 1e-4, "decay_epoch": (20, 40)}
SYNTHETIC = {"epochs": 2, "batch_size": 16, "lr": 3e-4, "decay_epoch": ()}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options that are named, and no others. Exits with status 2 on a wrong one."""
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser, without defaults; its groups are the sections of run_scripts/README.md's table."""
    parser = Parser(
        "Train or evaluate ALM: pedestrian attributes with attribute-specific localization.",
        epilog="Without any download: run_ALM.py --experiment synthetic. With --resume, options that are not "
        "named are as in the checkpoint.",
        argument_default=argparse.SUPPRESS,
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
    add("--experiment", choices=CHOICES["experiment"], metavar="NAME",
        help="the data set: %(choices)s; needed, but with --resume")  # fmt: skip
    add("--approach", choices=CHOICES["approach"], metavar="NAME",
        help="inception_iccv (ALM, the default) or bn_inception (its warm-up baseline)")  # fmt: skip
    add("--epochs", type=whole_number(1), metavar="N", help=depends("epochs", "train up to this epoch"))
    add("--batch_size", type=whole_number(1), metavar="N", help=depends("batch_size", "pictures a step"))
    add("--lr", "--learning-rate", type=positive, metavar="X",
        help=depends("lr", "learning rate before any decay"))  # fmt: skip
    add("--optimizer", choices=CHOICES["optimizer"], help="default adam")
    add("--momentum", type=not_negative, metavar="X", help="of sgd; default 0.9")
    add("--weight_decay", type=not_negative, metavar="X", help="default 0.0005")
    add("--start-epoch", type=whole_number(0), metavar="N",
        help="first epoch, counted from 0; default 0, with --resume the checkpoint's next")  # fmt: skip
    add("--print_freq", type=whole_number(1), metavar="N",
        help="an `Epoch:` or `Test:` line every N iterations; default 100")  # fmt: skip
    add("--save_freq", type=whole_number(1), metavar="N",
        help="keep a checkpoint every N epochs, beside the last and the best; default 10")  # fmt: skip
    add("--save_every_iters", type=whole_number(1), metavar="N",
        help="and one every N iterations, for long epochs")  # fmt: skip
    add("--keep", type=or_word("all", whole_number(1)), metavar="N|all",
        help="how many of either stay, the newest; default 3")  # fmt: skip
    add("--resume", type=or_word(AUTO, checkpoint_file), metavar="FILE|auto",
        help="go on from this checkpoint, ours or a published one; auto: from the newest good one in "
        "--output_dir, and where there is none, start")  # fmt: skip
    add("--decay_epoch", type=epochs, metavar='"(N,...)"',
        help=depends("decay_epoch", "learning rate x 0.1 from each of these epochs on"))  # fmt: skip
    add("--prefix", type=file_name_part, metavar="TEXT", help="put before the names of the checkpoints")
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
    add("--allow_missing", action=argparse.BooleanOptionalAction,
        help="evaluate although pictures of the list are missing; the table says on how many")  # fmt: skip
    add("--follow_links", action="store_true",
        help="open pictures to which a link leads outside of the data set's directory")  # fmt: skip
    add("--cache", metavar="none|auto|DIR",
        help="keep resized pictures in one file, auto: in .alm_cache/ beside the data")  # fmt: skip
    add("--on_bad_image", choices=CHOICES["on_bad_image"],
        help="a training picture that cannot be read ends the run, or the next one stands for it; default "
        "error")  # fmt: skip
    add("--force", action="store_true",
        help="go on although the lists have other pictures or labels than the checkpoint's")  # fmt: skip
    add("--workers", type=or_word("auto", whole_number(0)), metavar="N|auto",
        help="processes that read pictures; auto, the default: half the cores, 4 at most")  # fmt: skip


def add_model_options(group) -> None:
    """Add what is trained, and from what start."""
    add = group.add_argument
    add("--pretrained", type=checkpoint_file, metavar="FILE",
        help="start the backbone from bn_inception-52deb4733.pth")  # fmt: skip
    add("--init_from", type=checkpoint_file, metavar="FILE",
        help="start a new training from what fits of any checkpoint, ours or a published one")  # fmt: skip
    add("--loss", choices=CHOICES["loss"],
        help="weights in the loss: as published, as in the paper, none; default reference")  # fmt: skip
    add("--ratios", choices=CHOICES["ratios"],
        help="positive ratios: constants (peta, rap, pa100k), or the training list's")  # fmt: skip
    add("--on_nonfinite", choices=CHOICES["on_nonfinite"],
        help="a loss that is not finite ends the run, or its step is left out; default stop")  # fmt: skip
    add("--align_corners", choices=CHOICES["align_corners"],
        help="sampling of the regions; auto: the checkpoint's, or false; default auto")  # fmt: skip
    add("--seed", type=whole_number(0, LARGEST_SEED), metavar="N",
        help="starting weights, order and mirroring follow from it alone; default 1")  # fmt: skip


def add_device_options(group) -> None:
    """Add where it runs."""
    add = group.add_argument
    add("--device", choices=CHOICES["device"], help="auto: the first of the others; default auto")
    add("--amp", choices=CHOICES["amp"],
        help="auto: fp16 on sdaa, bf16 or fp16 on cuda, off on the CPU (synthetic: bf16)")  # fmt: skip
    add("--compile", action=argparse.BooleanOptionalAction,
        help="train with torch.compile; the first iteration then takes minutes")  # fmt: skip
    add("--max_iters", type=whole_number(1), metavar="N", help="end each epoch after N iterations")


def add_output_options(group) -> None:
    """Add what is written beside the log on standard output."""
    add = group.add_argument
    add("--output_dir", metavar="DIR", help="where log and checkpoints go; default: where --resume's lie, "
        "if it is the last there, else a new one under runs/ in the repository")  # fmt: skip
    add("--json", metavar="FILE", help="write the evaluation's figures as JSON")
    add("--predictions", metavar="FILE",
        help="with -e: write each picture's path and logits as CSV, for compare.py")  # fmt: skip
    add("--calibrate", metavar="FILE",
        help="with -e and a --val_list: write each attribute's threshold of best balanced accuracy on it, "
        "for predict.py")  # fmt: skip
    add("--report", metavar="FILE",
        help="write each evaluation's report as one HTML file; the last one stays")  # fmt: skip
    add("--fingerprint", metavar="FILE",
        help="write what each layer and gradient is in the first iterations, for locate.py")  # fmt: skip
    add("--fingerprint_iters", type=whole_number(1), metavar="N", help="how many iterations; default 2")
    add("--log_json", metavar="FILE", help="append the log as a stream of JSON events")
    add("--tensorboard", metavar="DIR", help="write scalars for TensorBoard")


def depends(name: str, text: str) -> str:
    """Return a help line with both defaults of an option."""
    published, synthetic = (str(values[name]).replace(" ", "") for values in (PUBLISHED, SYNTHETIC))
    return f"{text}; default {published}, synthetic {synthetic}"
