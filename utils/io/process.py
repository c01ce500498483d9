"""What a command shares with other processes: standard streams, Ctrl-C, and directories to write in."""

import errno
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from alm.errors import AlmError
from utils.io.untrusted import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"


def open_streams() -> None:
    """Make standard output and error take all characters, also if they were closed (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, open as long as the process lives
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):  # what a terminal's encoding lacks must not end a run
            stream.reconfigure(errors="backslashreplace")


def tell(*lines: str, to: TextIO | None = None) -> None:
    """Print lines, by default on standard output, at once: in `2>&1 | tee` all stands in its order.

    What a terminal would obey is spelt out: names of pictures and attributes come from anyone's files.
    """
    for line in lines:
        print(printable(line), file=to)
    (to or sys.stdout).flush()


def tell_written(*paths: str | Path | None) -> None:
    """Name the files that were written, on standard error: other programs may read standard output."""
    tell(*(f"note: {path} is written" for path in paths if path), to=sys.stderr)


def send_to_null(stream: TextIO) -> None:
    """Point a broken stream at the null device, because Python flushes it again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextmanager
def beyond_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C never reaches, from their first instruction on: this process ends them."""
    if threading.current_thread() is not threading.main_thread():  # no other thread can set a handler
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a new process inherits that it is ignored
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def temporary_directory(purpose: str) -> Iterator[Path]:
    """Give a directory for temporary files, which vanishes at the end.

    Raises AlmError, naming `purpose` and TMPDIR, if it cannot be made, or for an OSError of a file in it.
    """
    directory = None
    try:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)
    except OSError as error:
        if directory is not None and not str(error.filename).startswith(directory):
            raise
        place = f"{error.filename}: " if error.filename else ""
        raise AlmError(
            f"{place}{error.strerror}; {purpose} needs room for temporary files: name a directory with TMPDIR"
        ) from error


@contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Keep other runs out of a directory, and yield whether they are; a run that died keeps nobody out.

    It is a POSIX lock on a file, which network file systems know and worker processes do not inherit. The
    file stays: if it were removed, two runs could each lock a file of this name. There is no lock if the
    system or its file system has none. Raises AlmError if another run holds the lock.
    """
    if fcntl is None:
        yield False
        return
    with open(directory / LOCK, "ab") as file:
        yield lock(
            file,
            f"--output_dir {directory}: another run is writing there at this moment; name a new directory",
        )


def lock(file: IO, refusal: str) -> bool:
    """Lock an open file against other processes until it is closed, under any handle of this process; return
    whether it is locked. Raises AlmError, the `refusal`, if another process holds the lock.
    """
    if fcntl is None:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise AlmError(refusal) from error
        return False
    return True
