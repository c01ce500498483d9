"""How every command ends: bad input is one line on standard error and exit status 1, never a traceback."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from alm import AlmError
from utils.list_file import DataError
from utils.logger import LogError
from utils.run_directory import RunDirectoryError
from utils.synthetic import SyntheticError

BAD_INPUT = (AlmError, DataError, LogError, RunDirectoryError, SyntheticError, OSError)
INTERRUPTED = 130  # what a shell calls a program that Ctrl-C ended


@contextmanager
def clear_ending() -> Iterator[None]:
    """Run a command: errors about its input, warnings and Ctrl-C each become one line."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    except BAD_INPUT as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
