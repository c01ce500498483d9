"""How a command ends while it still imports what it needs: by Ctrl-C, or because something is missing.

Each command calls `guard` before it imports anything that takes time; `clear_ending` (command.py) takes over.
"""

from __future__ import annotations  # an older Python must come as far as to be told

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PYTHON = (3, 10)  # or newer


def guard(status: int = 1) -> None:
    """Let Ctrl-C end the process at once, as it ends programs that are not Python's (130 for a shell), and
    whatever cannot be imported be one line and the exit status.
    """
    if sys.version_info < PYTHON:
        here = ".".join(map(str, sys.version_info[:2]))
        print(f"error: Python 3.10 or newer is needed, and {sys.executable} is {here}", file=sys.stderr)
        sys.exit(status)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as nohup asks for
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def end(_kind, error: BaseException, _trace) -> None:
        from run_scripts.cli import main as command

        command.end(error, None, status)

    sys.excepthook = end


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt again, of which much can still be made, until the end."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def ends_raised() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that closes, end the process as an exception does, until the end:
    what is half written is removed. The status is the one by which a shell names the signal.
    """

    def end(number: int, _frame) -> None:
        sys.exit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows lacks the second
    numbers = [getattr(signal, name) for name in names]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores one
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
