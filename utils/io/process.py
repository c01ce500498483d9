"""Processes that a command starts, and Ctrl-C, which a terminal sends to all of them."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from alm.errors import AlmError


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


def open_streams() -> None:
    """Make standard output and error take whatever is written: all characters, and where they were closed
    (`>&-`), all of it to nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, open as long as the process lives
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):  # what a terminal's encoding lacks must not end a run
            stream.reconfigure(errors="backslashreplace")


def send_to_null(stream: TextIO) -> None:
    """Point a stream that nothing can be written to at the null device: Python flushes it again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Keep other runs out of a directory, and say whether they are; a run that has died keeps nobody out.

    It is a POSIX lock on a file: network file systems know these, and worker processes inherit none. Where
    the system or its file system knows no such locks there is none. Raises AlmError.
    """
    if fcntl is None:
        yield False
        return
    path = directory / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            alone = take(handle)
        except BlockingIOError as error:
            os.close(handle)
            raise AlmError(
                f"--output_dir {directory}: another run is writing there at this moment; name a new directory"
            ) from error
        if is_at(handle, path):
            break
        os.close(handle)  # a run that has ended in the meantime has removed this file
    try:
        yield alone
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def take(handle: int) -> bool:
    """Lock a file, and return whether its file system has locks. Raises BlockingIOError where somebody else
    has locked it.
    """
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BlockingIOError(error.errno, error.strerror) from error
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
