"""What an optimizer's saved state must be: an entry for each parameter, of numbers that it can go on from."""

from collections.abc import Mapping

import torch
from torch import Tensor

from alm.errors import AlmError

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
