"""The backbones by name, and what the network asks of one."""

from typing import Protocol

from torch import Tensor, nn

from alm.constants import Tap
from alm.models.bn_inception import BNInception
from alm.models.timm_backbone import TimmBackbone


class Backbone(Protocol):
    """A module that turns pictures into maps.

    Attributes:
        taps: the maps, fine to coarse, at the strides 8, 16 and 32. Their names are the network's levels.
        mean, std: of red, green and blue in [0, 1], with which the pictures are normalized.
    """

    taps: tuple[Tap, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return the map of each tap, (B, channels, H / stride, W / stride), of images (B, 3, H, W)."""

    def stages(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each stage, from the pictures on."""


BACKBONES = {"bn_inception": BNInception}  # any other name is one of timm's


def build_backbone(name: str) -> Backbone:
    """Return a new backbone. Raises AlmError if the name is unknown, or timm's model has no such maps."""
    return BACKBONES[name]() if name in list(BACKBONES) else TimmBackbone(name)
