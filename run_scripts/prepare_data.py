"""Prepare data sets.

python prepare_data.py peta --source "PETA dataset" --output DIR          lists from an official download
python prepare_data.py rap --annotation RAP_annotation.mat --output DIR
python prepare_data.py pa100k --annotation annotation.mat --output DIR
python prepare_data.py csv --table labels.csv --output DIR                lists from your own table
python prepare_data.py synthetic                                  draw the embedded data set
python prepare_data.py synthetic --labels LIST --output DIR       draw a picture for each row of a PETA list
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run_scripts.command import clear_ending, new_parser, whole_number
from run_scripts.prepare_options import add_csv, add_official
from utils.experiments import EXPERIMENTS
from utils.synthetic import draw_list, ensure_dataset


def main() -> None:
    """Parse and prepare; each subcommand sets `prepare`, the function that does its work."""
    options = build_parser().parse_args()
    with clear_ending():
        options.prepare(options)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = new_parser("Prepare data sets for run_ALM.py.")
    subcommands = parser.add_subparsers(metavar="DATA", required=True)
    add_official(subcommands)
    add_csv(subcommands)
    add_synthetic(subcommands)
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
        print(f"{count} pictures drawn in {options.output}")
    elif options.limit:
        parser.error("--limit counts the rows of a list; name it with --labels")
    else:
        ensure_dataset(options.output, seed=options.seed)
        print(f"the synthetic data set is in {options.output}")


if __name__ == "__main__":
    main()
