"""A command's words come in; options of the right types go out, or one line that says what is wrong."""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

from alm.constants import TORCHRUN
from alm.errors import AlmError
from run_scripts.cli.main import BAD_INPUT, WRONG_OPTION
from run_scripts.cli.messages import on_one_line
from utils.io.atomic import unwritable
from utils.io.figure import plot_format
from utils.io.phrases import nearest

LARGEST = 2**31 - 1  # of a whole number on the command line: no count is larger
LONGEST_PREFIX = 150  # bytes of a file's name, which has 255

# What a launcher calls the number of processes that it started and that of this one, and its name.
# SLURM_NTASKS is what a job may start: a batch script, or a shell of salloc, is one process and has it too.
LAUNCHERS = (
    ("WORLD_SIZE", "RANK", "a launcher"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun"),
    ("PMI_SIZE", "PMI_RANK", "mpiexec"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"),
)
MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


class Parser(argparse.ArgumentParser):
    """The parser of a command: --debug, no abbreviations, one line for a wrong option, which names the
    nearest. In an option's name `-` and `_` are the same.

    A command's help shows the description's line ends as they are, if it has any.
    """

    def __init__(self, description: str | None = None, **options):
        if description and "\n" in description:
            options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(description=description, allow_abbrev=False, **options)
        self.add_argument("--debug", action="store_true", help="show where an error came from")

    def add_subparsers(self, **options):
        return super().add_subparsers(parser_class=Subparser, **options)

    def parse_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else args
        if self._subparsers is None:
            self.refuse_unknown(words)
        return super().parse_args(words, namespace)

    def parse_known_args(self, args=None, namespace=None):
        words = list(sys.argv[1:] if args is None else args)
        for position, word in enumerate(takewhile(lambda word: word != "--", words)):
            name, sign, value = word.partition("=")
            words[position] = self._names.get(one_spelling(name), name) + sign + value
        return super().parse_known_args(words, namespace)

    def refuse_unknown(self, words: Iterable[str]) -> None:
        """End with status 2 if a word is an option that there is not, and name the nearest."""
        for word in takewhile(lambda word: word != "--", words):
            name = one_spelling(word.partition("=")[0])
            if name.startswith("--") and " " not in word and name not in self._names:
                similar = nearest(name[2:], (name[2:] for name in self._names), cutoff=0.7)
                advice = f"; the nearest is {self._names[f'--{similar}']}" if similar else ""
                self.error(f"there is no option {word}{advice}")

    @property
    def _names(self) -> dict[str, str]:
        """The options' names by how they are compared."""
        return {one_spelling(name): name for name in self._option_string_actions}

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(WRONG_OPTION, f"error: {on_one_line(message)} ({self.prog} --help shows the options)\n")


class Subparser(Parser):
    """The parser of a subcommand, whose words are all that follow it."""

    def parse_known_args(self, args=None, namespace=None):
        self.refuse_unknown(args)
        return super().parse_known_args(args, namespace)


def one_spelling(name: str) -> str:
    """Return an option's name as it is compared."""
    return f"--{name[2:].replace('-', '_')}" if name.startswith("--") else name


# Types of values, for argparse.


def whole_number(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return a type: a whole number from `least` to `most`."""

    def convert(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return convert


def number(text: str, which: str, is_right: Callable[[float], bool]) -> float:
    """Parse a finite number; `which` says in words what `is_right` asks for."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and is_right(value)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number {which}")
    return value


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    return number(text, "above 0", lambda value: value > 0)


def not_negative(text: str) -> float:
    """Parse a finite number from 0 on."""
    return number(text, "from 0 on", lambda value: value >= 0)


def below_one(text: str) -> float:
    """Parse a number from 0 to below 1."""
    return number(text, "from 0 to below 1", lambda value: 0 <= value < 1)


def share_or_file(text: str) -> float | str:
    """Parse a number from 0 to 1, or a file's name."""
    try:
        float(text)
    except ValueError:
        return text
    return number(text, "from 0 to 1", lambda value: 0 <= value <= 1)


def or_word(word: str, parse: Callable) -> Callable:
    """Return a type that takes a word too."""
    return lambda text: text if text == word else parse(text)


def epochs(text: str) -> tuple[int, ...]:
    """Parse `(20,40)`, `[20,40]`, `20,40`, `20` or `()`. Never evaluated as code."""
    numbers = r"\s*(\d{1,9}\s*(,\s*\d{1,9}\s*)*,?)?\s*"
    if not re.fullmatch(rf"\({numbers}\)|\[{numbers}\]|{numbers}", text.strip()):
        raise argparse.ArgumentTypeError(
            f'{text[:40]!r} is no list of epochs; give whole numbers, as in "(20,40)", or "()" for none'
        )
    return tuple(sorted(int(number) for number in re.findall(r"\d+", text)))


def device_name(text: str) -> str:
    """Parse the name of a device; torch is imported to know which there are."""
    from alm.devices.device import is_device_name

    if not is_device_name(text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is none of auto, sdaa, cuda, cuda:1, ..., cpu")
    return text


def checkpoint_file(text: str) -> str:
    """Parse the path of a checkpoint; of a directory, say which of its files may be meant."""
    directory = Path(text)
    if not directory.is_dir():
        return text
    checkpoints = sorted(directory.glob("*.pth.tar"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        raise argparse.ArgumentTypeError(f"{text} is a directory, and holds no checkpoint; name a file")
    raise argparse.ArgumentTypeError(
        f"{text} is a directory; name one of its checkpoints, such as {checkpoints[-1]}, its newest"
    )


def file_name_part(text: str) -> str:
    """Parse a text that may stand in a file's name."""
    if not is_file_name_part(text):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no part of a file name; leave the separators out, and use at most "
            f"{LONGEST_PREFIX} bytes"
        )
    return text


def is_file_name_part(text: str) -> bool:
    """Whether a text may stand in a file's name, with an epoch behind it, on every usual file system."""
    return re.search(r"[/\\\0]", text) is None and len(os.fsencode(text)) <= LONGEST_PREFIX


# Refusals of what no single value shows.


def check_outputs(
    parser: argparse.ArgumentParser, inputs: Iterable[str | Path | None], **outputs: str | Path | None
) -> None:
    """End with status 2 if `refuse_inputs_as_outputs` does, or if an option names a file that cannot be
    written, or a `plot` that cannot be drawn: before the work, not after it.
    """
    refuse_inputs_as_outputs(parser, inputs, **outputs)
    for option, path in outputs.items():
        if path and (reason := unwritable(path)):
            parser.error(f"--{option} {path}: {reason}")
        if path and option == "plot":
            try:
                plot_format(path)
            except AlmError as error:
                parser.error(f"--plot: {error}")


def refuse_inputs_as_outputs(
    parser: argparse.ArgumentParser, inputs: Iterable[str | Path | None], **outputs: str | Path | None
) -> None:
    """End with status 2 if an option names a file to write that is an input, or another option's file.

    `outputs` are the options' names and values; None stands for an option that is not given.
    """
    uses = {os.path.realpath(path): "the command reads it" for path in inputs if path}
    for option, path in outputs.items():
        if not path:
            continue
        place = os.path.realpath(path)
        if place in uses:
            parser.error(f"--{option} {path}: {uses[place]}, and it would be written over; name another file")
        uses[place] = f"--{option} names it too"


def refuse_other_launchers() -> None:
    """End all processes that another launcher than torchrun started, if they are several, with one error from
    the first.
    """
    if TORCHRUN in os.environ:
        return
    for size, place, launcher in LAUNCHERS:
        count, rank = os.environ.get(size, ""), os.environ.get(place, "")
        if not (count.isdecimal() and rank.isdecimal()):
            continue
        if int(count) > 1:
            if int(rank) > 0:
                sys.exit(BAD_INPUT)
            raise AlmError(
                f"{launcher} started {count} processes ({size}={count}), which would not find each other; "
                f"start them with torchrun --nproc_per_node {count}"
            )
        if size in MPI:
            return  # it starts helpers of its own by srun, which counts those
