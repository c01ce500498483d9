"""What every command shares: its parser's last option, and how it ends.

Bad input is one line on standard error and an exit status, never a traceback, unless --debug asks for it.
"""

import argparse
import errno
import math
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO

from alm.errors import AlmError
from run_scripts.cli.beginning import ends_raised, interrupts_raised
from utils.io.process import open_streams, send_to_null
from utils.io.untrusted import printable, printable_block

BAD_INPUT = 1
WRONG_OPTION = 2
INTERRUPTED = 130  # what a shell calls a program that Ctrl-C ended
TERMINATED = 143  # one that SIGTERM ended
HUNG_UP = 129  # and one whose terminal was closed
READER_GONE = 141  # and one whose output nobody reads any more
LARGEST = 2**31 - 1  # of a whole number on the command line: no count is larger

# What to do about the system's errors.
WAYS_OUT = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EROFS: "name another place",
    errno.ENOSPC: "make room, or name another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
}

# What a launcher calls the number of processes and that of this one, and what to do instead.
LAUNCHERS = (
    ("WORLD_SIZE", "RANK", "torchrun"),
    ("SLURM_NTASKS", "SLURM_PROCID", "srun, or with --ntasks=1"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun, or with -n 1"),
    ("PMI_SIZE", "PMI_RANK", "mpiexec, or with -n 1"),
)


class Parser(argparse.ArgumentParser):
    """The parser of a command or a subcommand: --debug, no abbreviations, and one line for a wrong option."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)
        self.add_argument("--debug", action="store_true", help="show where an error came from")

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(WRONG_OPTION, f"error: {on_one_line(message)} ({self.prog} --help shows the options)\n")


def new_parser(description: str, **options) -> Parser:
    """Return a command's parser."""
    return Parser(description=description, **options)


def whole_number(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `least` to `most`."""

    def convert(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return convert


def positive(text: str) -> float:
    """Parse a finite number above 0; a type for argparse."""
    return number(text, "above 0", lambda value: value > 0)


def not_negative(text: str) -> float:
    """Parse a finite number from 0 on; a type for argparse."""
    return number(text, "from 0 on", lambda value: value >= 0)


def number(text: str, which: str, is_right: Callable[[float], bool]) -> float:
    """Parse a finite number; `which` says in words what `is_right` asks for."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and is_right(value)):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number {which}")
    return value


def refuse_inputs_as_outputs(
    parser: argparse.ArgumentParser, inputs: Iterable[str | Path | None], **outputs: str | Path | None
) -> None:
    """End with status 2 where an option names a file to write that is an input, or another option's file.

    `outputs` are the options' names and values; what is None is not named.
    """
    taken = {os.path.realpath(path): "the command reads it" for path in inputs if path}
    for option, path in outputs.items():
        if not path:
            continue
        place = os.path.realpath(path)
        if place in taken:
            parser.error(
                f"--{option} {path}: {taken[place]}, and it would be written over; name another file"
            )
        taken[place] = f"--{option} names it too"


def refuse_several_processes() -> None:
    """End all processes that a launcher was asked for, with one error from the first of them."""
    for size, place, launcher in LAUNCHERS:
        count, rank = os.environ.get(size, ""), os.environ.get(place, "")
        if not (count.isdecimal() and rank.isdecimal() and int(count) > 1):
            continue
        if int(rank) > 0:
            sys.exit(BAD_INPUT)
        raise AlmError(
            f"{count} processes were started; one is supported so far: start it without {launcher} "
            f"({size}={count})"
        )


@contextmanager
def clear_ending(bad_input: int = BAD_INPUT) -> Iterator[None]:
    """Run a command: errors, warnings and Ctrl-C each become one line; `bad_input` is the exit status."""
    before = warnings.formatwarning, threading.excepthook
    warnings.formatwarning = lambda message, *_, **__: f"warning: {on_one_line(str(message))}\n"
    threading.excepthook = tell_of_thread
    open_streams()
    try:
        with interrupts_raised(), ends_raised(), warnings.catch_warnings():
            # Pillow's remarks do not say which picture they are about; what matters in them is our error.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        end(error, "interrupted", INTERRUPTED)
    except BrokenPipeError as error:
        end(error, "", READER_GONE)
    except Exception as error:
        end(error, None, bad_input)
    finally:
        warnings.formatwarning, threading.excepthook = before


def tell_of_thread(arguments: threading.ExceptHookArgs) -> None:
    """Say on one line what ended a thread; whoever waits for it finds out too."""
    if "--debug" in sys.argv:
        show_traceback(arguments.exc_value)
    else:
        tell(f"warning: {explain(arguments.exc_value)}", to=sys.stderr)


def end(error: BaseException, line: str | None, status: int) -> None:
    """Exit, with a line on standard error: by default what the error means."""
    line = f"error: {explain(error)}" if line is None else line
    with suppress(OSError):  # nobody reads it
        if "--debug" in sys.argv:
            show_traceback(error)
        elif line:
            tell(line, to=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        send_to_null(sys.stdout)
    sys.exit(status)


def tell(*lines: str, to: TextIO | None = None) -> None:
    """Print lines, by default on standard output, at once: in `2>&1 | tee` all stands in its order.

    What a terminal would obey is spelt out: names of pictures and attributes come from anyone's files.
    """
    for line in lines:
        print(printable(line), file=to)
    (to or sys.stdout).flush()


def show_traceback(error: BaseException) -> None:
    """Print where an error came from."""
    print(printable_block("".join(traceback.format_exception(error))), end="", file=sys.stderr)


def explain(error: Exception) -> str:
    """Return what an error means to the user, on one line."""
    return on_one_line(meaning(error))


def meaning(error: Exception) -> str:
    """Return what an error means to the user."""
    if isinstance(error, AlmError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        told = reason if error.filename is None else f"{error.filename}: {reason}"
        return f"{told}; {WAYS_OUT[error.errno]}" if error.errno in WAYS_OUT else told
    if isinstance(error, MemoryError):
        return "out of memory; lower --batch_size or --workers, or end other programs"
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the package {error.name} is not installed for {sys.executable}; pip install -r requirement.txt"
        )
    first_line = str(error).strip().partition("\n")[0]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {first_line} (a fault of the program, at {Path(place.filename).name}:"
        f"{place.lineno}; --debug shows how it came there)"
    )


def on_one_line(text: str) -> str:
    """Return a text as one line that may be shown."""
    return printable(" ".join(text.replace("\r\n", "\n").rstrip("\n").split("\n")))
