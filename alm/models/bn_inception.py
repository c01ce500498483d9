"""BN-Inception (Ioffe and Szegedy, 2015), built from a table, with the three feature maps that ALM reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alm.constants import LEVELS, MEAN, STD, STRIDES, Tap

# Output channels of each branch of an Inception block; a pair or triple names the convolutions of a chain.
#        1x1    3x3         double 3x3      pool
BLOCKS = {
    "3a": (64, (64, 64), (64, 96, 96), ("avg", 32)),
    "3b": (64, (64, 96), (64, 96, 96), ("avg", 64)),
    "3c": (None, (128, 160), (64, 96, 96), ("halve", None)),
    "4a": (224, (64, 96), (96, 128, 128), ("avg", 128)),
    "4b": (192, (96, 128), (96, 128, 128), ("avg", 128)),
    "4c": (160, (128, 160), (128, 160, 160), ("avg", 128)),
    "4d": (96, (128, 192), (160, 192, 192), ("avg", 128)),
    "4e": (None, (128, 192), (192, 256, 256), ("halve", None)),
    "5a": (352, (192, 320), (160, 224, 224), ("avg", 128)),
    "5b": (352, (192, 320), (192, 224, 224), ("max", 128)),
}
POOLS = {
    "avg": lambda: nn.AvgPool2d(3, stride=1, padding=1, ceil_mode=True),
    "max": lambda: nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
    "halve": lambda: nn.MaxPool2d(3, stride=2, ceil_mode=True),
}


class ConvNorm(nn.Module):
    """Convolution, batch normalization, ReLU; without `relu` the caller applies it (see "Same numbers")."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """One block: branches side by side on the same input, concatenated."""

    def __init__(self, in_channels: int, one, three, double, pool):
        super().__init__()
        kind, projection = pool
        stride = 2 if kind == "halve" else 1
        self.branches = nn.ModuleDict()
        if one:
            self.branches["1x1"] = nn.Sequential(ConvNorm(in_channels, one, 1, relu=False))
        self.branches["3x3"] = nn.Sequential(
            ConvNorm(in_channels, three[0], 1),
            ConvNorm(three[0], three[1], 3, stride, relu=False),
        )
        self.branches["double_3x3"] = nn.Sequential(
            ConvNorm(in_channels, double[0], 1),
            ConvNorm(double[0], double[1], 3),
            ConvNorm(double[1], double[2], 3, stride, relu=False),
        )
        if kind == "avg":
            self.branches["pool"] = AverageProjection(in_channels, projection)
        elif kind == "max":
            projected = ConvNorm(in_channels, projection, 1, relu=False)
            self.branches["pool"] = nn.Sequential(POOLS[kind](), projected)
        else:
            self.branches["pool"] = nn.Sequential(POOLS[kind]())
        self.relu = nn.ReLU(inplace=True)
        self.out_channels = (one or 0) + three[-1] + double[-1] + (projection or in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, `out_channels`, H, W), or half of H and W if the block halves the map."""
        return self.relu(concatenated([branch(x) for branch in self.branches.values()]))


class BNInception(nn.Module):
    """The backbone: a stem of three convolutions and ten Inception blocks; see backbones.Backbone."""

    taps = tuple(map(Tap, LEVELS, (320, 608, 1024), STRIDES))
    mean, std = MEAN, STD

    def __init__(self):
        super().__init__()
        self.conv1 = ConvNorm(3, 64, 7, stride=2, relu=False)
        self.conv2_reduce = ConvNorm(64, 64, 1)
        self.conv2 = ConvNorm(64, 192, 3, relu=False)
        self.relu = nn.ReLU(inplace=True)
        self.inception = nn.ModuleDict()
        channels = 192
        for name, row in BLOCKS.items():
            self.inception[name] = Inception(channels, *row)
            channels = self.inception[name].out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> 3b (B, 320, H/8, W/8), 4d (B, 608, H/16, W/16), 5b (B, 1024, H/32, W/32)."""
        x = self.stem(images)
        taps = {}
        for name, block in self.inception.items():
            x = block(x)
            if name in LEVELS:
                taps[name] = x
        return taps

    def stages(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the stem, and of each block."""
        stem = nn.ModuleList([self.conv1, self.conv2_reduce, self.conv2])
        return [list(stage.parameters()) for stage in (stem, *self.inception.values())]

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 192, H/8, W/8)."""
        x = self.relu(StemPool.apply(self.conv1(images)))
        return self.relu(StemPool.apply(self.conv2(self.conv2_reduce(x))))


# Same numbers, less memory. The plain network applies each ReLU right behind its normalization. A ReLU
# commutes with a max pool and with a concatenation, so here it comes after them: it computes fewer elements
# and keeps fewer for the gradients. `folding.relu_early` puts it back.


class StemPool(torch.autograd.Function):
    """The plain form is `F.max_pool2d(x, 3, 2, ceil_mode=True)`.

    The plain form keeps its input for the gradient and reads only the shape: 117 MB at a batch of 32.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2)."""
        largest, indices = F.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)
        ctx.save_for_backward(indices)
        ctx.layout = x.shape, x.stride()
        return largest

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """Put each gradient at the place of the largest value."""
        (indices,) = ctx.saved_tensors
        unread = torch.empty_strided(*ctx.layout, dtype=gradient.dtype, device=gradient.device)
        options = (3, 3), (2, 2), (0, 0), (1, 1), True  # kernel, stride, padding, dilation, ceil_mode
        return torch.ops.aten.max_pool2d_with_indices_backward(gradient, unread, *options, indices)


class AverageProjection(nn.Sequential):
    """The plain form is `nn.Sequential(POOLS["avg"](), ConvNorm(in_channels, out_channels, 1))`.

    Pool and convolution are linear, so the pool comes last, on fewer channels. Only the bias is added behind
    it, because the padding that the pool counts has none.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(POOLS["avg"](), ConvNorm(in_channels, out_channels, 1, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        pool, projection = self
        conv = projection.conv
        averaged = pool(conv._conv_forward(x, conv.weight, None))
        bias = conv.bias.to(averaged.dtype)  # float32 would widen the whole block under autocast
        return projection.relu(projection.bn(averaged + bias[:, None, None]))


def concatenated(outputs: list[Tensor]) -> Tensor:
    """The plain form is `torch.cat(outputs, dim=1)`.

    Its gradients are slices of one tensor, on which batch normalization's gradient is slow: they are copied.
    """
    if not torch.compiler.is_compiling():  # the compiler lays gradients out itself
        for output in outputs:
            if output.requires_grad:
                output.register_hook(torch.clone)
    return torch.cat(outputs, dim=1)
