"""BN-Inception (Ioffe and Szegedy, 2015), built from a table, with the three feature maps that ALM reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from alm.devices.device import is_accelerator
from alm.models.folding import PackedConvolution, is_exporting

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
TAPS = {"3b": 320, "4d": 608, "5b": 1024}  # the blocks that ALM reads, and their channels
POOLS = {
    "avg": lambda: nn.AvgPool2d(3, stride=1, padding=1, ceil_mode=True),
    "max": lambda: nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
    "halve": lambda: nn.MaxPool2d(3, stride=2, ceil_mode=True),
}

CACHED_PICTURES = 4  # of a folded stem on the CPU: its large maps, 3.7 MB a picture, then stay in the caches


class ConvNorm(nn.Module):
    """Convolution, batch normalization, ReLU; in evaluation the first two can be folded into one.

    Without `relu` the caller applies it behind a max pool or a concatenation: the same numbers, as it
    commutes with both, on fewer elements and with fewer of them kept for the gradients.
    `BNInception.apply_relu_early` puts it back.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = relu
        self.packed: PackedConvolution | None = None  # when folded

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        if self.packed is not None and self.packed.takes(self.conv, x):
            x = self.packed(self.conv, x, self.conv.bias)
        else:
            x = self.bn(self.conv(x))
        return x.relu_() if self.relu else x

    def without_bias(self, x: Tensor) -> Tensor:
        """Return the convolution alone: no bias, no normalization, no ReLU."""
        if self.packed is not None and self.packed.takes(self.conv, x):
            return self.packed(self.conv, x, None)
        return F.conv2d(x, self.conv.weight, None, self.conv.stride, self.conv.padding)

    def fold(self) -> None:
        """Put the normalization's running statistics into the convolution, for good."""
        self.conv = fuse_conv_bn_eval(self.conv, self.bn)
        self.bn = nn.Identity()
        self.packed = PackedConvolution()


class StemPool(torch.autograd.Function):
    """The stem's max pool, 3/2. PyTorch's own keeps its input for the gradient, of which only the shape is
    read: 117 MB at a batch of 32.
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
        """Put each gradient where the largest value was."""
        (indices,) = ctx.saved_tensors
        unread = torch.empty_strided(*ctx.layout, dtype=gradient.dtype, device=gradient.device)
        options = (3, 3), (2, 2), (0, 0), (1, 1), True  # kernel, stride, padding, dilation, ceil_mode
        return torch.ops.aten.max_pool2d_with_indices_backward(gradient, unread, *options, indices)


class AverageProjection(nn.Sequential):
    """Average pool and 1x1 convolution with its normalization, averaged last: on the fewer channels.

    Both are linear, so the order is free but for the bias: the padding that the pool counts has none.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(POOLS["avg"](), ConvNorm(in_channels, out_channels, 1, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W), before the ReLU where that is late."""
        pool, projection = self
        averaged = pool(projection.without_bias(x))
        bias = projection.conv.bias.to(averaged.dtype)  # in float32 it would widen the block under autocast
        x = projection.bn(averaged + bias[:, None, None])
        return x.relu_() if projection.relu else x


class Inception(nn.Module):
    """One block: branches side by side on the same input, concatenated, then the ReLU of all."""

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
        self.late_relu = True
        self.out_channels = (one or 0) + three[-1] + double[-1] + (projection or in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, `out_channels`, H, W), or half of H and W where the block halves the map."""
        outputs = [branch(x) for branch in self.branches.values()]
        for output in outputs:
            if output.requires_grad and not torch.compiler.is_compiling():  # which lays gradients out itself
                output.register_hook(torch.clone)  # batch normalization's gradient is slow on a slice
        x = torch.cat(outputs, dim=1)
        return x.relu_() if self.late_relu else x


class BNInception(nn.Module):
    """The backbone: a stem of three convolutions and ten Inception blocks."""

    def __init__(self):
        super().__init__()
        self.conv1 = ConvNorm(3, 64, 7, stride=2, relu=False)
        self.conv2_reduce = ConvNorm(64, 64, 1)
        self.conv2 = ConvNorm(64, 192, 3, relu=False)
        self.late_relu = True
        self.stem_batch: int | None = None  # pictures that pass the stem at once; None: all
        self.inception = nn.ModuleDict()
        channels = 192
        for name, row in BLOCKS.items():
            self.inception[name] = Inception(channels, *row)
            channels = self.inception[name].out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the taps of images (B, 3, H, W): 3b (B, 320, H/8, W/8), 4d (B, 608, H/16, W/16) and
        5b (B, 1024, H/32, W/32).
        """
        if self.stem_batch is None or is_exporting():  # whose batch has any size
            x = self._stem(images)
        else:
            x = torch.cat([self._stem(part) for part in images.split(self.stem_batch)])
        taps = {}
        for name, block in self.inception.items():
            x = block(x)
            if name in TAPS:
                taps[name] = x
        return taps

    def _stem(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 192, H/8, W/8)."""
        x = self._pooled(self.conv1(images))
        return self._pooled(self.conv2(self.conv2_reduce(x)))

    def _pooled(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H/2, W/2)."""
        x = StemPool.apply(x)
        return x.relu_() if self.late_relu else x

    def fold(self) -> None:
        """Fold every batch normalization into its convolution (evaluation only, for good)."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        if not is_accelerator(self.conv1.conv.weight.device):
            self.stem_batch = CACHED_PICTURES

    def apply_relu_early(self) -> None:
        """Let each branch apply its ReLU itself, for good: for who takes it in the convolution's own pass, as
        onnxruntime does, in integers above all.
        """
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.relu = True
            elif isinstance(module, (Inception, BNInception)):
                module.late_relu = False
