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
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from run_scripts.cli.parser import Parser, check_outputs, number, whole_number
from utils.data.catalog import EXPERIMENTS, Experiment, read_names
from utils.errors import DataError
from utils.io.atomic import write_json
from utils.io.phrases import counted
from utils.io.process import tell
from utils.prepare.check import Check, check, find_lists
from utils.prepare.check_report import plot_check, problems, record, report
from utils.prepare.commands import (
    PARTITION,
    SEED,
    TEST_SHARE,
    prepare_csv,
    prepare_pa100k,
    prepare_peta,
    prepare_rap,
    training_script,
)
from utils.prepare.table import plain
from utils.synthetic import draw_list, ensure_dataset


def main() -> None:
    """Parse and prepare; each subcommand sets `work`, which yields lines, and `parser`, itself."""
    options = build_parser().parse_args()
    for line in options.work(options):
        tell(line)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("Prepare data sets for run_ALM.py.")
    subcommands = parser.add_subparsers(metavar="DATA", required=True)
    for add in (add_peta, add_rap, add_pa100k, add_csv, add_synthetic, add_check):
        add(subcommands)
    return parser


# The subcommands that write lists.

SHARED = {  # options of several of them
    "--source": {"metavar": "DIR", "type": Path,
        "help": "the pictures' folder, or one that holds it. Every picture must be there"},
    "--seed": {"metavar": "N", "type": whole_number(0), "help": f"seed of a random split (default: {SEED})"},
    "--partition": {"metavar": "K", "type": whole_number(0),
        "help": f"number of the annotation's split, counted from 0 (default: {PARTITION})"},
    "--separate-val": {"action": "store_true",
        "help": "write a list of the validation pictures. Without it they end the training list"},
    "--attributes": {"metavar": "NAME", "nargs": "+",
        "help": "official names, a file with one per line, or `all`, for --experiment custom "
        "(default: the published ones)"},
}  # fmt: skip


def add_peta(subcommands) -> None:
    parser = add_lists(subcommands, "peta", peta, "lists of PETA, from its archive, PETA.mat or both")
    add = parser.add_argument
    add("--source", metavar="DIR", type=Path, help="the unpacked archive, `PETA dataset`")
    add("--annotation", metavar="FILE", type=Path,
        help="PETA.mat: split by one of its partitions; without --source, the lists name "
        "images/00001.png, ...")  # fmt: skip
    add("--split", metavar="FILE", type=Path, nargs="+",
        help="split by existing lists: training and test, or training, val and test")  # fmt: skip
    add("--identity-split", action="store_true", help="split at random, and put nobody into both lists")
    add_shared(parser, "--seed")
    add("--link", action="store_true", help="link the pictures into --output, as PETA_dataset")
    add_shared(parser, "--partition", "--separate-val", "--attributes")


def peta(options: Namespace) -> Iterator[str]:
    """Write PETA's lists, unless options contradict each other."""
    error = options.parser.error
    splits = {
        "--split": options.split,
        "--annotation": options.annotation,
        "--identity-split": options.identity_split,
    }
    names = [name for name, value in splits.items() if value]
    if options.source is None and names != ["--annotation"]:
        error("name the unpacked archive with --source, or PETA.mat alone with --annotation")
    if len(names) > 1:
        error(f"{' and '.join(names)} are two ways to split; give one")
    if options.annotation is None and (options.partition is not None or options.separate_val):
        error("--partition and --separate-val are about PETA.mat; name it with --annotation")
    if options.seed is not None and (options.split or options.annotation):
        error("--seed is for a random split, and this one is not; leave --seed out")
    if options.link and options.source is None:
        error("--link is about the archive; name it with --source")
    return prepare_peta(options)


def add_rap(subcommands) -> None:
    parser = add_lists(subcommands, "rap", prepare_rap, "lists of RAPv1 or RAPv2, from RAP_annotation.mat")
    add_annotation(parser, "RAP_annotation.mat")
    parser.add_argument("--version", metavar="1|2", type=whole_number(1, 2),
        help="refuse the file of the other version")  # fmt: skip
    add_shared(parser, "--partition", "--separate-val", "--attributes")


def add_pa100k(subcommands) -> None:
    parser = add_lists(subcommands, "pa100k", prepare_pa100k, "lists of PA-100K, from annotation.mat")
    add_annotation(parser, "annotation.mat")
    add_shared(parser, "--separate-val", "--attributes")


def add_csv(subcommands) -> None:
    parser = add_lists(subcommands, "csv", csv, "lists and names of your own table of labels")
    add = parser.add_argument
    add("--table", metavar="FILE", type=Path, required=True,
        help="one row per picture: its path and its labels, by commas, semicolons or tabs")  # fmt: skip
    add("--attributes", metavar="FILE", type=Path,
        help="names, one per line: of the labels in a single cell, or of the columns to use")  # fmt: skip
    add("--negative", metavar="WORD", help="the word for no in the table, such as -1")
    add("--positive", metavar="WORD", help="the word for yes in the table, such as 2")
    add("--unknown", metavar="WORD", help="the word for unknown in the table, such as 0 (default: 2)")
    add("--test_share", metavar="X",
        type=lambda text: number(text, "between 0 and 1", lambda value: 0 < value < 1),
        help=f"share of the pictures in a random split's test list (default: {TEST_SHARE})")  # fmt: skip
    add("--split_column", metavar="NAME", help="split by this column of the words train, val and test")
    add_shared(parser, "--seed", "--source")


def csv(options: Namespace) -> Iterator[str]:
    """Write a table's lists, unless options contradict each other."""
    if options.split_column is not None and (options.test_share, options.seed) != (None, None):
        options.parser.error(
            "--test_share and --seed are for a random split; leave them out, or --split_column"
        )
    own = options.negative, options.positive, options.unknown
    words = [plain(word) for word in own if word is not None]
    if len(words) > len(set(words)):
        options.parser.error("--negative, --positive and --unknown name the same word; name others")
    return prepare_csv(options)


def add_subcommand(subcommands, name: str, work: Callable, **texts) -> argparse.ArgumentParser:
    parser = subcommands.add_parser(name, **texts)
    parser.set_defaults(work=work, parser=parser)
    return parser


def add_lists(subcommands, name: str, work: Callable, text: str) -> argparse.ArgumentParser:
    """Add a subcommand that writes lists, with the options of all of these."""
    parser = add_subcommand(subcommands, name, work, help=text, description=f"Write {text}.")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True,
        help="directory to write the lists in")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="write over lists that are there")
    return parser


def add_shared(parser: argparse.ArgumentParser, *options: str) -> None:
    for option in options:
        parser.add_argument(option, **SHARED[option])


def add_annotation(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--annotation", metavar="FILE", type=Path, required=True, help=f"the official {name}")
    add_shared(parser, "--source")


# The drawn data set.


def add_synthetic(subcommands) -> None:
    parser = add_subcommand(
        subcommands, "synthetic", synthetic, help="draw pedestrians with PETA's 35 attributes"
    )
    add = parser.add_argument
    add("--output", metavar="DIR", type=Path, default=EXPERIMENTS["synthetic"].root,
        help="directory to draw in (default: data/synthetic under the repository)")  # fmt: skip
    add("--seed", metavar="N", type=whole_number(0), default=1, help="seed of the drawing (default: 1)")
    add("--labels", metavar="LIST", type=Path,
        help="draw a picture for each row of this list in PETA's format, under the list's names")  # fmt: skip
    add("--limit", metavar="N", type=whole_number(1), help="draw only the first N rows of --labels")


def synthetic(options: Namespace) -> Iterator[str]:
    """Draw the embedded data set, or the pictures of a list."""
    if options.labels:
        count = draw_list(options.labels, options.output, options.seed, limit=options.limit)
        yield f"{counted(count, 'picture')} drawn in {options.output}"
    elif options.limit:
        options.parser.error("--limit counts the rows of a list; name it with --labels")
    else:
        ensure_dataset(options.output, seed=options.seed)
        yield f"the synthetic data set is in {options.output}"


# The check of a data set.


def add_check(subcommands) -> None:
    parser = add_subcommand(
        subcommands, "check", check_data, help="open all pictures of a data set and say what is there"
    )
    add = parser.add_argument
    add("paths", metavar="DIR|LIST", type=Path, nargs="+",
        help="the data set's directory, or a list, or the training list and the evaluation list")  # fmt: skip
    add("--data_root", metavar="DIR", type=Path,
        help="the directory that the lists' paths are relative to (default: the first list's)")  # fmt: skip
    add("--follow_links", action="store_true",
        help="open pictures even if a link leads outside of that directory")  # fmt: skip
    data_set = parser.add_mutually_exclusive_group()
    data_set.add_argument("--experiment", metavar="NAME", choices=list(EXPERIMENTS),
        help="the data set: %(choices)s (default: as the lists are named)")  # fmt: skip
    data_set.add_argument("--attributes", metavar="FILE",
        help="your own data set: a file of its attributes' names, one per line")  # fmt: skip
    add("--json", metavar="FILE", type=Path, help="write everything to this file, for machines")
    add("--plot", metavar="FILE", type=Path, help="draw the pictures' sizes and the attributes' ratios")


def check_data(options: Namespace) -> Iterator[str]:
    """Say what is there, and what to type next. Raises DataError if training would fail."""
    experiment = EXPERIMENTS[options.experiment] if options.experiment else None
    if options.attributes:
        experiment = Experiment("custom", Path(), read_names(options.attributes))
    experiment, lists = find_lists(options.paths, experiment)
    inputs = *lists.values(), options.attributes
    check_outputs(options.parser, inputs, json=options.json, plot=options.plot)
    first = options.paths[0]
    root = options.data_root or (first if first.is_dir() else first.parent)
    result = check(root, experiment, lists, options.follow_links)
    yield from report(result)
    if options.json:
        write_json(options.json, record(result))
    if options.plot:
        plot_check(result, options.plot)
    if any(problems(result)):
        purpose = "training" if "train" in result.lists else "an evaluation"
        raise DataError(f"{purpose} would fail; see the problems above")
    yield f"Next: {next_command(result, options)}"


def next_command(result: Check, options: Namespace) -> str:
    """Return how to train on what was checked, or to evaluate if there is no training list."""
    name = result.experiment.name if result.experiment else "custom"
    words = ["python", training_script(), "--experiment", name, "--data_root", str(result.root)]
    if name == "custom":
        words += ["--attributes", options.attributes or "NAMES.txt"]
    if name == "custom" or not options.paths[0].is_dir():
        for part, option in (("train", "--train_list"), ("test", "--val_list")):
            words += [option, str(result.lists[part].path)] if part in result.lists else []
    if options.follow_links:
        words += ["--follow_links"]
    if "train" not in result.lists:
        words += ["-e", "--resume", "CHECKPOINT"]
    return shlex.join(words)
