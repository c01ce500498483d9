"""Files, text and JSON that anyone may have made, read within bounds. Needs no torch."""

import codecs
import errno
import io
import json
import os
import stat
import sys
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from alm.errors import DataError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MOST_TEXT = 2**29  # bytes: PETA's lists have 2 MB, and a million pictures with 200 labels 450 MB


def open_regular(path: str | Path, most: int | None = None) -> BufferedReader:
    """Open a file to read its bytes.

    Raises OSError if it cannot be opened, if it is a device, a pipe or a directory, also behind a link, or if
    it has more than `most` bytes.
    """
    at_once = getattr(os, "O_NONBLOCK", 0)  # without waiting for whoever writes to a pipe; not on Windows
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | at_once))  # noqa: SIM115
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and (most is None or status.st_size <= most):
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))
    raise OSError(errno.EFBIG, f"it has more than {most >> 20:,} MB", str(path))


def read_text(path: str | Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark; its lines end in a line feed.

    Raises DataError if it cannot be read, has more than MOST_TEXT bytes, or is not text.
    """
    text = None
    try:
        with suppress(UnicodeDecodeError), open_regular(path, MOST_TEXT) as file:
            if encoding := encoding_of(file.peek()):
                with io.TextIOWrapper(file, encoding=encoding) as lines:
                    text = lines.read()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from error
    if text is None or "\0" in text:
        raise DataError(f"{path} is not text; give a text file in UTF-8")
    return text


def encoding_of(begin: bytes) -> str | None:
    """Return the encoding of a text that begins so, or None if no text does."""
    if begin.startswith(UTF16_MARKS):
        return "utf-16"
    return None if b"\0" in begin else "utf-8-sig"


def parsed(text: str):
    """Return what a text says in JSON, or None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_number(value) -> bool:
    """Whether this is a finite number, of a size that a float has. True and False are none."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    )


def is_share(value) -> bool:
    """Whether this is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
