"""What each part of a checkpoint must be: a file that anyone may have made is looked at before it is used."""

import reprlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from alm.errors import AlmError
from alm.network import APPROACHES


def is_own(checkpoint: Mapping) -> bool:
    """Whether this program wrote it, in this version or another; otherwise it has the published layout."""
    return str(checkpoint.get("format")).startswith("alm-")


def check_parts(path: Path, content: Mapping) -> None:
    """Raise AlmError where a part of a checkpoint, ours or a published one, is missing or not what it should
    be.
    """
    for name, (is_right, what) in (OWN_PARTS if is_own(content) else PUBLISHED_PARTS).items():
        if name not in content:
            raise AlmError(f"{path}: this checkpoint has no `{name}`; it is damaged, or was made by hand")
        if not is_right(content[name]):
            raise AlmError(
                f"{path}: this checkpoint is damaged: its `{name}` is {shown(content[name])}, not {what}"
            )
    if is_own(content) and len(content["positive_ratio"]) != len(content["attributes"]):
        raise AlmError(f"{path}: this checkpoint is damaged: not one positive ratio for each attribute")


def shown(value) -> str:
    """Return a value as it stands in an error: on one line, and only the beginning of much."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, 60, 60
    try:
        return short.repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"a {type(value).__name__}"


def is_state_dict(content) -> bool:
    """Whether this is what `state_dict()` of a module returns: names and tensors."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def is_count(value) -> bool:
    """Whether this is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value) -> bool:
    """Whether this is a number, NaN and infinity among them, or a tensor of one."""
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_ratios(value) -> bool:
    """Whether these are shares, each in [0, 1]."""
    return isinstance(value, (list, tuple)) and all(is_number(ratio) and 0 <= ratio <= 1 for ratio in value)


def is_names(value) -> bool:
    """Whether these are names, no two the same."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


def is_options(value) -> bool:
    """Whether this is a dict of option names and whatever they were set to."""
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


PUBLISHED_PARTS = {
    "epoch": (is_count, "a whole number from 0 on"),
    "best_accu": (is_number, "a number"),
}
OWN_PARTS = PUBLISHED_PARTS | {
    "approach": (lambda value: value in list(APPROACHES), f"one of {', '.join(APPROACHES)}"),
    "attributes": (is_names, "a list of names"),
    "positive_ratio": (is_ratios, "a list of shares"),
    "align_corners": (lambda value: isinstance(value, bool), "True or False"),
    "best_ma": (is_number, "a number"),
    "options": (is_options, "a dict of options"),
    "optimizer": (is_options, "an optimizer's state"),
    "scaler": (is_options, "a scaler's state"),
}
