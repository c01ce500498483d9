"""BN-Inception (Ioffe and Szegedy, 2015), built from a table, with the three feature maps that ALM reads."""

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

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


class ConvNorm(nn.Module):
    """Convolution, batch normalization, ReLU; in evaluation the first two can be folded into one."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H / stride, W / stride)."""
        return torch.relu_(self.bn(self.conv(x)))

    def fold(self) -> None:
        """Put the normalization's running statistics into the convolution, for good."""
        self.conv = fuse_conv_bn_eval(self.conv, self.bn)
        self.bn = nn.Identity()


class Inception(nn.Module):
    """One block: branches side by side on the same input, their outputs concatenated."""

    def __init__(self, in_channels: int, one, three, double, pool):
        super().__init__()
        kind, projection = pool
        stride = 2 if kind == "halve" else 1
        self.branches = nn.ModuleDict()
        if one:
            self.branches["1x1"] = nn.Sequential(ConvNorm(in_channels, one, 1))
        self.branches["3x3"] = nn.Sequential(
            ConvNorm(in_channels, three[0], 1),
            ConvNorm(three[0], three[1], 3, stride),
        )
        self.branches["double_3x3"] = nn.Sequential(
            ConvNorm(in_channels, double[0], 1),
            ConvNorm(double[0], double[1], 3),
            ConvNorm(double[1], double[2], 3, stride),
        )
        self.branches["pool"] = nn.Sequential(POOLS[kind]())
        if projection:
            self.branches["pool"].append(ConvNorm(in_channels, projection, 1))
        self.out_channels = (one or 0) + three[-1] + double[-1] + (projection or in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, `out_channels`, H, W), or half of H and W where the block halves the map."""
        return torch.cat([branch(x) for branch in self.branches.values()], dim=1)


class BNInception(nn.Module):
    """The backbone: a stem of three convolutions and ten Inception blocks."""

    def __init__(self):
        super().__init__()
        self.conv1 = ConvNorm(3, 64, 7, stride=2)
        self.conv2_reduce = ConvNorm(64, 64, 1)
        self.conv2 = ConvNorm(64, 192, 3)
        self.halve = POOLS["halve"]()
        self.inception = nn.ModuleDict()
        channels = 192
        for name, row in BLOCKS.items():
            self.inception[name] = Inception(channels, *row)
            channels = self.inception[name].out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the taps of images (B, 3, H, W): 3b (B, 320, H/8, W/8), 4d (B, 608, H/16, W/16) and
        5b (B, 1024, H/32, W/32).
        """
        x = self.halve(self.conv1(images))
        x = self.halve(self.conv2(self.conv2_reduce(x)))
        taps = {}
        for name, block in self.inception.items():
            x = block(x)
            if name in TAPS:
                taps[name] = x
        return taps

    def fold(self) -> None:
        """Fold every batch normalization into its convolution (evaluation only, for good)."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
