"""Operators that only an accelerator's library has, as what the CPU has for them."""

import torch
from torch import Tensor

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
