"""How every command begins and ends: signals, an older Python, imports, errors as one line and a status.

A command's file puts the repository on the path and calls `run` with its own name, before it imports
anything else. So an interrupt or a missing package ends the imports as it ends the work.
"""

from __future__ import annotations  # an older Python must be able to read this file, to be refused by it

import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BAD_INPUT = 1
WRONG_OPTION = 2
INTERRUPTED = 130  # what a shell calls a program that Ctrl-C ended
TERMINATED = 143  # one that SIGTERM ended
HUNG_UP = 129  # one whose terminal was closed
READER_GONE = 141  # one whose output nobody reads any more

SHARED = ("run_ALM", "predict")  # commands that several processes of torchrun share
JUDGES = ("compare", "locate", "loss")  # their status 1 is a verdict, so bad input is 2
PYTHON = (3, 10)  # or newer

# The exit status of a training that a signal ends. Batch schedulers send the last three ahead of a job's end,
# and nothing went wrong then.
STATUS = {
    "SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": HUNG_UP, "SIGUSR1": 0, "SIGUSR2": 0, "SIGXCPU": 0
}  # fmt: skip
ONE_REQUEST = 1.0  # seconds; Slurm, uv and terminals may each send the same request more than once


def run(module: str) -> None:
    """Import a command's module, call its `main`, and exit with the status that it returns."""
    bad_input = bad_input_status(module)
    if sys.version_info < PYTHON:
        here = ".".join(map(str, sys.version_info[:2]))
        print(f"error: Python 3.10 or newer is needed, and {sys.executable} is {here}", file=sys.stderr)
        sys.exit(bad_input)
    try:
        with clear_ending(bad_input):
            refuse_torchrun(module.rpartition(".")[2], bad_input)
            status = importlib.import_module(module).main()
        sys.exit(status)
    finally:  # Ctrl-C while Python shuts down ends it without a traceback
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def refuse_torchrun(command: str, status: int) -> None:
    """End all processes that torchrun started of a command that is for one, with one error from the first."""
    from alm.constants import PATIENCE, TORCHRUN
    from alm.errors import AlmError

    if command in SHARED or TORCHRUN not in os.environ or os.environ["WORLD_SIZE"] == "1":
        return
    if os.environ["RANK"] != "0":
        time.sleep(PATIENCE)
        sys.exit(status)
    raise AlmError(f"{command}.py is for one process; start it without torchrun")


def bad_input_status(module: str) -> int:
    return 2 if module.rpartition(".")[2] in JUDGES else BAD_INPUT


@contextmanager
def clear_ending(bad_input: int = BAD_INPUT) -> Iterator[None]:
    """Let errors, warnings and Ctrl-C each become one line; `bad_input` is the exit status of an error."""
    from run_scripts.cli.messages import explain, on_one_line
    from utils.io.process import open_streams

    def warn_of_thread(arguments: threading.ExceptHookArgs) -> None:  # whoever waits for it finds out too
        show(arguments.exc_value, f"warning: {explain(arguments.exc_value)}")

    before = warnings.formatwarning, threading.excepthook
    warnings.formatwarning = lambda message, *_, **__: f"warning: {on_one_line(str(message))}\n"
    threading.excepthook = warn_of_thread
    open_streams()
    try:
        with exit_on_signals(), warnings.catch_warnings():
            # Pillow's remarks do not name the picture; what matters in them is an error of ours.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        end(error, "interrupted", INTERRUPTED)
    except BrokenPipeError as error:
        end(error, "", READER_GONE)
    except Exception as error:
        end(error, f"error: {explain(error)}", bad_input)
    finally:
        warnings.formatwarning, threading.excepthook = before


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that closes, raise SystemExit, so that what is half written is
    removed. The status is the one by which a shell names the signal. A signal that is ignored stays so.
    """

    def leave(number: int, _frame) -> None:
        sys.exit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows lacks the second
    numbers = [getattr(signal, name) for name in names]
    unset = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup ignores one
    for number in unset:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in unset:
            signal.signal(number, signal.SIG_DFL)


def end(error: BaseException, line: str, status: int) -> None:
    from utils.io.process import send_to_null

    with suppress(OSError):  # nobody reads it
        show(error, line)
    try:
        sys.stdout.flush()
    except OSError:
        send_to_null(sys.stdout)
    sys.exit(status)


def show(error: BaseException, line: str) -> None:
    """Print a line on standard error, or with --debug where the error came from.

    An error may come before the options are parsed, so --debug is looked for among the words themselves.
    """
    from utils.io.process import tell
    from utils.io.untrusted import printable_block

    if "--debug" in sys.argv:
        print(printable_block("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    elif line:
        tell(line, to=sys.stderr)


class Interruption:
    """A context in which a training outlives the first signal that asks for its end: it ends after the
    iteration that is underway, and saves. A signal that comes more than ONE_REQUEST later ends the process
    at once. `interruption()` says whether there was one. If it `is_silent`, nothing is printed then.
    """

    def __init__(self, is_silent: bool = False):
        self.name: str | None = None  # of the first signal
        self._is_silent = is_silent
        self._handlers = {}

    @property
    def status(self) -> int:
        """The exit status that the signal asks for, 0 if there was none."""
        return 0 if self.name is None else STATUS[self.name]

    def __call__(self) -> bool:
        return self.name is not None

    def __enter__(self):
        for name in filter(lambda name: hasattr(signal, name), STATUS):  # Windows has half of them
            number = getattr(signal, name)
            if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup asks for that
            self._handlers[number] = signal.signal(number, self._note)
        received, self._signals = socket.socketpair()
        self._signals.setblocking(False)
        signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=end_on_later_signal, args=(received,), daemon=True).start()
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(-1)
        self._signals.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame) -> None:
        if self.name is None:
            self.name = signal.Signals(number).name
            if self._is_silent:
                return
            # Past Python's streams: the signal may have come while one of them was writing.
            with suppress(OSError):
                os.write(
                    2, f"\n{self.name}: ending after this iteration; once more ends it at once\n".encode()
                )


def end_on_later_signal(received: socket.socket) -> None:
    """End the process at a signal that comes more than ONE_REQUEST after the first. In a thread of its own,
    because a handler waits for the call that is underway, and that of a device that hangs never returns.
    """
    with received:
        first = None
        while number := received.recv(1):
            now = time.monotonic()
            first = first or now
            # The system repeats SIGXCPU every second.
            if now - first > ONE_REQUEST and signal.Signals(number[0]).name != "SIGXCPU":
                os._exit(128 + number[0])
