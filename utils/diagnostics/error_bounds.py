"""How far an operator's result may be from the exact one, by the type that it was computed in.

Backward error analysis (Higham, Accuracy and Stability of Numerical Algorithms, chapters 1 and 4): a result
may be off by its own rounding, and by as much as it moves if its inputs are off by theirs. The second part
is measured: the operator runs once more, in float64, on inputs moved by a tiny relative step of random sign.
So if terms cancel, as in the gradient of a bias before a batch normalization, the terms judge the error and
not the little that remains of them.

Two errors are judged: the largest one of an element, and the part that all elements share. A sum of many
terms makes the first one large even on a right device; rounding averages out of the second.
"""

import math

import torch
from torch import Tensor

FACTOR = 4.0
TERMS_IN_HALF = 9
DRIFT = 4.0  # neighbours in a channel are alike, so the partial sums of its statistics drift
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


def growth(terms: int, dtype: torch.dtype) -> float:
    """Return how much rounding grows in a sum of n terms: sqrt(n), because its errors are independent.

    Half precision is summed in float32, but for a few terms: windows that overlap, parts of several threads.
    """
    return math.sqrt(terms if torch.finfo(dtype).bits >= 32 else min(terms, TERMS_IN_HALF))


def perturb(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return a float64 tensor with each element moved by STEP times itself, up or down at random."""
    signs = torch.randint(0, 2, tensor.shape, generator=generator, dtype=torch.int8)
    return torch.addcmul(tensor, tensor, signs.double().mul_(2).sub_(1), value=STEP)


def sensitivity(exact: Tensor, others: list[Tensor]) -> Tensor | float:
    """Return how far each element of a result moves if its inputs move by a relative step of 1.

    `others` are the results of perturbed inputs. The average movement of all elements is added to an
    element's own, which may be small by chance.
    """
    if not others:
        return 0.0
    squares = torch.stack([(other - exact) / STEP for other in others]).square().mean(0).nan_to_num()
    return squares.sqrt() + squares.mean().sqrt()


def excess(
    result: Tensor, exact: Tensor, movement: Tensor | float, terms: int, of_channels: bool = False
) -> tuple[float, float]:
    """Return a result's error in units of its limit, and the largest error of an element.

    `result` in its own type and `exact` in float64 have one shape and are on the CPU; `movement` is their
    `sensitivity`. Each element sums `terms` values, with `of_channels` those of its channel. An overflow that
    rounding explains is no error, and neither is NaN if the exact result is NaN.
    """
    if not result.numel():
        return 0.0, 0.0
    dtype = result.dtype
    explained = (result == exact.to(dtype)) | (result.isnan() & exact.isnan())
    error = torch.where(explained, 0.0, result.double() - exact)
    allowed = growth(terms, dtype) * (DRIFT if of_channels else 1.0) * (exact.abs() + movement)
    unit, exact = FACTOR * roundoff(dtype), torch.where(exact.isfinite(), exact, 0.0)
    steps = 2 * growth(terms, dtype) * smallest_step(dtype)  # near zero each rounding is to a fixed step
    largest = torch.where(explained, 0.0, error.abs() / (unit * allowed + steps)).max()
    noise = (allowed * exact).nan_to_num().square().sum().mul(terms if of_channels else 1).sqrt()
    shared = (error * exact).sum().abs()
    shared = shared / (unit * (exact.square().sum() + noise) + steps * exact.norm())
    shared = torch.where(exact.any(), shared, 0.0)
    ratio = torch.maximum(largest, shared).item()
    return math.inf if math.isnan(ratio) else ratio, error.abs().max().item()
