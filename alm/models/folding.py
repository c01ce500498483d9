"""A trained network -> the same numbers in less time, in forms that only inference can use."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from alm.devices.device import is_accelerator
from alm.models.bn_inception import BNInception, ConvNorm, Inception

FEW_PICTURES = 4  # that pass the stem at once on the CPU: its maps, 3.7 MB a picture, need little new memory


def folded(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, with the batch normalization of every ConvNorm in its convolution.

    A module without ConvNorm is copied as it is.
    """
    clone = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(clone.modules()):
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity().eval()
        elif isinstance(module, BNInception):
            module.__class__ = FoldedBNInception
    return clone


def relu_early(model: nn.Module) -> None:
    """Let each convolution of BN-Inception apply its ReLU itself: onnxruntime joins the two in one pass."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.relu = nn.ReLU(inplace=True)
        elif isinstance(module, (Inception, BNInception)):
            module.relu = nn.Identity()


class FoldedBNInception(BNInception):
    """BN-Inception whose stem takes a few pictures at a time on the CPU."""

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 192, H/8, W/8)."""
        stem = super().stem
        traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # for any batch size
        if traced or is_accelerator(images.device):
            return stem(images)
        return torch.cat([stem(part) for part in images.split(FEW_PICTURES)])
