"""Convolutions of a folded network on the CPU: weights laid out once as oneDNN reads them.

torch.nn.Conv2d lays them out anew at every call, and at batch 1 leaves oneDNN for a slower algorithm
wherever the map is small: a fifth of a picture's time. The ReLU is left out: in the same pass it gains
nothing that could be measured, and oneDNN's makes 0 of NaN, which has to be seen.
"""

from functools import cache

import torch
from torch import Tensor, nn

from alm.devices.device import is_accelerator


class PackedConvolution:
    """The weights of a convolution, laid out at the first call and again when they change.

    The convolution keeps its own, for where `takes` says no. A change to a tensor of inference mode goes
    unseen, as torch does not count it: fold the changed network anew.
    """

    def __init__(self):
        self._laid_out: tuple[int, Tensor] | None = None  # the version of the weights, and the weights

    def __reduce__(self):
        return type(self), ()  # a copy lays out its own weights: oneDNN's can be neither copied nor saved

    def takes(self, conv: nn.Conv2d, x: Tensor) -> bool:
        """Whether `x` can be convolved so: in float32 on the CPU, without gradients or a trace."""
        return (
            not is_accelerator(x.device)
            and x.dtype == torch.float32
            and not (torch.is_grad_enabled() and (x.requires_grad or conv.weight.requires_grad))
            and not torch.is_autocast_enabled(x.device.type)
            and not is_exporting()
            and can_pack()
        )

    def __call__(self, conv: nn.Conv2d, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        version = 0 if conv.weight.is_inference() else conv.weight._version  # inference tensors have none
        laid_out = self._laid_out  # one read: another thread may lay them out meanwhile
        if laid_out is None or laid_out[0] != version:
            laid_out = self._laid_out = version, laid_out_weight(conv, x)
        return convolve(x, laid_out[1], bias, conv)


def laid_out_weight(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return a convolution's weight as oneDNN reads it for maps of the size of `x`; larger batches too."""
    return torch.ops.mkldnn._reorder_convolution_weight(conv.weight, *geometry(conv), x.shape)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
    """Return the convolution with a weight that is laid out."""
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry(conv), "none", [], "")


def geometry(conv: nn.Conv2d) -> tuple:
    """Return padding, stride, dilation and groups."""
    return conv.padding, conv.stride, conv.dilation, conv.groups


def is_exporting() -> bool:
    """Whether a trace is taken, of operators that others must know and of a batch of any size."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


@cache
def can_pack() -> bool:
    """Whether this torch has these two operators, which are not of its public ones, and they are right."""
    with torch.inference_mode():
        conv, x = nn.Conv2d(3, 4, 3, 2, 1), torch.linspace(-1, 1, 480).view(2, 3, 8, 10)
        try:
            found = convolve(x, laid_out_weight(conv, x), conv.bias, conv)
        except Exception:  # each version and build lacks them in its own words
            return False
        return torch.allclose(found, conv(x), rtol=1e-5, atol=1e-5)
