"""What each part of a checkpoint must be: a file that anyone may have made is looked at before it is used."""

import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from alm.errors import AlmError
from alm.models.network import APPROACHES

MOMENTS = {torch.optim.Adam: ("exp_avg", "exp_avg_sq"), torch.optim.SGD: ("momentum_buffer",)}
SQUARES = "exp_avg_sq"  # Adam takes the root of them


def checked_state(optimizer: torch.optim.Optimizer, saved: Mapping, may_be_empty: bool) -> Mapping:
    """Return each parameter's state of a saved optimizer's; SGD without momentum has none.

    Raises AlmError unless `saved` is what `state_dict()` of such an optimizer, over such parameters, returns
    after its first step, or, where it `may_be_empty`, before it.
    """
    state, groups = saved.get("state"), saved.get("param_groups")
    if not isinstance(state, Mapping) or not isinstance(groups, list):
        raise misfit("it has no state of parameters")
    if isinstance(optimizer, torch.optim.SGD) and not has_momentum(groups):
        return {}
    if may_be_empty and not state:
        return {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if state.keys() != set(range(len(parameters))):
        raise misfit(f"it has {len(state)} entries, not one for each of {len(parameters)} parameters")
    for index, parameter in enumerate(parameters):
        check_entry(optimizer, f"parameter {index}", state[index], parameter)
    return state


def has_momentum(groups: list) -> bool:
    """Whether SGD was used with momentum; without it there is nothing to go on from."""
    return any(isinstance(group, Mapping) and group.get("momentum") for group in groups)


def check_entry(optimizer: torch.optim.Optimizer, name: str, entry, parameter: Tensor) -> None:
    """Raise AlmError unless this is the state of one parameter."""
    if not isinstance(entry, Mapping):
        raise misfit(f"{name} has none")
    if isinstance(optimizer, torch.optim.Adam) and not is_step(entry.get("step")):
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
    return AlmError(
        f"the optimizer's state does not fit this model: {reason}; start a new training from the weights "
        "with --init_from"
    )


# `[<prefix>_]<epoch>.pth.tar`, or `[<prefix>_]<epoch>+<iterations of the next epoch>.pth.tar`.
NUMBERED = re.compile(r"(?:.*_)?(\d{1,9})(?:\+(\d{1,9}))?\.pth\.tar", re.DOTALL)


def is_own(checkpoint: Mapping) -> bool:
    """Whether this program wrote it, in this version or another; otherwise it has the published layout."""
    form = checkpoint.get("format")
    return isinstance(form, str) and form.startswith("alm-")


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
    text = short.repr(value)  # repr itself has no end where lists hold each other again and again
    return text if len(text) <= 60 else f"{text[:60]}..."


def is_state_dict(content) -> bool:
    """Whether this is what `state_dict()` of a module returns: names and tensors."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def is_count(value) -> bool:
    """Whether this is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_number(value) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def is_published_accu(value) -> bool:
    """Whether this is a finite number, or a tensor of one."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        value = value.item()
    return is_number(value)


def is_share(value) -> bool:
    """Whether this is a number in [0, 1]."""
    return is_number(value) and 0 <= value <= 1


def is_best(value) -> bool:
    """Whether this is the best share so far: minus infinity, before the first."""
    return is_share(value) or (isinstance(value, float) and value == -math.inf)


def is_ratios(value) -> bool:
    """Whether these are shares, each in [0, 1]."""
    return isinstance(value, (list, tuple)) and all(map(is_share, value))


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


def is_scaler(value) -> bool:
    """Whether this is what a gradient scaler's `state_dict()` returns; in other precisions than fp16, {}."""
    if not isinstance(value, Mapping) or not value:
        return value == {}
    return (
        value.keys() == {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
        and all(map(is_number, value.values()))
        and value["scale"] > 0
        and value["growth_factor"] > 1
        and 0 < value["backoff_factor"] < 1
        and is_count(value["growth_interval"])
        and is_count(value["_growth_tracker"])
    )


def is_saved(value) -> bool:
    """Whether these are names of numbered checkpoints: the run removes the oldest of these files."""
    return isinstance(value, list) and all(
        isinstance(name, str) and NUMBERED.fullmatch(name) and not re.search(r"[/\\\0]", name)
        for name in value
    )


def is_digests(value) -> bool:
    """Whether these are digests of the lists that a run had."""
    return isinstance(value, Mapping) and all(
        entry is None or isinstance(entry, str) for entry in value.values()
    )


def is_progress(value) -> bool:
    """Whether this is what a log's `state_dict()` returns: the sums behind the running means, or nothing."""
    if not isinstance(value, Mapping) or not value:
        return value == {}
    return (
        value.keys() == {"sums", "iterations", "pictures"}
        and isinstance(value["sums"], list)
        and len(value["sums"]) == 3
        and all(map(is_number, value["sums"]))
        and is_count(value["iterations"])
        and is_count(value["pictures"])
    )


PUBLISHED_PARTS = {
    "epoch": (is_count, "a whole number from 0 on"),
    "best_accu": (is_published_accu, "a number"),
}
OWN_PARTS = PUBLISHED_PARTS | {
    "approach": (lambda value: value in list(APPROACHES), f"one of {', '.join(APPROACHES)}"),
    "attributes": (is_names, "a list of names"),
    "positive_ratio": (is_ratios, "a list of shares"),
    "align_corners": (lambda value: isinstance(value, bool), "True or False"),
    "iterations": (is_count, "a whole number from 0 on"),
    "best_ma": (is_best, "a share"),
    "options": (is_options, "a dict of options"),
    "optimizer": (is_options, "an optimizer's state"),
    "scaler": (is_scaler, "a scaler's state"),
    "iteration": (is_count, "a whole number from 0 on"),
    "seen": (is_count, "a whole number from 0 on"),
    "unevaluated": (lambda value: isinstance(value, bool), "True or False"),
    "saved": (is_saved, "names of checkpoints"),
    "data": (is_digests, "digests of lists"),
    "log": (is_progress, "running means"),
}
# What the first checkpoints of this format do not have yet.
FORMERLY = {
    "iterations": 0, "iteration": 0, "seen": 0, "unevaluated": False, "saved": [], "data": {}, "log": {},
}  # fmt: skip
