"""What every command shares: its parser's last option, and how it ends.

Bad input is one line on standard error and an exit status, never a traceback, unless --debug asks for it.
"""

import argparse
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import InputError
from utils.logger import send_to_null

BAD_INPUT = 1
INTERRUPTED = 130  # what a shell calls a program that Ctrl-C ended
READER_GONE = 141  # and one whose output nobody reads any more
LARGEST = 2**31 - 1  # of a whole number on the command line: no count is larger

# What errors of other people's code mean, by words in them.
MEANINGS = {
    "DataLoader worker": "a process that reads pictures died, as it does when memory runs out; "
    "read with fewer of them: --workers 1, or 0",
}


def new_parser(description: str, **options) -> argparse.ArgumentParser:
    """Return a parser with the option that all commands have."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False, **options)
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


def whole_number(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Return a type for argparse: a whole number from `least` to `most`."""

    def convert(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > 20 or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return convert


def refuse_several_processes() -> None:
    """End all processes that torchrun or the like has started, with one error from the first of them."""
    count, rank = os.environ.get("WORLD_SIZE", ""), os.environ.get("RANK", "")
    if not (count.isdecimal() and rank.isdecimal() and int(count) > 1):
        return
    if int(rank) > 0:
        sys.exit(BAD_INPUT)
    raise InputError(f"{count} processes were started; one is supported so far: start it without torchrun")


@contextmanager
def clear_ending(bad_input: int = BAD_INPUT) -> Iterator[None]:
    """Run a command: errors, warnings and Ctrl-C each become one line; `bad_input` is the exit status."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal's encoding lacks must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        end(error, "interrupted", INTERRUPTED)
    except BrokenPipeError as error:
        end(error, "", READER_GONE)
    except Exception as error:
        end(error, None, bad_input)
    finally:
        warnings.formatwarning = before


def end(error: BaseException, line: str | None, status: int) -> None:
    """Exit, with a line on standard error: by default what the error means."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(
            signal.SIGCHLD, signal.SIG_DFL
        )  # torch raises here once more for every worker that dies
    line = f"error: {explain(error)}" if line is None else line
    with suppress(OSError):  # nobody reads it
        if "--debug" in sys.argv:
            traceback.print_exception(error)
        elif line:
            print(line, file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        send_to_null(sys.stdout)
    sys.exit(status)


def explain(error: Exception) -> str:
    """Return what an error means to the user, on one line."""
    if is_bad_input(error):
        return " ".join(str(error).splitlines())
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return reason if error.filename is None else f"{error.filename}: {reason}"
    if isinstance(error, MemoryError):
        return "out of memory"
    for words, meaning in MEANINGS.items():
        if words in str(error):
            return meaning
    first_line = str(error).strip().partition("\n")[0]
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {first_line} (a fault of the program, at {Path(place.filename).name}:"
        f"{place.lineno}; --debug shows how it came there)"
    )


def is_bad_input(error: Exception) -> bool:
    """Whether an error is about what the user gave; alm is not imported for that, which takes seconds."""
    method = sys.modules.get("alm.errors")
    return isinstance(error, InputError) or (method is not None and isinstance(error, method.AlmError))
