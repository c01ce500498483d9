"""Processes that a command starts, and Ctrl-C, which a terminal sends to all of them."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def beyond_interrupts() -> Iterator[None]:
    """Start processes within this that Ctrl-C does not reach, from their first instruction on: it is for this
    process to end them.
    """
    if threading.current_thread() is not threading.main_thread():  # which cannot set it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored stays so in a new process
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
