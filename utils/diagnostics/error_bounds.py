"""How far an operator's result may be from the exact one, by the type that it was computed in.

A sum of n terms is rounded n times. Each rounding is off by at most u, the type's unit roundoff, times the
partial sum that is rounded. Which partial sums there are is the device's choice: one after the other, blocks,
a part per thread. But none is larger than all positive terms together, or all negative ones. If the terms add
up to x and their magnitudes to A, that is (A + |x|) / 2 at most. So for every order

    |error| <= n u (A + |x|) / 2 = n u (|x| + (A - |x|) / 2)

where (A - |x|) / 2 is what cancels. A is measured: the operator runs once more, in float64, on its inputs'
magnitudes. So if the true value is zero, as of the gradient of a bias before a batch normalization, the terms
judge the error and not the little that remains of them.

Neighbours in a picture are alike. If equal terms are added one after the other, all roundings go the same
way, and a sum over positions may come near this limit. A sum over channels has another weight in each term.
Its roundings go up as often as down, so n of them gather to sqrt(n) times one (Higham and Mary, A New
Approach to Probabilistic Rounding Error Analysis, 2019), and FACTOR sqrt(n) takes the place of n.

Other operators are no plain sums. By backward error analysis (Higham, Accuracy and Stability of Numerical
Algorithms, chapters 1 and 4) a result may be off by its own rounding, and by as much as it moves if its
inputs are off by theirs. This is measured too: the operator runs once more, in float64, on inputs moved by a
tiny relative step of random sign. The movement takes the place of what cancels.

A batch normalization sums whole channels of n values. The movement of such a sum is the root of its terms'
sum of squares, so A is at most sqrt(n) times the movement (Cauchy and Schwarz). In maps each channel's sums
have a share of 1 / n, so their part in an element's A is at most the average movement in its channel.

Two errors are judged: the largest one of an element, and the part that all elements share. A sum of many
terms makes the first one large even on a right device. Rounding averages out of the second, unless terms are
alike.
"""

import math

import torch
from torch import Tensor

FACTOR = 4.0
TERMS_IN_HALF = 9
STEP = 2.0**-26  # far above float64's rounding, far below what would change an operator's course


def roundoff(dtype: torch.dtype) -> float:
    """Return a type's unit roundoff, the largest relative error of rounding to it."""
    return torch.finfo(dtype).eps / 2


def smallest_step(dtype: torch.dtype) -> float:
    """Return the step between a type's smallest numbers; for float32 its smallest normal number, because a
    device may lack smaller ones.
    """
    info = torch.finfo(dtype)
    return info.tiny if info.bits >= 32 else info.tiny * info.eps


def growth(terms: int, dtype: torch.dtype, alike: bool = False) -> float:
    """Return how much rounding grows in a sum of n terms, in units of FACTOR: sqrt(n), or with terms that are
    `alike` n / FACTOR if that is more.

    Half precision is summed in float32, but for a few terms: windows that overlap, parts of several threads.
    """
    count = terms if torch.finfo(dtype).bits >= 32 else min(terms, TERMS_IN_HALF)
    return max(math.sqrt(count), count / FACTOR if alike else 0)


def perturb(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return a float64 tensor with each element moved by STEP times itself, up or down at random."""
    signs = torch.randint(0, 2, tensor.shape, generator=generator, dtype=torch.int8)
    return torch.addcmul(tensor, tensor, signs.double().mul_(2).sub_(1), value=STEP)


def cancellation(exact: Tensor, magnitudes: Tensor) -> Tensor:
    """Return how much cancels in each element of a result: its positive terms' sum or its negative ones',
    whichever is smaller. `magnitudes` is the result of the inputs' magnitudes.

    No element has less than the average: a device may compute several together, as by Winograd's convolution.
    """
    cancelled = ((magnitudes - exact.abs()) / 2).clamp(min=0).nan_to_num()
    return cancelled.clamp(min=cancelled.square().mean().sqrt())


def sensitivity(exact: Tensor, others: list[Tensor]) -> Tensor | float:
    """Return how far each element of a result moves if its inputs move by a relative step of 1.

    `others` are the results of perturbed inputs. The average movement of all elements is added to an
    element's own, which may be small by chance.
    """
    if not others:
        return 0.0
    squares = torch.stack([(other - exact) / STEP for other in others]).square().mean(0).nan_to_num()
    return squares.sqrt() + squares.mean().sqrt()


def channel_sensitivity(movement: Tensor, terms: int) -> Tensor:
    """Return what a batch normalization's result has in the place of its `sensitivity`, given here: maps
    (B, C, H, W), or one value per channel (C,), a sum of `terms` values.
    """
    if movement.dim() == 1:
        return movement * math.sqrt(terms)
    return movement + movement.square().mean((0, 2, 3), keepdim=True).sqrt()


def excess(
    result: Tensor, exact: Tensor, movement: Tensor | float, terms: int, alike: bool = False
) -> tuple[float, float]:
    """Return a result's error in units of its limit, and the largest error of an element.

    `result` in its own type and `exact` in float64 have one shape and are on the CPU; `movement` is the
    `cancellation` in a sum, of other results the `sensitivity`. Each element sums `terms` values, which may
    be `alike`. An overflow that rounding explains is no error, and neither is NaN if the exact result is NaN.
    """
    if not result.numel():
        return 0.0, 0.0
    dtype = result.dtype
    explained = (result == exact.to(dtype)) | (result.isnan() & exact.isnan())
    error = torch.where(explained, 0.0, result.double() - exact)
    allowed = growth(terms, dtype, alike) * (exact.abs() + movement)
    unit, exact = FACTOR * roundoff(dtype), torch.where(exact.isfinite(), exact, 0.0)
    steps = 2 * growth(terms, dtype) * smallest_step(dtype)  # near zero each rounding is to a fixed step
    largest = torch.where(explained, 0.0, error.abs() / (unit * allowed + steps)).max()
    noise = (allowed * exact).nan_to_num().square().sum().sqrt()
    shared = (error * exact).sum().abs()
    shared = shared / (unit * (exact.square().sum() + noise) + steps * exact.norm())
    shared = torch.where(exact.any() & (not alike), shared, 0.0)
    ratio = torch.maximum(largest, shared).item()
    return math.inf if math.isnan(ratio) else ratio, error.abs().max().item()
