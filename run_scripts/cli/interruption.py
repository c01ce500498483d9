"""Signals that ask a training to end: it ends after the iteration that is underway, and is saved."""

import os
import signal
from contextlib import suppress

from run_scripts.cli.main import HUNG_UP, INTERRUPTED, TERMINATED

# What the exit status is. Batch schedulers send SIGUSR1 ahead of a job's end, and nothing went wrong then.
STATUS = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": HUNG_UP, "SIGUSR1": 0}


class Interruption:
    """A context in which the first of these signals is taken note of, and any second one ends the process at
    once, as it does by default. `interruption()` tells whether there was one.
    """

    def __init__(self):
        self.name: str | None = None  # of the signal
        self._handlers = {}

    @property
    def status(self) -> int:
        """The exit status that the signal asks for."""
        return STATUS[self.name]

    def __call__(self) -> bool:
        """Whether there was a signal."""
        return self.name is not None

    def __enter__(self):
        for name in filter(lambda name: hasattr(signal, name), STATUS):  # Windows has half of them
            number = getattr(signal, name)
            if name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup asks for that
            self._handlers[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame) -> None:
        self.name = signal.Signals(number).name
        for other in self._handlers:
            signal.signal(other, signal.SIG_DFL)
        # Past Python's streams: the signal may have come while one of them was writing.
        with suppress(OSError):
            os.write(2, f"\n{self.name}: ending after this iteration; once more ends it at once\n".encode())
