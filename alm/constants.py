"""Numbers and names that more than one room needs. Needs no torch."""

from typing import NamedTuple

HEIGHT, WIDTH = 256, 128  # of the network's input, in pixels
UNKNOWN = 2  # a label that counts neither way: not in the loss, not in a ratio, not in a figure
MAX_ATTRIBUTES = 1000
THRESHOLD = 0.5  # of a probability, in the paper's figures

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, as published

LEVELS = ("3b", "4d", "5b")  # of BN-Inception, fine to coarse; a file without `levels` has these
STRIDES = (8, 16, 32)  # of the levels, fine to coarse: pixels of the network's input in one cell of the map
GLOBAL = "main"  # the branch that looks at the whole picture
EVIDENCE = "evidence_{}"  # the name of a branch's evidence in an exported file


class Tap(NamedTuple):
    """A map of a backbone on which attributes are localized."""

    name: str
    channels: int
    stride: int  # pixels of the input in one cell


TORCHRUN = "TORCHELASTIC_RUN_ID"  # in the environment of its processes, and of no other launcher's
PATIENCE = 2.0  # seconds before a rank ends if another one says why: torchrun ends the others at once

# Names of the files in a run's directory.
BEST, LAST = "best.pth.tar", "last.pth.tar"
OPTIONS, LOG, METRICS = "options.json", "train.log", "metrics.jsonl"
RANK_LOG = "train.{}.log"
LATER_OPTIONS = "options.jsonl"  # of the run's later starts, one line each
# A file while it is written has this name beside its place. Names may have 255 bytes, so 50 characters stay.
TEMPORARY, KEPT = ".{name}.{unique}.tmp", 50
