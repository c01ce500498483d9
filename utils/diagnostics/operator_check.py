"""Every operator of a training step, computed again on the CPU in float64 from the device's own inputs.

A step is thousands of operators. Where its result is wrong, the first operator whose output does not follow
from its input is the one to look at.
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from alm.devices.device import CPU, is_alike
from alm.errors import AlmError
from utils.diagnostics import error_bounds as error_limits
from utils.diagnostics.operator_origin import Whereabouts

aten = torch.ops.aten


def batch_norm(
    images: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, training, momentum, epsilon
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what cudnn_batch_norm does, but for the scratch space that it keeps for its backward pass."""
    return aten.native_batch_norm(images, weight, bias, mean, variance, training, momentum, epsilon)


def batch_norm_backward(
    images: Tensor,
    gradient: Tensor,
    weight: Tensor,
    mean,
    variance,
    saved_mean,
    saved_inverse,
    epsilon,
    scratch,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what cudnn_batch_norm_backward does, of training alone, as that is."""
    saved = mean, variance, saved_mean, saved_inverse
    return aten.native_batch_norm_backward(gradient, images, weight, *saved, True, epsilon, [True] * 3)


EQUIVALENTS = {
    "aten::cudnn_batch_norm": batch_norm,
    "aten::cudnn_batch_norm_backward": batch_norm_backward,
}


ENOUGH, MOST_DRAWS = 64, 8  # values that a movement is estimated from, and runs on moved inputs at most
# What torch's signatures do not say: these positions are written to as well.
ALSO_WRITTEN = {"aten::native_batch_norm": (3, 4), "aten::cudnn_batch_norm": (3, 4)}
# Whole numbers as floats: where moved inputs change the result, it leaps.
LEAPS = {"aten::ceil", "aten::floor", "aten::round", "aten::trunc", "aten::sign"}
# Torch takes float32 alone here; only powers of two are multiplied, so it is exact.
IN_OWN_TYPE = {"aten::_amp_foreach_non_finite_check_and_unscale_", "aten::_amp_update_scale_"}
PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}
FEW_TERMS_DRAWS = 3  # of few terms, moved inputs may leave the sum where it was by chance
ROUNDINGS = 10  # of an optimizer's step in one operator, about
SCALES = {"grad_scale", "found_inf"}  # arguments that are float32 for every type of gradients
POOL_WITH_POSITIONS = "aten::max_pool2d_with_indices"


@dataclass
class Checked:
    """One result of one operator. `excess` is its largest error in units of what its type allows for the
    number of terms that each of its elements sums: above 1, it is wrong.
    """

    order: int
    operator: str
    stage: str
    place: str
    shape: tuple[int, ...]
    dtype: str
    terms: int
    error: float
    excess: float


@dataclass
class Unchecked:
    """An operator that could not be computed again, and why."""

    order: int
    operator: str
    stage: str
    place: str
    reason: str


class OperatorCheck(TorchDispatchMode):
    """While it is entered, every operator that computes something is checked.

    Left out by rule and counted: views, uninitialized and random tensors, values read by Python, and what
    another device than `device` computes. What could not be computed again is in `unchecked`. Raises AlmError
    where the device lacks an operator.
    """

    def __init__(self, whereabouts: Whereabouts, device: torch.device):
        super().__init__()
        self._device = device
        self.checked: list[Checked] = []
        self.unchecked: list[Unchecked] = []
        self.left_out: Counter[str] = Counter()
        self._whereabouts = whereabouts
        self._order = 0
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self._order += 1
        origin = self._order, operator._schema.name, *self._whereabouts.now()
        if is_left_out(operator) or not self._is_on_device(args, kwargs):
            self.left_out[operator._schema.name] += 1
            return operator(*args, **kwargs)
        copied = to_cpu if origin[1] in IN_OWN_TYPE else to_exact
        given = (  # now: the operator may write into what it is given
            tree_map(copied, args),
            {name: tree_map(to_cpu if name in SCALES else copied, x) for name, x in kwargs.items()},
        )
        try:
            outputs = operator(*args, **kwargs)
        except NotImplementedError as error:
            raise AlmError(f"the device has no {origin[1]}, needed {origin[2]} in {origin[3]}") from error
        results = produced(operator, args, kwargs, outputs)
        if origin[1] in EQUIVALENTS:  # without its scratch space, which is of bytes
            results = [result for result in results if result.is_floating_point()]
        self._check(operator, origin, given, results)
        return outputs

    def _check(self, operator, origin: tuple, given: tuple, results: list[Tensor]) -> None:
        """Compute an operator again and compare each of its results."""
        order, name, stage, place = origin
        on_cpu = [result.detach().to(CPU) for result in results]
        try:
            exact, reaches = self._compute_again(operator, given, on_cpu)
        except Exception as error:  # the device's own operator, or one that has no float64 on the CPU
            reason = " ".join(str(error).split()).partition(". ")[0]  # torch adds a page on what it may be
            self.unchecked.append(Unchecked(order, name, stage, place, reason))
            return
        for index, (result, reference) in enumerate(zip(on_cpu, exact, strict=True)):
            terms = summed_terms(name, given, index, result)
            shape, dtype = tuple(result.shape), str(result.dtype).removeprefix("torch.")
            if name == POOL_WITH_POSITIONS and index == 1:  # of equal values any may be the largest
                result, reference = pooled_values(given, result), pooled_values(given, reference)
            ratio, error = compare(result, reference, reaches[index], terms, sums_channels(name, result))
            named = self._whereabouts.name_of(results[index]) or place
            self.checked.append(Checked(order, name, stage, named, shape, dtype, terms, error, ratio))

    def _compute_again(self, operator, given: tuple, results: list[Tensor]) -> tuple[list, list]:
        """Return an operator's results in float64, and how far each moves with its inputs."""
        floats = [result.numel() for result in results if result.is_floating_point()]
        leaps = operator._schema.name in LEAPS | IN_OWN_TYPE or not floats
        draws = 0 if leaps else min(max(ENOUGH // max(min(floats), 1), 1), MOST_DRAWS)
        if (
            operator._schema.name in PRODUCTS
            and summed_terms(operator._schema.name, given, 0, results[0]) < ENOUGH
        ):
            draws = max(draws, FEW_TERMS_DRAWS)
        others = [run(operator, *tree_map(self._moved, given)) for _ in range(draws)]
        exact = run(operator, *given)
        reaches = []
        for index, reference in enumerate(exact):
            moved = [other[index] for other in others] if reference.is_floating_point() else []
            reaches.append(error_limits.reach(reference, moved))
        return exact, reaches

    def _is_on_device(self, args: tuple, kwargs: dict) -> bool:
        """Whether an operator's tensors, or the one that it makes, are on the device that is checked."""
        places = [x.device if isinstance(x, Tensor) else x for x in tree_leaves((args, kwargs))]
        devices = [place for place in places if isinstance(place, torch.device)]
        return any(is_alike(device, self._device) for device in devices)

    def _moved(self, x):
        """Return a float64 tensor with its elements moved by a relative step; anything else as a copy."""
        if not isinstance(x, Tensor):
            return x
        return error_limits.moved(x, self._generator) if x.dtype == torch.float64 else x.clone()


def is_left_out(operator) -> bool:
    """Whether an operator computes nothing, or nothing that could be repeated."""
    schema = operator._schema
    writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
    returns = any("Tensor" in str(value.type) for value in schema.returns)
    return (
        not (writes or returns)
        or operator.is_view
        or "empty" in schema.name
        or torch.Tag.nondeterministic_seeded in operator.tags
    )


def to_cpu(x):
    """Return a copy of a tensor on the CPU, the CPU for a device, anything else as it is."""
    if isinstance(x, Tensor):
        return x.detach().to(CPU, copy=True)
    return CPU if isinstance(x, torch.device) else x


def to_exact(x):
    """Return what `to_cpu` does, with float64 for every type of floats."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return x.detach().to(CPU, torch.float64, copy=True)
    if isinstance(x, torch.dtype) and x.is_floating_point:
        return torch.float64
    return to_cpu(x)


def run(operator, args: tuple, kwargs: dict) -> list[Tensor]:
    """Return what an operator produces on the CPU."""
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    compute = EQUIVALENTS.get(operator._schema.name, operator)
    return produced(operator, args, kwargs, compute(*args, **kwargs))


def produced(operator, args: tuple, kwargs: dict, outputs) -> list[Tensor]:
    """Return the tensors that an operator wrote: into its arguments, and new ones."""
    schema = operator._schema
    given = [(a, args[i] if i < len(args) else kwargs.get(a.name)) for i, a in enumerate(schema.arguments)]
    written = [value for a, value in given if a.alias_info is not None and a.alias_info.is_write]
    written += [args[position] for position in ALSO_WRITTEN.get(schema.name, ())]
    tensors = [x for x in tree_leaves(written) if isinstance(x, Tensor)]
    known = {id(x) for x in tensors}
    return tensors + [x for x in tree_leaves(outputs) if isinstance(x, Tensor) and id(x) not in known]


def compare(result: Tensor, reference: Tensor, *sum_of) -> tuple[float, float]:
    """Return a result's largest error in units of its limit, and that error."""
    if result.shape != reference.shape:
        return math.inf, math.inf
    if result.is_floating_point():
        return error_limits.excess(result, reference.double(), *sum_of)
    return (0.0, 0.0) if torch.equal(result, reference) else (math.inf, math.inf)


def summed_terms(name: str, given: tuple, index: int, result: Tensor) -> int:
    """Return how many terms each element of an operator's result sums."""
    args = given[0]
    if name in PRODUCTS:
        return args[-1].shape[-2]
    match name.removeprefix("aten::"):
        case "convolution":
            return args[1][0].numel()
        case "convolution_backward":
            gradient, images, weight, *_ = args
            return weight[:, 0].numel() if result.shape == images.shape else gradient[:, 0].numel()
        case name if "batch_norm" in name:  # whole channels are in each element
            return args[0][:, 0].numel()
        case "avg_pool2d":
            return math.prod(args[1])
        case "avg_pool2d_backward" | "max_pool2d_with_indices_backward":  # the windows of a position
            return math.prod(args[2])
    if name.startswith(("aten::_foreach", "aten::_fused")):
        return ROUNDINGS if "_fused" in name else 1
    largest = max((x.numel() for x in tree_leaves(given) if isinstance(x, Tensor)), default=1)
    return max(1, largest // max(result.numel(), 1))


def sums_channels(name: str, result: Tensor) -> bool:
    """Whether sums over all positions of a channel are in a result: statistics, or a bias's gradient."""
    return "batch_norm" in name or (name == "aten::convolution_backward" and result.dim() == 1)


def pooled_values(given: tuple, positions: Tensor) -> Tensor:
    """Return what lies at the positions (B, C, H, W) that a pool has found its largest values at."""
    return given[0][0].flatten(2).gather(2, positions.flatten(2))
