"""Phrases of sentences that people read: the first few of many, a count with its noun, the nearest name."""

import difflib
from collections.abc import Iterable, Sequence, Sized

RULE = "=" * 100  # above and below the published blocks of a log


def nearest(name: str, names: Iterable[str], cutoff: float = 0.0) -> str:
    """Return the one of `names` that is spelt most like `name`, "" if none is as similar as `cutoff`."""
    return next(iter(difflib.get_close_matches(name, list(names), 1, cutoff)), "")


def counted(count: int | Sized, noun: str) -> str:
    """Return `1 picture` or `2,000 pictures`; `count` is a number, or a collection."""
    number = count if isinstance(count, int) else len(count)
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, with `, ...` behind them if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
