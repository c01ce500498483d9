"""Prepare data sets.

python prepare_data.py peta --source "PETA dataset" --output DIR          lists from an official download
python prepare_data.py rap --annotation RAP_annotation.mat --output DIR
python prepare_data.py pa100k --annotation annotation.mat --output DIR
python prepare_data.py csv --table labels.csv --output DIR                lists from your own table
python prepare_data.py synthetic                                  draw the embedded data set
python prepare_data.py synthetic --labels LIST --output DIR       draw a picture for each row of a PETA list
python prepare_data.py check DIR                                  what is there, and can training start?
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.prepare_data")

import argparse
import shlex
from pathlib import Path

from run_scripts.cli.parser import Parser, refuse_inputs_as_outputs, whole_number
from run_scripts.prepare_options import add_csv, add_official
from utils.data.catalog import EXPERIMENTS, Experiment, read_names
from utils.errors import DataError
from utils.io.atomic import unwritable, write_json
from utils.io.process import tell
from utils.synthetic import draw_list, ensure_dataset


def main() -> None:
    """Parse and prepare; each subcommand sets `prepare`, the function that does its work."""
    options = build_parser().parse_args()
    options.prepare(options)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = Parser("Prepare data sets for run_ALM.py.")
    subcommands = parser.add_subparsers(metavar="DATA", required=True)
    add_official(subcommands)
    add_csv(subcommands)
    add_synthetic(subcommands)
    add_check(subcommands)
    return parser


def add_synthetic(subcommands) -> None:
    """Add the subcommand `synthetic`."""
    parser = subcommands.add_parser("synthetic", help="draw pedestrians with PETA's 35 attributes")
    add = parser.add_argument
    add("--output", metavar="DIR", type=Path, default=EXPERIMENTS["synthetic"].root,
        help="directory to draw in (default: data/synthetic under the repository)")  # fmt: skip
    add("--seed", metavar="N", type=whole_number(0), default=1, help="seed of the drawing (default: 1)")
    add("--labels", metavar="LIST", type=Path,
        help="draw a picture for each row of this list in PETA's format, under the list's names")  # fmt: skip
    add("--limit", metavar="N", type=whole_number(1), help="draw only the first N rows of --labels")
    parser.set_defaults(prepare=lambda options: prepare_synthetic(options, parser))


def prepare_synthetic(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Draw the embedded data set, or the pictures of a list."""
    if options.labels:
        count = draw_list(options.labels, options.output, options.seed, limit=options.limit)
        tell(f"{count} pictures drawn in {options.output}")
    elif options.limit:
        parser.error("--limit counts the rows of a list; name it with --labels")
    else:
        ensure_dataset(options.output, seed=options.seed)
        tell(f"the synthetic data set is in {options.output}")


def add_check(subcommands) -> None:
    """Add the subcommand `check`."""
    parser = subcommands.add_parser("check", help="open all pictures of a data set and say what is there")
    add = parser.add_argument
    add("paths", metavar="DIR|LIST", type=Path, nargs="+",
        help="the data set's directory, or a list, or the training list and the evaluation list")  # fmt: skip
    add("--data_root", metavar="DIR", type=Path,
        help="what the lists' paths are relative to (default: where the first list lies)")  # fmt: skip
    add("--follow_links", action="store_true",
        help="open pictures to which a link leads outside of that directory")  # fmt: skip
    data_set = parser.add_mutually_exclusive_group()
    data_set.add_argument("--experiment", metavar="NAME", choices=list(EXPERIMENTS),
        help="the data set: %(choices)s (default: as the lists are named)")  # fmt: skip
    data_set.add_argument("--attributes", metavar="FILE",
        help="the attributes' names, one a line, of a data set of one's own")  # fmt: skip
    add("--json", metavar="FILE", type=Path, help="write everything there, for machines")
    add("--plot", metavar="FILE", type=Path, help="draw the pictures' sizes and the attributes' ratios")
    parser.set_defaults(prepare=lambda options: check_data(options, parser))


def check_data(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print what is there, and what to type next. Raises DataError where training would fail."""
    # These import torch, which takes seconds and which no other subcommand needs.
    from utils.prepare.check import check, find_lists
    from utils.prepare.check_report import plot_check, problems, record, report

    for option, path in (("--json", options.json), ("--plot", options.plot)):
        if path and (reason := unwritable(path)):
            parser.error(f"{option} {path}: {reason}")
    given = EXPERIMENTS[options.experiment] if options.experiment else None
    if options.attributes:
        given = Experiment("custom", Path(), read_names(options.attributes))
    experiment, lists = find_lists(options.paths, given)
    inputs = *lists.values(), options.attributes
    refuse_inputs_as_outputs(parser, inputs, json=options.json, plot=options.plot)
    first = options.paths[0]
    root = options.data_root or (first if first.is_dir() else first.parent)
    found = check(root, experiment, lists, options.follow_links)
    tell(*report(found))
    if options.json:
        write_json(options.json, record(found))
    if options.plot:
        plot_check(found, options.plot)
    if any(problems(found)):
        purpose = "training" if "train" in found.lists else "an evaluation"
        raise DataError(f"{purpose} would fail; see the problems above")
    tell(f"Next: {next_command(found, options)}")


def next_command(found, options: argparse.Namespace) -> str:
    """Return how training starts on what was checked, or evaluation where there is no training list."""
    name = found.experiment.name if found.experiment else "custom"
    words = ["python", "run_ALM.py", "--experiment", name, "--data_root", str(found.root)]
    if name == "custom":
        words += ["--attributes", options.attributes or "NAMES.txt"]
    if name == "custom" or not options.paths[0].is_dir():
        for part, option in (("train", "--train_list"), ("test", "--val_list")):
            words += [option, str(found.lists[part].path)] if part in found.lists else []
    if options.follow_links:
        words += ["--follow_links"]
    if "train" not in found.lists:
        words += ["-e", "--resume", "CHECKPOINT"]
    return shlex.join(words)
