"""The options of those subcommands of prepare_data.py that make lists."""

import argparse
from pathlib import Path

from run_scripts.cli.parser import number, whole_number
from utils.prepare.commands import (
    PARTITION,
    SEED,
    TEST_SHARE,
    prepare_csv,
    prepare_pa100k,
    prepare_peta,
    prepare_rap,
)


def add_official(subcommands) -> None:
    """Add the subcommands `peta`, `rap` and `pa100k`."""
    peta = add_subcommand(
        subcommands, "peta", prepare_peta, "lists of PETA, from its archive, PETA.mat or both"
    )
    add = peta.add_argument
    add("--source", metavar="DIR", type=Path, help="the unpacked archive, `PETA dataset`")
    add("--annotation", metavar="FILE", type=Path,
        help="PETA.mat: one of its partitions; without --source, lists of images/00001.png, ...")  # fmt: skip
    add("--split", metavar="FILE", type=Path, nargs="+",
        help="the pictures of existing lists: training and test, or training, val and test")  # fmt: skip
    add("--identity-split", action="store_true", help="draw so that nobody is in both lists")
    add("--seed", metavar="N", type=whole_number(0), help=f"of the draw (default: {SEED})")
    add("--link", action="store_true", help="link the pictures into --output, as PETA_dataset")
    add_partition(peta)
    add_attributes(peta)

    rap = add_subcommand(subcommands, "rap", prepare_rap, "lists of RAPv1 or RAPv2, from RAP_annotation.mat")
    add_annotation(rap, "RAP_annotation.mat")
    rap.add_argument(
        "--version", metavar="1|2", type=whole_number(1, 2), help="refuse the other version's file"
    )
    add_partition(rap)
    add_attributes(rap)

    pa100k = add_subcommand(subcommands, "pa100k", prepare_pa100k, "lists of PA-100K, from annotation.mat")
    add_annotation(pa100k, "annotation.mat")
    add_separate_val(pa100k)
    add_attributes(pa100k)


def add_csv(subcommands) -> None:
    """Add the subcommand `csv`."""
    parser = add_subcommand(subcommands, "csv", prepare_csv, "lists and names of your own table of labels")
    add = parser.add_argument
    add("--table", metavar="FILE", type=Path, required=True,
        help="a row a picture, columns by commas or tabs: the picture, then its labels")  # fmt: skip
    add("--attributes", metavar="FILE", type=Path,
        help="names, one a line: of the labels that one cell holds, or of the columns to take")  # fmt: skip
    add("--negative", metavar="WORD", help="what stands for no in the table, such as -1")
    add("--test_share", metavar="X", type=share,
        help=f"share of the pictures that is drawn for the test list (default: {TEST_SHARE})")  # fmt: skip
    add("--split_column", metavar="NAME", help="column that says train, val or test, instead of a draw")
    add("--seed", metavar="N", type=whole_number(0), help=f"of the draw (default: {SEED})")
    add_source(parser)


def share(text: str) -> float:
    """Parse a number between 0 and 1."""
    return number(text, "between 0 and 1", lambda value: 0 < value < 1)


def add_subcommand(subcommands, name: str, prepare, text: str) -> argparse.ArgumentParser:
    """Add a subcommand that writes lists, with the options that all of these have."""
    parser = subcommands.add_parser(name, help=text, description=f"Write {text}.")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="directory to write lists in"
    )
    parser.add_argument("--force", action="store_true", help="write over lists that are there")
    parser.set_defaults(prepare=lambda options: prepare(options, parser))
    return parser


def add_annotation(parser: argparse.ArgumentParser, name: str) -> None:
    """Add where the annotation and the pictures are."""
    parser.add_argument("--annotation", metavar="FILE", type=Path, required=True, help=f"the official {name}")
    add_source(parser)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add where the pictures are."""
    parser.add_argument("--source", metavar="DIR", type=Path,
        help="the pictures' folder, or one that holds it; every picture must be there")  # fmt: skip


def add_partition(parser: argparse.ArgumentParser) -> None:
    """Add which of an annotation's partitions is used, and how."""
    parser.add_argument("--partition", metavar="K", type=whole_number(0),
        help=f"split of the annotation, counted from 0 (default: {PARTITION})")  # fmt: skip
    add_separate_val(parser)


def add_separate_val(parser: argparse.ArgumentParser) -> None:
    """Add what becomes of the pictures for validation."""
    parser.add_argument("--separate-val", action="store_true",
        help="write a list of the validation pictures, which otherwise end the training list")  # fmt: skip


def add_attributes(parser: argparse.ArgumentParser) -> None:
    """Add which attributes are chosen."""
    parser.add_argument("--attributes", metavar="NAME", nargs="+",
        help="official names, a file with one a line, or `all`, for --experiment custom "
        "(default: the published ones)")  # fmt: skip
