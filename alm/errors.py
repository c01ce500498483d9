"""What is wrong with the user's input, here and in utils, and how to name it. Needs no torch."""

from collections.abc import Sequence


class AlmError(ValueError):
    """Bad input. The message is for the user: what is wrong, where, and how to fix it."""


class DataError(AlmError):
    """A file or a data set that is not as it should be."""


class PictureError(AlmError):
    """A picture that cannot be read."""


def in_short(error: Exception) -> str:
    """Return what another package's error says, on one line and not at length."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, with `, ...` behind them if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
