"""Standard output and error as commands find them: closed, in any encoding, or with nobody left to read."""

import os
import sys
from typing import TextIO


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
