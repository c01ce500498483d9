"""A backbone that takes no time; for the tests of what a backbone changes, and of what is exported."""

from itertools import pairwise

import torch
from torch import nn

import alm
from alm.checkpoint import save_checkpoint
from alm.constants import Tap
from support.models import own_checkpoint

LEVELS = ("fine", "middle", "coarse")


class Toy(nn.Module):
    """Three convolutions, each behind an average pool."""

    taps = tuple(map(Tap, LEVELS, (6, 10, 14), (8, 16, 32)))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)

    def __init__(self):
        super().__init__()
        channels = (3, *(tap.channels for tap in self.taps))
        self.pools = nn.ModuleList(nn.AvgPool2d(size) for size in (8, 2, 2))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels)
        )
        self.bn = nn.BatchNorm2d(6)

    def stages(self):
        parts = (nn.ModuleList([self.convolutions[0], self.bn]), *self.convolutions[1:])
        return [list(part.parameters()) for part in parts]

    def forward(self, images):
        maps, x = {}, images
        for level, pool, convolution in zip(LEVELS, self.pools, self.convolutions, strict=True):
            x = convolution(pool(x)).relu()
            x = self.bn(x) if level == "fine" else x
            maps[level] = x
        return maps


def toy_checkpoint(path, approach="inception_iccv"):
    """Write a checkpoint of three attributes; the backbone must be registered as "toy"."""
    torch.manual_seed(0)
    model = alm.build_model(approach, 3, backbone="toy")
    save_checkpoint(path, own_checkpoint(model))
    return path
