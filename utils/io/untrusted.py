"""Open a file that anyone may have given: what waits for ever, or has no end, is no file."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: str | Path, most: int | None = None) -> BufferedReader:
    """Open a file to read its bytes.

    Raises OSError where it cannot be opened, is a device, a pipe or a directory, also by a link, or has more
    than `most` bytes.
    """
    file = open(path, "rb", opener=open_at_once)  # noqa: SIM115, closed by whoever asked for it
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and (most is None or status.st_size <= most):
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))
    raise OSError(errno.EFBIG, f"it has more than {most >> 20:,} MB", str(path))


def open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever writes to a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no pipes with a file's name
