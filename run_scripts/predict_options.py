"""The options of predict.py."""

import argparse

from alm.devices.host import default_threads
from alm.inference.prediction import BATCH_SIZE
from run_scripts.cli.parser import Parser, number, refuse_inputs_as_outputs, whole_number
from utils.data.catalog import EXPERIMENTS
from utils.io.atomic import unwritable
from utils.prediction.sources import is_picture
from utils.prediction.writers import STANDARD_OUTPUT

WORKERS = 2
MOST_THREADS = 1024
CONVENTIONS = {"auto": None, "true": True, "false": False}


def parse_options() -> argparse.Namespace:
    """Return the options. Exits with status 2 on a wrong one."""
    parser = build_parser()
    options = parser.parse_args()
    if not options.paths and not options.benchmark:
        parser.error("name at least one PATH: a picture, a folder or a list")
    for name in ("batch_size", "workers", "threshold", "csv", "json", "regions", "attributes"):
        if options.benchmark and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} has no meaning for --benchmark; leave one of them out")
    options.align_corners = CONVENTIONS[options.align_corners]
    if options.experiment and options.names:
        parser.error("--experiment and --names both name the attributes: give one of them")
    if options.attributes and not options.regions:
        parser.error("--attributes says what --regions draws: give both, or neither")
    if options.csv == options.json == STANDARD_OUTPUT:
        parser.error("--csv and --json cannot both go to standard output: name a file for one of them")
    named = (("csv", options.csv), ("json", options.json))
    written = {name: path for name, path in named if path not in (None, STANDARD_OUTPUT)}
    threshold_file = options.threshold if isinstance(options.threshold, str) else None
    inputs = [options.checkpoint, options.names, threshold_file, *options.paths]
    refuse_inputs_as_outputs(parser, inputs, **written)
    for name, path in written.items():
        if reason := unwritable(path):
            parser.error(f"--{name} {path}: {reason}")
        if is_picture(path):
            parser.error(f"--{name} {path}: that is a picture's name; name another file")
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its groups are the sections of run_scripts/README.md's table."""
    parser = Parser(
        "Predict the attributes of pictures, and show where each was looked for.",
        epilog="Without --csv and --json, the attributes found are printed, by the part of the body.",
    )
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*",
        help="pictures, folders with all that is in them, patterns such as '*.jpg', lists, with labels or "
        "without, or - for paths on standard input, one a line")  # fmt: skip
    add(
        "--checkpoint",
        metavar="FILE",
        required=True,
        help="what predicts: ours, a published one, or an .onnx file of export.py",
    )
    add("--benchmark", action="store_true",
        help="instead of predicting, time what can be made of the checkpoint (PyTorch, ONNX, 8-bit integers) "
        "side by side, on these pictures or on drawn ones")  # fmt: skip
    add_reading(parser.add_argument_group("what is read"))
    add_output(parser.add_argument_group("what is written"))
    return parser


def add_reading(group) -> None:
    """Add what is read, and how."""
    add = group.add_argument
    add("--experiment", metavar="NAME", choices=tuple(EXPERIMENTS),
        help="the data set whose attributes a published checkpoint predicts, which does not name them: "
        "%(choices)s; default: the one that has as many")  # fmt: skip
    add("--names", metavar="FILE", help="the same by name, one a line")
    add("--data_root", metavar="DIR",
        help="what the paths in lists, and on standard input, are relative to; default: the list's "
        "folder")  # fmt: skip
    add("--follow_links", action="store_true",
        help="let links in --data_root lead to pictures outside of it")  # fmt: skip
    add("--as_trained", action="store_true",
        help="leave pictures as they are stored, as training does; by default they are turned as their EXIF "
        "orientation says")  # fmt: skip
    add("--align_corners", choices=tuple(CONVENTIONS), default="auto",
        help="sampling of the regions; auto, the default: as the checkpoint was trained")  # fmt: skip
    add(
        "--device",
        metavar="NAME",
        default="auto",
        help="sdaa, cuda or cpu; auto, the default: the first there is",
    )
    add("--batch_size", metavar="N", type=whole_number(1), default=BATCH_SIZE,
        help="pictures at once; default %(default)s")  # fmt: skip
    add("--workers", metavar="N", type=whole_number(1), default=WORKERS,
        help="threads that read pictures; default %(default)s")  # fmt: skip
    add("--threads", metavar="N", type=whole_number(1, MOST_THREADS), default=default_threads(),
        help="threads that compute on the CPU, in torch or onnxruntime; default: OMP_NUM_THREADS, or the "
        "cores that may be used, here %(default)s")  # fmt: skip


def add_output(group) -> None:
    """Add what is written."""
    add = group.add_argument
    add("--threshold", metavar="X|FILE", type=share_or_file,
        help="above which probability an attribute is found; default 0.5, or what an .onnx file says. Or a "
        "file with one for each, which run_ALM.py -e --calibrate writes")  # fmt: skip
    add(
        "--csv",
        metavar="FILE",
        help="write all probabilities and regions, a line a picture; - for standard output",
    )
    add("--json", metavar="FILE", help="the same as JSON, an object a line")
    add("--regions", metavar="DIR",
        help="draw for each picture where its attributes were looked for, into a new directory")  # fmt: skip
    add("--attributes", metavar="NAMES", type=split_names,
        help="which ones to draw, separated by commas; default: those that are found")  # fmt: skip


def share_or_file(text: str) -> float | str:
    """Parse a number from 0 to 1, or a file's name."""
    try:
        float(text)
    except ValueError:
        return text
    return number(text, "from 0 to 1", lambda value: 0 <= value <= 1)


def split_names(text: str) -> list[str]:
    """Parse names separated by commas."""
    names = [name for part in text.split(",") if (name := " ".join(part.split()))]
    if not names:
        raise argparse.ArgumentTypeError("give names, separated by commas")
    return list(dict.fromkeys(names))
