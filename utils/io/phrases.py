"""Phrases of the sentences about data sets."""

import difflib
from collections.abc import Iterable, Sequence


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name of `names` that is spelt most like `name`."""
    return next(iter(difflib.get_close_matches(name, list(names), 1, 0.0)), "")


def counted(items: Sequence, noun: str) -> str:
    """Return `1 picture` or `2 pictures`."""
    return f"{len(items)} {noun}" + ("s" if len(items) != 1 else "")


def some(names: Sequence[str]) -> str:
    """Return the first five names."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
