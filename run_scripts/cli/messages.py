"""An error comes in; what it means to the user, on one line, goes out."""

import errno
import sys
import traceback
from pathlib import Path

from alm.errors import AlmError
from utils.io.untrusted import printable

# What to do about the system's errors.
REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EROFS: "name another place",
    errno.ENOSPC: "make room, or name another place",
    errno.EMFILE: "allow more open files (ulimit -n)",
}


def explain(error: BaseException) -> str:
    """Return what an error means to the user, on one line."""
    return on_one_line(_meaning(error))


def on_one_line(text: str) -> str:
    """Return a text as one line that may be shown."""
    return printable(" ".join(text.replace("\r\n", "\n").rstrip("\n").split("\n")))


def _meaning(error: BaseException) -> str:
    if isinstance(error, AlmError):
        return str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        message = reason if error.filename is None else f"{error.filename}: {reason}"
        return f"{message}; {REMEDIES[error.errno]}" if error.errno in REMEDIES else message
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
