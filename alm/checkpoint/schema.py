"""What each part of a checkpoint must be: anyone may have made the file."""

import math
import re
import reprlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from alm.constants import MEAN, STD
from alm.errors import AlmError, first_few
from alm.models.network import APPROACHES

OWN_FORMAT = "alm-1"  # marks our own checkpoints among the published program's

# `[<prefix>_]<epoch>.pth.tar`, or `[<prefix>_]<epoch>+<iterations of the next epoch>.pth.tar`.
NUMBERED = re.compile(r"(?:[^/\\\0]*_)?(\d{1,9})(?:\+(\d{1,9}))?\.pth\.tar", re.DOTALL)


class Number(NamedTuple):
    """A number of a type, int or float, from `low` to `high`; a float may be given as an int."""

    kind: type
    low: float
    high: float


COUNT = Number(int, 0, 2**63 - 1)
FINITE = Number(float, -sys.float_info.max, sys.float_info.max)
POSITIVE = math.ulp(0.0)

# What a part may be: a Number, a type, one of some words, or a pattern of names; a list of any length, [...],
# or of one length, [..., ...]; a dict of any names, {str: ...}, or of these, {"a": ...}, if it is not empty.
PARTS = {
    "epoch": COUNT,
    "best_accu": FINITE,
    "approach": tuple(APPROACHES),
    "backbone": str,
    "mean": [FINITE] * 3,
    "std": [Number(float, POSITIVE, sys.float_info.max)] * 3,
    "attributes": [str],
    "positive_ratio": [Number(float, 0, 1)],
    "align_corners": bool,
    "iterations": COUNT,
    "best_ma": Number(float, -math.inf, 1),  # -inf before the first evaluation
    "options": {str: object},
    "raw_weights": {str: Tensor},  # of a run whose `state_dict` is their average
    "optimizer": {str: object},  # `checked_state` looks into it
    "scaler": {
        "scale": Number(float, POSITIVE, sys.float_info.max),
        "growth_factor": Number(float, math.nextafter(1, 2), sys.float_info.max),
        "backoff_factor": Number(float, POSITIVE, math.nextafter(1, 0)),
        "growth_interval": COUNT,
        "_growth_tracker": COUNT,
    },
    "iteration": COUNT,
    "seen": COUNT,
    "unevaluated": bool,
    "saved": [NUMBERED],  # the run removes the oldest of these files
    "data": {str: object},  # digests, which are compared
    "log": {"sums": [FINITE] * 3, "iterations": COUNT, "pictures": COUNT},
}
# What published checkpoints, and the first ones of our format, do not have.
DEFAULTS = {
    "backbone": "bn_inception",
    "mean": MEAN,
    "std": STD,
    "iterations": 0,
    "iteration": 0,
    "seen": 0,
    "unevaluated": False,
    "best_ma": -math.inf,
    "raw_weights": {},
    "saved": [],
    "data": {},
    "log": {},
}


def is_own(checkpoint: Mapping) -> bool:
    """Whether this program wrote it, in this version or another; otherwise the program of 2019 did."""
    form = checkpoint.get("format")
    return isinstance(form, str) and form.startswith("alm-")


def check_parts(path: Path, content: Mapping, names: tuple[str, ...] = tuple(PARTS)) -> None:
    """Raise AlmError if one of these parts of a checkpoint is missing, or is not what it should be."""
    for name in names:
        if name not in content:
            raise AlmError(f"{path}: this checkpoint has no `{name}`; it is damaged, or was made by hand")
        if not fits(content[name], PARTS[name]):
            raise AlmError(
                f"{path}: this checkpoint is damaged: its `{name}` is {shown(content[name])}, not "
                f"{in_words(PARTS[name])}"
            )
    attributes = content.get("attributes")
    if attributes is not None and not 0 < len(attributes) == len(set(attributes)):
        raise AlmError(f"{path}: this checkpoint is damaged: it has no `attributes`, or one of them twice")
    if attributes is not None and len(content["positive_ratio"]) != len(attributes):
        raise AlmError(f"{path}: this checkpoint is damaged: not one positive ratio for each attribute")


def fits(value, part) -> bool:
    """Whether a value is what an entry of PARTS says."""
    if isinstance(part, Number):
        is_number = isinstance(value, (int, part.kind)) and not isinstance(value, bool)
        return is_number and part.low <= value <= part.high  # a NaN is not
    if isinstance(part, type):
        return isinstance(value, part)
    if isinstance(part, tuple):
        return isinstance(value, str) and value in part
    if isinstance(part, re.Pattern):
        return isinstance(value, str) and part.fullmatch(value) is not None
    if isinstance(part, list):
        entries = part * len(value) if isinstance(value, (list, tuple)) and len(part) == 1 else part
        return (
            isinstance(value, (list, tuple)) and len(value) == len(entries) and all(map(fits, value, entries))
        )
    if not isinstance(value, Mapping):
        return False
    if str in part:
        return all(isinstance(name, str) and fits(entry, part[str]) for name, entry in value.items())
    return not value or (value.keys() == part.keys() and all(fits(value[name], part[name]) for name in part))


def in_words(part) -> str:
    """Return what an entry of PARTS asks for, as it stands in an error."""
    if isinstance(part, Number):
        if part.kind is int:
            return f"a whole number from {part.low} on"
        return f"a finite number from {part.low:g} to {part.high:g}"
    if isinstance(part, type):
        return "True or False" if part is bool else "text"
    if isinstance(part, tuple):
        return f"one of {', '.join(part)}"
    if isinstance(part, re.Pattern):
        return "a checkpoint's name"
    if isinstance(part, list):
        return f"a list{f' of {len(part)}' if len(part) > 1 else ''}, each entry {in_words(part[0])}"
    return "a dict" + ("" if str in part else f" of {', '.join(part)}")


def shown(value) -> str:
    """Return a value as it stands in an error: on one line, and only the beginning of much."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, 60, 60
    text = short.repr(value)  # repr itself has no end if lists hold each other again and again
    return text if len(text) <= 60 else f"{text[:60]}..."


def state_dict_of(content) -> Mapping[str, Tensor]:
    """Return the named tensors of a checkpoint, or those of a file of nothing else. Raises AlmError if there
    are none.
    """
    is_checkpoint = isinstance(content, Mapping) and "state_dict" in content
    state = content["state_dict"] if is_checkpoint else content
    if is_state_dict(state):
        return state
    parts = content.items() if isinstance(content, Mapping) else ()
    others = [shown(name) for name, value in parts if is_state_dict(value)]
    found = f"; there are some under {first_few(others, 3)}: save such a part alone with torch.save"
    raise AlmError(
        "this is not a checkpoint: it has no named tensors at its top, and no `state_dict` of them"
        + (found if others else "")
    )


def is_state_dict(content) -> bool:
    """Whether this is what `state_dict()` of a module returns: names and tensors."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


# The optimizer's state.

SQUARES = "exp_avg_sq"  # Adam takes the root of them
ADAMS = torch.optim.Adam, torch.optim.AdamW
MOMENTS = dict.fromkeys(ADAMS, ("exp_avg", SQUARES)) | {torch.optim.SGD: ("momentum_buffer",)}


def checked_state(optimizer: torch.optim.Optimizer, saved: Mapping, may_be_empty: bool) -> Mapping:
    """Return each parameter's state in a saved optimizer's; SGD without momentum has none.

    Raises AlmError unless `saved` is the `state_dict()` of such an optimizer, over such parameters, after its
    first step, or, if it `may_be_empty`, before it.
    """
    state, groups = saved.get("state"), saved.get("param_groups")
    if not isinstance(state, Mapping) or not isinstance(groups, list):
        raise misfit("it has no state of parameters")
    has_momentum = any(isinstance(group, Mapping) and group.get("momentum") for group in groups)
    if (isinstance(optimizer, torch.optim.SGD) and not has_momentum) or (may_be_empty and not state):
        return {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if state.keys() != set(range(len(parameters))):
        raise misfit(f"it has {len(state)} entries, not one for each of {len(parameters)} parameters")
    for index, parameter in enumerate(parameters):
        check_entry(optimizer, f"parameter {index}", state[index], parameter)
    return state


def check_entry(optimizer: torch.optim.Optimizer, name: str, entry, parameter: Tensor) -> None:
    """Raise AlmError unless this is the state of one parameter."""
    if not isinstance(entry, Mapping):
        raise misfit(f"{name} has none")
    if isinstance(optimizer, ADAMS) and not is_step(entry.get("step")):
        raise misfit(f"{name} has no number of steps")
    for moment in MOMENTS.get(type(optimizer), ()):
        values = entry.get(moment)
        if not isinstance(values, Tensor) or not values.is_floating_point():
            raise misfit(f"{name} has no {moment}")
        if values.shape != parameter.shape:
            raise misfit(f"{name} has {moment} {tuple(values.shape)} instead of {tuple(parameter.shape)}")
        if not values.isfinite().all() or (moment == SQUARES and (values < 0).any()):
            raise misfit(f"{name} has {moment} with numbers that nothing can go on from")


def is_step(value) -> bool:
    """Whether this is a number of steps, at least one: torch keeps it as a tensor of one float."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    return isinstance(value, (int, float)) and 1 <= value < 2**63 and value == int(value)


def misfit(reason: str) -> AlmError:
    """Return the error that says why an optimizer cannot go on."""
    way_out = "start a new training from the weights with --init_from"
    return AlmError(f"the optimizer's state does not fit this model: {reason}; {way_out}")
