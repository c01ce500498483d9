"""Phrases of sentences that people read: the first few of many, a count with its noun, the nearest name."""

import difflib
from collections.abc import Iterable, Sized

from alm.errors import first_few as first_few  # a phrase of alm's errors too

RULE = "=" * 100  # above and below the published blocks of a log


def nearest(name: str, names: Iterable[str], cutoff: float = 0.0) -> str:
    """Return the one of `names` that is spelt most like `name`, "" if none is as similar as `cutoff`."""
    return next(iter(difflib.get_close_matches(name, list(names), 1, cutoff)), "")


def counted(count: int | Sized, noun: str) -> str:
    """Return `1 picture` or `2,000 pictures`; `count` is a number, or a collection."""
    number = count if isinstance(count, int) else len(count)
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


def duration(seconds: float) -> str:
    """Return a time in words: `40 s`, `6 min`, `5 h 40 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def ma_title(defined: int, attributes: int) -> str:
    """Return `mA`, or `mA of 21 of 35 attributes` if those are all that it is defined for."""
    return "mA" if defined == attributes else f"mA of {defined:,} of {counted(attributes, 'attribute')}"
