"""The options of run_ALM.py: one row for each, in the order of the log's argument block and of --help.

From these rows come the parser, the defaults, what a checkpoint may give back (resolve.py), the options of
locate.py and docs/cli.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, NamedTuple

from alm import APPROACHES
from alm.devices.device import is_device_name
from alm.devices.precision import PRECISIONS
from alm.models.loss import WEIGHTINGS
from alm.models.network import LATERAL_CHANNELS, LEAST_CHANNELS
from alm.training.schedule import ONE_CYCLE_WARMUP, SCHEDULES
from run_scripts.cli.parser import (
    LARGEST,
    Parser,
    below_one,
    checkpoint_file,
    device_name,
    epochs,
    file_name_part,
    is_file_name_part,
    not_negative,
    or_word,
    positive,
    whole_number,
)
from utils.data.catalog import EXPERIMENTS
from utils.io.untrusted import is_number


class Kind(NamedTuple):
    """What values an option has.

    Attributes:
        words: what a value is, in words.
        is_right: whether a value that a checkpoint gives back is such a value.
        argparse: what the parser needs to read it from the command line.
    """

    words: str
    is_right: Callable[[Any], bool]
    argparse: dict


class Trait(Flag):
    """What else holds for an option."""

    NONE = 0
    RESTORED = auto()  # --resume takes it from the checkpoint unless it is given
    STEP = auto()  # it means something for a single training step, so locate.py takes it
    DATA = auto()  # it belongs to one data set: not restored for another
    MACHINE = auto()  # another machine may lack what it names
    PLACE = auto()  # a path that is made absolute
    READ = auto()  # a file that is read, so no option may write it
    WRITTEN = auto()  # a file that is written


RESTORED, STEP, DATA, MACHINE = Trait.RESTORED, Trait.STEP, Trait.DATA, Trait.MACHINE
PLACE, READ, WRITTEN = Trait.PLACE, Trait.READ, Trait.WRITTEN


@dataclass(frozen=True)
class Option:
    """A row of the table. If the embedded data set has another default, `synthetic` is that one."""

    name: str
    kind: Kind
    help: str
    default: Any = None
    synthetic: Any = None
    traits: Trait = Trait.NONE
    spellings: tuple[str, ...] = ()
    metavar: str | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """What it is called on the command line."""
        return self.spellings or (f"--{self.name}",)

    def add_to(self, group) -> None:
        """Add the option to a parser's group."""
        words = dict(self.kind.argparse)
        if self.metavar:
            words["metavar"] = self.metavar
        group.add_argument(*self.flags, dest=self.name, help=self.help + self._defaults(), **words)

    def _defaults(self) -> str:
        if self.default is None or self.default is False or self.default == "":  # 0 is one to show
            return ""
        if self.synthetic is None:
            return f" (default: {self.default})"
        values = (str(value).replace(" ", "") for value in (self.default, self.synthetic))
        return " (default: {}, synthetic: {})".format(*values)


def is_whole(value, least: int, most: int = LARGEST) -> bool:
    """Whether this is a whole number from `least` to `most`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(least: int, most: int = LARGEST) -> Kind:
    """Return the kind of whole numbers from `least` to `most`."""
    return Kind(
        f"a whole number from {least} on",
        lambda value: is_whole(value, least, most),
        {"type": whole_number(least, most), "metavar": "N"},
    )


def whole_or(word: str, least: int) -> Kind:
    """Return the kind of whole numbers from `least` on, and a word."""
    return Kind(
        f"a whole number from {least} on, or {word}",
        lambda value: value == word or is_whole(value, least),
        {"type": or_word(word, whole_number(least)), "metavar": f"N|{word}"},
    )


def one_of(*choices: str) -> Kind:
    """Return the kind of one of some words."""
    return Kind(
        f"one of {', '.join(choices)}",
        lambda value: isinstance(value, str) and value in choices,
        {"choices": choices},
    )


def path(metavar: str, parse: Callable[[str], str] = str) -> Kind:
    """Return the kind of a path."""
    return Kind(
        "a path",
        lambda value: isinstance(value, str) and value != "" and "\0" not in value,
        {"type": parse, "metavar": metavar},
    )


def is_switch(value) -> bool:
    """Whether this is True or False."""
    return isinstance(value, bool)


AUTO = "auto"  # in the place of a file
LARGEST_SEED = 2**63 - 1
COUNT = whole(1)
ABOVE_ZERO = Kind(
    "a number above 0", lambda value: is_number(value) and value > 0, {"type": positive, "metavar": "X"}
)
NOT_NEGATIVE = Kind(
    "a number from 0 on",
    lambda value: is_number(value) and value >= 0,
    {"type": not_negative, "metavar": "X"},
)
BELOW_ONE = Kind(
    "a number from 0 to below 1",
    lambda value: is_number(value) and 0 <= value < 1,
    {"type": below_one, "metavar": "X"},
)
EPOCHS = Kind(
    "epochs",
    lambda value: isinstance(value, tuple) and all(is_whole(epoch, 0) for epoch in value),
    {"type": epochs, "metavar": '"(N,...)"'},
)
PREFIX = Kind(
    "part of a file name",
    lambda value: isinstance(value, str) and is_file_name_part(value),
    {"type": file_name_part, "metavar": "TEXT"},
)
SWITCH = Kind("True or False", is_switch, {"action": "store_true"})
ON_OFF = Kind("True or False", is_switch, {"action": argparse.BooleanOptionalAction})
BACKBONE = Kind("a name", lambda value: isinstance(value, str), {"metavar": "NAME"})
DEVICE = Kind(
    "auto, sdaa, cuda or cpu, or a numbered one, as in cuda:1",
    lambda value: isinstance(value, str) and is_device_name(value),
    {"type": device_name, "metavar": "NAME"},
)
FILE, DIR = path("FILE"), path("DIR")
CHECKPOINT = path("FILE", checkpoint_file)

# What --recipe sets, each option unless it is given.
RECIPES = {
    "published": {},
    "modern": {
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.05,
        "schedule": "onecycle",
        "adjust": 0.5,
        "clip_grad": 5.0,
        "augment": "crop",
    },
}
MODERN = ", ".join(f"--{name} {value}" for name, value in RECIPES["modern"].items())

# A row: name, kind, help, default, then by name the synthetic set's default, traits, other spellings.
GROUPS = {
    "the published program's options": (
        Option("experiment", one_of(*EXPERIMENTS, "custom"), "the data set: %(choices)s. Required unless "
               "--resume names a checkpoint of ours", traits=RESTORED | STEP, metavar="NAME"),
        Option("approach", one_of(*APPROACHES), "inception_iccv, or alm: ALM. bn_inception, or baseline: the "
               "baseline that the authors warm up with", "inception_iccv", traits=RESTORED | STEP,
               metavar="NAME"),
        Option("epochs", COUNT, "train until N epochs are done", 60, synthetic=2, traits=RESTORED),
        Option("batch_size", COUNT, "pictures per step", 32, synthetic=16, traits=RESTORED | STEP),
        Option("lr", ABOVE_ZERO, "learning rate before any decay, the highest one of a schedule", 1e-4,
               synthetic=3e-4, traits=RESTORED | STEP, spellings=("--lr", "--learning-rate")),
        Option("optimizer", one_of("adam", "sgd", "adamw"), "how weights are updated", "adam",
               traits=RESTORED | STEP),
        Option("momentum", NOT_NEGATIVE, "momentum of sgd", 0.9, traits=RESTORED | STEP),
        Option("weight_decay", NOT_NEGATIVE, "weight decay, in the gradient; of adamw apart from it", 5e-4,
               traits=RESTORED | STEP),
        Option("start_epoch", whole(0), "start at this epoch, counted from 0. By default 0, or with --resume "
               "the epoch after the checkpoint's", spellings=("--start-epoch",)),
        Option("print_freq", COUNT, "print an `Epoch:` or `Test:` line every N iterations", 100,
               traits=RESTORED),
        Option("save_freq", COUNT, "save a checkpoint every N epochs, besides the last one and the best one",
               10, traits=RESTORED),
        Option("save_every_iters", COUNT, "also save a checkpoint every N iterations. Useful if an epoch "
               "takes hours", traits=RESTORED),
        Option("keep", whole_or("all", 1), "keep only the newest N epoch checkpoints and the newest N "
               "iteration checkpoints; `all` keeps every one. last.pth.tar and best.pth.tar always stay", 3,
               traits=RESTORED),
        Option("resume", path("FILE|auto", or_word(AUTO, checkpoint_file)), "continue from this "
               "checkpoint, ours or a published one. auto: continue from the newest good one in "
               "--output_dir, or start a new run if there is none", "", traits=STEP | READ),
        Option("decay_epoch", EPOCHS, "multiply the learning rate by 0.1 at the start of each of these "
               "epochs", (20, 40), synthetic=(), traits=RESTORED),
        Option("prefix", PREFIX, "start the names of the checkpoints with TEXT", "", traits=RESTORED),
        Option("evaluate", SWITCH, "evaluate the checkpoint of --resume, and do not train", False,
               spellings=("-e", "--evaluate")),
    ),
    "data": (
        Option("data_root", DIR, "the data set's directory. By default $ALM_DATA_ROOT, or else "
               "/data/teco-data/NAME", traits=RESTORED | STEP | DATA | MACHINE | PLACE),
        Option("train_list", FILE, "training list: a path, or a name in the data set's directory",
               traits=RESTORED | STEP | DATA | MACHINE | PLACE | READ),
        Option("val_list", FILE, "evaluation list, named in the same way",
               traits=RESTORED | DATA | MACHINE | PLACE | READ),
        Option("attributes", FILE, "with --experiment custom: the attributes' names, one per line",
               traits=STEP | READ),
        Option("allow_missing", ON_OFF, "evaluate even if some listed pictures are missing. The results "
               "table shows how many were used", False, traits=RESTORED | STEP | DATA),
        Option("follow_links", SWITCH, "open pictures even if a link leads outside the data set's directory",
               False, traits=STEP),
        Option("cache", path("none|auto|DIR"), "keep the resized pictures in one file in DIR, so that later "
               "runs read faster. auto: in .alm_cache/ beside the data", "none", traits=STEP | PLACE),
        Option("on_bad_image", one_of("error", "skip"), "what to do with an unreadable training picture. "
               "error: stop the run. skip: use the next readable picture in its place, and log it", "error",
               traits=RESTORED | STEP),
        Option("force", SWITCH, "continue even if the lists have other pictures or labels than the "
               "checkpoint was trained with", False, traits=STEP),
        Option("workers", whole_or("auto", 0), "processes that read pictures. auto: half the CPU cores, at "
               "most 4", "auto", traits=RESTORED | STEP),
    ),
    "model and loss": (
        Option("backbone", BACKBONE, "bn_inception, or any model of timm that has maps at the strides 8, 16 "
               "and 32", "bn_inception", traits=RESTORED | STEP),
        Option("width", whole(LEAST_CHANNELS, 4096), "channels of ALM's lateral layers, and so the size of "
               "its heads", LATERAL_CHANNELS, traits=RESTORED | STEP),
        Option("pretrained", path("FILE|auto", or_word(AUTO, checkpoint_file)), "start the backbone from "
               "these weights: of bn_inception the published bn_inception-52deb4733.pth, of others timm's "
               "state dict, .pth or .safetensors. auto: from ImageNet weights that a package has, or timm",
               traits=STEP | READ),
        Option("init_from", CHECKPOINT, "start a new training from all weights that fit in this checkpoint, "
               "ours or a published one", traits=STEP | READ),
        Option("loss", one_of(*WEIGHTINGS), "weights in the loss. reference: as the published program has "
               "them. paper: as the paper has them. none: all equal", "reference", traits=RESTORED | STEP),
        Option("ratios", one_of("published", "list"), "source of the positive ratios. published: the "
               "published constants, the default of data sets that have them. list: the training list, the "
               "default of the others", traits=RESTORED | STEP | DATA),
        Option("on_nonfinite", one_of("stop", "skip"), "what to do if a loss or a gradient is not finite. "
               "stop: end the run. skip: leave out the step, and log it", "stop", traits=RESTORED),
        Option("align_corners", one_of("auto", "true", "false"), "how regions are sampled. auto: as the "
               "checkpoint was trained, or false without one", "auto", traits=RESTORED | STEP),
        Option("seed", whole(0, LARGEST_SEED), "seed of the starting weights, the order of the pictures, and "
               "how they are augmented", 1, traits=RESTORED | STEP),
        Option("runs", whole(2), "train N times, one run after the other, with the seeds --seed, --seed + 1, "
               "... Each run has a directory in --output_dir. At the end print the mean and the standard "
               "deviation of each figure"),
    ),
    "recipe": (
        Option("recipe", one_of(*RECIPES), "other defaults for some options. published: none. modern: "
               f"{MODERN}", "published", traits=RESTORED | STEP),
        Option("schedule", one_of(*SCHEDULES), "what the learning rate does. step: it falls at "
               "--decay_epoch. cosine: it falls to 0 along half a cosine. onecycle: the same, behind a "
               "warm-up", "step", traits=RESTORED),
        Option("warmup", BELOW_ONE, "the share of the training in which the learning rate first rises. By "
               f"default 0, of onecycle {ONE_CYCLE_WARMUP}", traits=RESTORED),
        Option("head_lr", ABOVE_ZERO, "highest learning rate of what is not backbone. By default --lr",
               traits=RESTORED | STEP),
        Option("freeze", whole(0), "leave the backbone's first N stages as they are, their batch statistics "
               "too", 0, traits=RESTORED | STEP),
        Option("adjust", NOT_NEGATIVE, "add X log(r / (1 - r)) to each logit in the loss, r the attribute's "
               "positive ratio, so that rare attributes are found more often. 1 aims at mA alone",
               0.0, traits=RESTORED | STEP),
        Option("clip_grad", NOT_NEGATIVE, "scale a step's gradients down if their norm is larger than X. "
               "0: never", 0.0, traits=RESTORED | STEP),
        Option("augment", one_of("flip", "crop"), "what is random in a training picture. flip: half of "
               "them are mirrored. crop: each is moved by up to 10 pixels each way, too", "flip",
               traits=RESTORED | STEP),
        Option("ema", BELOW_ONE, "evaluate, and predict with, a moving average of the weights; X, such as "
               "0.999, is its decay per step. 0: the weights themselves", 0.0,
               traits=RESTORED | STEP),
    ),
    "device and speed": (
        Option("device", DEVICE, "where to compute: sdaa, cuda or cpu, or one of several, as in cuda:1. "
               "auto: the first that works here", "auto", traits=RESTORED | STEP | MACHINE),
        Option("amp", one_of("auto", "off", *PRECISIONS), "mixed precision. auto: fp16 on sdaa, bf16 or fp16 "
               "on cuda, off on the CPU (synthetic: bf16 if the CPU computes in it)", "auto",
               traits=RESTORED | STEP | MACHINE),
        Option("compile", ON_OFF, "train with torch.compile. The first iteration then takes minutes", False,
               traits=RESTORED),
        Option("accumulate", COUNT, "compute each batch in N parts, one after another, if it does not fit in "
               "memory. Batch normalization then has the statistics of a part", 1, traits=RESTORED),
        Option("max_iters", whole_or("all", 1), "end each epoch after N iterations, for a trial. --resume "
               "does not take it from the checkpoint", "all"),
    ),
    "several processes, started with torchrun": (
        Option("sync_bn", ON_OFF, "normalize by the statistics of all processes' pictures, as one process "
               "would. By default each has its own", False, traits=RESTORED),
        Option("timeout", ABOVE_ZERO, "end if another process does not answer for X minutes", 30),
        Option("log_ranks", SWITCH, "let process r write the same lines as `rank : r` to train.<r>.log in "
               "the run's directory", False),
    ),
    "output": (
        Option("output_dir", DIR, "directory of the log and the checkpoints. By default the directory of "
               "the --resume checkpoint if that is its last one, or else a new one under runs/"),
        Option("json", FILE, "write the last evaluation's figures as JSON; with --runs those of all runs",
               traits=PLACE | WRITTEN),
        Option("predictions", FILE, "with -e: write each picture's path and logits as CSV, for compare.py",
               traits=PLACE | WRITTEN),
        Option("calibrate", FILE, "with -e and --val_list: choose each attribute's threshold by balanced "
               "accuracy on that list, and write them for predict.py", traits=PLACE | WRITTEN),
        Option("threshold", FILE, "with -e: predict an attribute above its threshold in this file of "
               "--calibrate, not above 0.5", traits=PLACE | READ),
        Option("report", FILE, "write a report of each evaluation as one HTML file. A later one replaces it",
               traits=PLACE | WRITTEN),
        Option("fingerprint", FILE, "write a summary of every layer's output and gradient in the first "
               "iterations, for locate.py", traits=PLACE | WRITTEN),
        Option("fingerprint_iters", COUNT, "number of iterations for --fingerprint", 2),
        Option("log_json", FILE, "append the log as a stream of JSON events", traits=PLACE | WRITTEN),
        Option("tensorboard", DIR, "write scalars for TensorBoard", traits=PLACE),
    ),
}  # fmt: skip
OPTIONS = {option.name: option for group in GROUPS.values() for option in group}
# None stands for a default that depends on other options.
DEFAULTS = {name: None if row.synthetic is not None else row.default for name, row in OPTIONS.items()}


def names(trait: Trait) -> tuple[str, ...]:
    """Return the names of the options with a trait."""
    return tuple(name for name, option in OPTIONS.items() if trait in option.traits)


def build_parser() -> Parser:
    """Return the parser. It has no defaults, because what is not typed may come from a checkpoint."""
    parser = Parser(
        "Train or evaluate ALM: pedestrian attributes with attribute-specific localization.",
        epilog="Without any download: run_ALM.py --experiment synthetic. With --resume, options that you do "
        "not give are as in the checkpoint.",
        argument_default=argparse.SUPPRESS,
    )
    for title, rows in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in rows:
            option.add_to(group)
    return parser
