"""Values that anyone may have written, in JSON or a checkpoint: read and looked at without trust."""

import json
import sys


def parsed(text: str):
    """Return what a text says, or None where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_number(value) -> bool:
    """Whether this is a finite number, of a size that a float has; true and false are none."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    )


def is_share(value) -> bool:
    """Whether this is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
