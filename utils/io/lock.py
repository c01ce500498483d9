"""A lock on a run's directory, which a run that has died does not keep."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from utils.errors import InputError

LOCK = ".lock"


class LockedError(InputError):
    """Another run has the directory."""


@contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Keep other runs out of a directory, and say whether they are; a run that has died keeps nobody out.

    It is a POSIX lock on a file: network file systems know these, and worker processes inherit none. Where
    the system or its file system knows no such locks there is none. Raises LockedError.
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
            raise LockedError(
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
