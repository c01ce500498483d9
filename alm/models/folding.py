"""A trained network -> the same numbers in less time, in forms that only inference can use."""

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from alm.devices.device import is_accelerator
from alm.models.bn_inception import BNInception, ConvNorm, Inception

CACHED_PICTURES = 4  # that pass the stem at once on the CPU: its large maps, 3.7 MB a picture, stay in caches


def folded(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, with the batch normalization of every ConvNorm in its convolution.

    A module without ConvNorm is copied as it is.
    """
    clone = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(clone.modules()):
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.conv.__class__ = PackedConv2d
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


def is_exporting() -> bool:
    """Whether this is a trace, which must hold for any batch size and use operators that others know."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class FoldedBNInception(BNInception):
    """BN-Inception whose stem takes a few pictures at a time on the CPU."""

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 192, H/8, W/8)."""
        stem = super().stem
        if is_exporting() or is_accelerator(images.device):
            return stem(images)
        return torch.cat([stem(part) for part in images.split(CACHED_PICTURES)])


class PackedConv2d(nn.Conv2d):
    """A convolution on the CPU whose weight is laid out once as oneDNN reads it.

    nn.Conv2d lays it out at every call, and for a single picture's small maps it takes a slower algorithm
    than oneDNN's: together a sixth to a fifth of a picture's time. This layer lays it out at the first call,
    and again if the weight changes; torch does not count changes to a tensor of inference mode, so those go
    unseen. The ReLU stays outside: inside it gains nothing measurable, and oneDNN's turns NaN into 0.
    """

    _laid_out: tuple[int, Tensor] | None = None  # the weight's version, and the weight as oneDNN reads it

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_laid_out": None}  # oneDNN's tensor can be neither copied nor saved

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""  # torch 2.4 traces no layer of its own
        return self._conv_forward(x, self.weight, self.bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self._can_take(x):
            return super()._conv_forward(x, weight, bias)
        version = 0 if weight.is_inference() else weight._version  # inference tensors have none
        laid_out = self._laid_out  # one read: another thread may lay it out meanwhile
        if laid_out is None or laid_out[0] != version:
            laid_out = self._laid_out = version, laid_out_weight(self, x)
        return convolve(x, laid_out[1], bias, self)

    def _can_take(self, x: Tensor) -> bool:
        """Whether `x` is float32 on the CPU, without gradients or a trace."""
        return (
            not is_accelerator(x.device)
            and x.dtype == torch.float32
            and not (torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad))
            and not torch.is_autocast_enabled(x.device.type)
            and not is_exporting()
            and can_pack()
        )


def laid_out_weight(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return a convolution's weight as oneDNN reads it for maps of the size of `x`; larger batches too."""
    return torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *geometry(conv), x.shape)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
    """Return the convolution with a weight that is laid out."""
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry(conv), "none", [], "")


def geometry(conv: nn.Conv2d) -> tuple:
    """Return padding, stride, dilation and groups."""
    return conv.padding, conv.stride, conv.dilation, conv.groups


@cache
def can_pack() -> bool:
    """Whether this torch has these two operators, which are private, and they compute right."""
    with torch.inference_mode():
        conv, x = nn.Conv2d(3, 4, 3, 2, 1), torch.linspace(-1, 1, 480).view(2, 3, 8, 10)
        try:
            result = convolve(x, laid_out_weight(conv, x), conv.bias, conv)
        except Exception:  # each version and build lacks them in its own words
            return False
        return torch.allclose(result, conv(x), rtol=1e-5, atol=1e-5)
