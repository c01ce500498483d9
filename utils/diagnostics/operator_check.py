"""Every operator of a training step, computed again on the CPU in float64 from the device's own inputs.

A step is thousands of operators. If its result is wrong, the first operator whose output does not follow
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
from utils.diagnostics import error_bounds
from utils.diagnostics.operator_origin import OperatorOrigin

aten = torch.ops.aten


def _batch_norm_backward(images, gradient, weight, mean, variance, saved_mean, saved_inverse, epsilon, _):
    saved = mean, variance, saved_mean, saved_inverse
    return aten.native_batch_norm_backward(gradient, images, weight, *saved, True, epsilon, [True] * 3)


# Operators of one library, and what computes the same on the CPU, but for the library's scratch space.
CPU_SUBSTITUTES = {
    "aten::cudnn_batch_norm": aten.native_batch_norm,
    "aten::cudnn_batch_norm_backward": _batch_norm_backward,
}
# Torch's signatures do not say that these positions are written to as well.
ALSO_WRITTEN = {"aten::native_batch_norm": (3, 4), "aten::cudnn_batch_norm": (3, 4)}
# Whole numbers as floats: if perturbed inputs change the result, it leaps.
LEAPS = {"aten::ceil", "aten::floor", "aten::round", "aten::trunc", "aten::sign"}
# Torch takes float32 alone here; only powers of two are multiplied, so it is exact.
IN_OWN_TYPE = {"aten::_amp_foreach_non_finite_check_and_unscale_", "aten::_amp_update_scale_"}
SCALES = {"grad_scale", "found_inf"}  # arguments that are float32 for every type of gradients
POOL_WITH_POSITIONS = "aten::max_pool2d_with_indices"
PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}
# Each element of a result is a sum of products of the inputs' elements, and all coefficients are positive.
SUMS = PRODUCTS | {
    "aten::convolution", "aten::convolution_backward", "aten::avg_pool2d", "aten::avg_pool2d_backward",
    "aten::max_pool2d_with_indices_backward", "aten::sum", "aten::mean",
}  # fmt: skip
OVER_CHANNELS = {"aten::convolution", "aten::addmm", "aten::baddbmm"}  # with another weight in each term
ROUNDINGS = 10  # of an optimizer's step in one operator, about
ENOUGH_VALUES, MOST_DRAWS = 64, 8  # to estimate a movement from, and runs on perturbed inputs at most


@dataclass
class OperatorResult:
    """One result of one operator. `excess` is its largest error in units of what its type allows for the
    number of terms that each of its elements sums; above 1 the result is wrong.
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
class UncheckedOperator:
    """An operator that could not be computed again, and the reason."""

    order: int
    operator: str
    stage: str
    place: str
    reason: str


class OperatorCheck(TorchDispatchMode):
    """While it is entered, it checks every operator that computes something.

    Raises AlmError if the device lacks an operator.

    Attributes:
        results: one `OperatorResult` per result, in order of execution.
        unchecked: the operators that could not be computed again.
        ignored: how many of each operator no rule can check: views, uninitialized and random tensors, values
            that Python reads, and what another device than `device` computes.
    """

    def __init__(self, origin: OperatorOrigin, device: torch.device):
        super().__init__()
        self.results: list[OperatorResult] = []
        self.unchecked: list[UncheckedOperator] = []
        self.ignored: Counter[str] = Counter()
        self._origin, self._device = origin, device
        self._order = 0
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = operator._schema.name
        self._order += 1
        origin = self._order, name, *self._origin.now()
        if _computes_nothing(operator) or not self._is_on_device(args, kwargs):
            self.ignored[name] += 1
            return operator(*args, **kwargs)
        convert = _to_cpu if name in IN_OWN_TYPE else _to_exact
        inputs = (  # copied now: the operator may write into its arguments
            tree_map(convert, args),
            {key: tree_map(_to_cpu if key in SCALES else convert, x) for key, x in kwargs.items()},
        )
        try:
            outputs = operator(*args, **kwargs)
        except NotImplementedError as error:
            raise AlmError(f"the device has no {name}, needed {origin[2]} in {origin[3]}") from error
        results = _written(operator, args, kwargs, outputs)
        if name in CPU_SUBSTITUTES:  # without its scratch space, which is of bytes
            results = [result for result in results if result.is_floating_point()]
        self._check(operator, origin, inputs, results)
        return outputs

    def _check(self, operator, origin: tuple, inputs: tuple, results: list[Tensor]) -> None:
        order, name, stage, place = origin
        on_cpu = [result.detach().to(CPU) for result in results]
        try:
            exact, movements = self._compute_again(operator, inputs, on_cpu)
        except Exception as error:  # the device's own operator, or one that has no float64 on the CPU
            reason = " ".join(str(error).split()).partition(". ")[0]  # torch adds a page on what it may be
            self.unchecked.append(UncheckedOperator(order, name, stage, place, reason))
            return
        for index, (result, reference) in enumerate(zip(on_cpu, exact, strict=True)):
            terms = _summed_terms(name, inputs, result)
            shape, dtype = tuple(result.shape), str(result.dtype).removeprefix("torch.")
            if name == POOL_WITH_POSITIONS and index == 1:  # of equal values any may be the largest
                result, reference = (_pooled_values(inputs, positions) for positions in (result, reference))
            movement = movements[index]
            if "batch_norm" in name:
                movement = error_bounds.channel_sensitivity(movement, terms)
            ratio, error = _compare(result, reference, movement, terms, _sums_alike(name, inputs, result))
            owner = self._origin.name_of(results[index]) or place
            self.results.append(OperatorResult(order, name, stage, owner, shape, dtype, terms, error, ratio))

    def _compute_again(self, operator, inputs: tuple, results: list[Tensor]) -> tuple[list, list]:
        """Return an operator's results in float64, and what cancels in each, or how far it moves with its
        inputs.
        """
        name = operator._schema.name
        if name in SUMS:
            exact, magnitudes = _run(operator, *inputs), _run(operator, *tree_map(_magnitude, inputs))
            return exact, list(map(error_bounds.cancellation, exact, magnitudes))
        draws = _draws(name, results)
        others = [_run(operator, *tree_map(self._perturb, inputs)) for _ in range(draws)]
        exact = _run(operator, *inputs)
        movements = []
        for index, reference in enumerate(exact):
            moved = [other[index] for other in others] if reference.is_floating_point() else []
            movements.append(error_bounds.sensitivity(reference, moved))
        return exact, movements

    def _is_on_device(self, args: tuple, kwargs: dict) -> bool:
        """Whether an operator reads or makes a tensor on the device that is checked."""
        places = [x.device if isinstance(x, Tensor) else x for x in tree_leaves((args, kwargs))]
        return any(is_alike(place, self._device) for place in places if isinstance(place, torch.device))

    def _perturb(self, x):
        if not isinstance(x, Tensor):
            return x
        return error_bounds.perturb(x, self._generator) if x.dtype == torch.float64 else x.clone()


def _computes_nothing(operator) -> bool:
    """Whether an operator computes nothing, or nothing that could be repeated."""
    schema = operator._schema
    writes = any(_is_written(argument) for argument in schema.arguments)
    returns = any("Tensor" in str(value.type) for value in schema.returns)
    return (
        not (writes or returns)
        or operator.is_view
        or "empty" in schema.name
        or torch.Tag.nondeterministic_seeded in operator.tags
    )


def _is_written(argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written(operator, args: tuple, kwargs: dict, outputs) -> list[Tensor]:
    """Return the tensors that an operator wrote: into its arguments, and new ones."""
    schema = operator._schema
    values = [args[i] if i < len(args) else kwargs.get(a.name) for i, a in enumerate(schema.arguments)]
    changed = [value for value, a in zip(values, schema.arguments, strict=True) if _is_written(a)]
    changed += [args[position] for position in ALSO_WRITTEN.get(schema.name, ())]
    tensors = [x for x in tree_leaves(changed) if isinstance(x, Tensor)]
    known = {id(x) for x in tensors}
    return tensors + [x for x in tree_leaves(outputs) if isinstance(x, Tensor) and id(x) not in known]


def _to_cpu(x):
    """Return a copy of a tensor on the CPU, the CPU for a device, anything else as it is."""
    if isinstance(x, Tensor):
        return x.detach().to(CPU, copy=True)
    return CPU if isinstance(x, torch.device) else x


def _to_exact(x):
    """Return the same, with float64 for every type of floats."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return x.detach().to(CPU, torch.float64, copy=True)
    if isinstance(x, torch.dtype) and x.is_floating_point:
        return torch.float64
    return _to_cpu(x)


def _run(operator, args: tuple, kwargs: dict) -> list[Tensor]:
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    compute = CPU_SUBSTITUTES.get(operator._schema.name, operator)
    return _written(operator, args, kwargs, compute(*args, **kwargs))


def _magnitude(x):
    return x.abs() if isinstance(x, Tensor) and x.is_floating_point() else x


def _draws(name: str, results: list[Tensor]) -> int:
    """Return how often an operator runs on perturbed inputs."""
    sizes = [result.numel() for result in results if result.is_floating_point()]
    if name in LEAPS | IN_OWN_TYPE or not sizes:
        return 0
    return min(max(ENOUGH_VALUES // max(min(sizes), 1), 1), MOST_DRAWS)


def _compare(result: Tensor, reference: Tensor, *sum_of) -> tuple[float, float]:
    """Return a result's error in units of its limit, and its largest error."""
    if result.shape != reference.shape:
        return math.inf, math.inf
    if result.is_floating_point():
        return error_bounds.excess(result, reference.double(), *sum_of)
    return (0.0, 0.0) if torch.equal(result, reference) else (math.inf, math.inf)


def _summed_terms(name: str, inputs: tuple, result: Tensor) -> int:
    """Return how many terms each element of an operator's result sums."""
    args = inputs[0]
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
        case name if name.startswith(("_foreach", "_fused")) and name != "_foreach_norm":
            return ROUNDINGS if "_fused" in name else 1
    largest = max((x.numel() for x in tree_leaves(inputs) if isinstance(x, Tensor)), default=1)
    return max(1, largest // max(result.numel(), 1))


def _sums_alike(name: str, inputs: tuple, result: Tensor) -> bool:
    """Whether an element of an operator's result sums terms that may be alike, such as those of positions."""
    if name == "aten::convolution_backward":
        return result.shape != inputs[0][1].shape  # but the gradient of the images
    return "batch_norm" in name or name in SUMS - OVER_CHANNELS


def _pooled_values(inputs: tuple, positions: Tensor) -> Tensor:
    """Return the values at the positions (B, C, H, W) that a pool took for its largest."""
    return inputs[0][0].flatten(2).gather(2, positions.flatten(2))
