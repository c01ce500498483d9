"""What is wrong with the user's input, here and in utils, and how to name it. Needs no torch."""

from collections.abc import Sequence


class AlmError(ValueError):
    """Bad input. The message is for the user: what is wrong, where, and how to fix it."""


class PictureError(AlmError):
    """A picture that cannot be read."""


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, with `, ...` behind them if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
