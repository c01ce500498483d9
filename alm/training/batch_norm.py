"""Batch normalization over the pictures of all ranks."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from alm.errors import AlmError
from alm.training import distributed


def synchronize(model: nn.Module) -> None:
    """Let a model's batch normalization have the statistics of all ranks' pictures. Its names in a checkpoint
    stay. torch's own module does not serve: it holds the group of ranks, so no model with it can be copied.

    Raises AlmError if the model normalizes its batches by another module than torch's or timm's.
    """
    torchs = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    synchronized = dict.fromkeys(torchs, SynchronizedBatchNorm)
    kinds = {type(module) for module in model.modules() if isinstance(module, _BatchNorm)}
    if kinds - synchronized.keys():  # it is a model of timm's
        from timm.layers import BatchNormAct2d

        synchronized[BatchNormAct2d] = SynchronizedBatchNormAct
    for kind in kinds - synchronized.keys():
        raise AlmError(
            f"--sync_bn: the backbone has a {kind.__name__}, which cannot be synchronized; leave the option "
            "out, or take --backbone bn_inception"
        )
    for module in model.modules():
        module.__class__ = synchronized.get(type(module), type(module))


@contextmanager
def without_statistics(model: nn.Module) -> Iterator[None]:
    """Let a batch without pictures pass; statistics of this rank alone cannot be made of it."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    norms = [module for module in norms if not isinstance(module, SynchronizedBatchNorm)]
    for module in norms:
        module.eval()
    yield
    for module in norms:
        module.train()


class SynchronizedBatchNorm(_BatchNorm):
    """Batch normalization whose mean and variance are of the pictures (B, C, ...) of all ranks, also if this
    rank has none.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalized images, and take their statistics into the running ones in training."""
        if not self.training:
            return super().forward(images)
        x = images.to(torch.promote_types(images.dtype, torch.float32)).transpose(1, -1)  # (B, ..., C)
        channels, others = x.shape[-1], tuple(range(x.dim() - 1))
        ones = x.new_full((1,), math.prod(x.shape[:-1]))
        sums, count = Total.apply(torch.cat([x.sum(others), ones])).split([channels, 1])
        mean = sums / count
        centred = x - mean
        variance = Total.apply(centred.square().sum(others)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            unbiased = variance * count / (count - 1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale + self.bias).transpose(1, -1).to(images.dtype)

    def _check_input_dim(self, images: Tensor) -> None:
        """Take any shape: torch has a module for each number of axes."""


class SynchronizedBatchNormAct(SynchronizedBatchNorm):
    """The same for timm's BatchNormAct2d, whose activation follows."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the activations of the normalized images."""
        return self.act(self.drop(super().forward(images)))


class Total(torch.autograd.Function):
    """The sum over all ranks. Each of them has a loss of its own, so their gradients add up too."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        """Return the sum of all ranks' values."""
        return distributed.total(values)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        """Return the sum of all ranks' gradients."""
        return distributed.total(gradient)
