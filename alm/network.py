"""The networks, by name: ALM (backbone, top-down pathway, three localization levels, global branch) and its
warm-up baseline.
"""

import copy

import torch
from torch import Tensor, nn

from alm.bn_inception import TAPS, BNInception
from alm.errors import AlmError
from alm.localization import (
    Localization,
    downsampled_weights,
    pooled,
    positions,
    region_weights,
    spatial_mean,
)

LATERAL_CHANNELS = 256
LEVELS = ("3b", "4d", "5b")  # fine to coarse; the order of the predictions
HEIGHT, WIDTH = 256, 128  # of the input picture


class Baseline(nn.Module):
    """Backbone and one linear layer: what the authors train first (paper, section 4.2)."""

    def __init__(self, num_attributes: int):
        super().__init__()
        self.backbone = BNInception()
        self.classifier = nn.Linear(TAPS["5b"], num_attributes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits, (pred_main,), each (B, K), of normalized images (B, 3, 256, 128)."""
        return (self.classifier(spatial_mean(positions(self.backbone(images)["5b"]))),)

    def folded(self) -> "Baseline":
        """Return an evaluation-mode copy with every batch normalization folded into its convolution."""
        clone = copy.deepcopy(self).eval().requires_grad_(False)
        clone.backbone.fold()
        return clone


class ALM(Baseline):
    """The paper's network (figure 2).

    `align_corners` is the sampling convention of the regions: False as in PyTorch from 1.3 on, True as the
    published checkpoints were trained (PyTorch 0.4).
    """

    def __init__(self, num_attributes: int, align_corners: bool = False):
        super().__init__(num_attributes)
        self.align_corners = align_corners
        self.lateral = nn.ModuleDict({level: nn.Linear(TAPS[level], LATERAL_CHANNELS) for level in LEVELS})
        self.localization = nn.ModuleDict(
            {
                "3b": Localization(num_attributes, 3 * LATERAL_CHANNELS, parts=3),
                "4d": Localization(num_attributes, 2 * LATERAL_CHANNELS, parts=2),
                "5b": Localization(num_attributes, LATERAL_CHANNELS, parts=1),
            }
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits (pred_3b, pred_4d, pred_5b, pred_main), each (B, K), of normalized images
        (B, 3, 256, 128).
        """
        taps = self.backbone(images)
        features = {level: positions(tap) for level, tap in taps.items()}  # (B, H W, C)
        means = {level: spatial_mean(feature) for level, feature in features.items()}
        attention, region = self._localize(means)
        sizes = {level: tap.shape[-2:] for level, tap in taps.items()}
        evidence = self._evidence(features, sizes, region)
        logits = [self.localization[level].logits(attention[level], evidence[level]) for level in LEVELS]
        return (*logits, self.classifier(means["5b"]))

    def localize(self, images: Tensor) -> dict[str, Tensor]:
        """Return each level's regions, {"3b": (B, K, 4), ...}, [s_x, s_y, t_x, t_y] in [-1, 1] coordinates:
        centre (t_x, t_y), half-size (s_x, s_y), to be cut at the picture's border.
        """
        means = {level: spatial_mean(positions(tap)) for level, tap in self.backbone(images).items()}
        region = self._localize(means)[1]
        return {level: region[level] for level in LEVELS}

    def _localize(self, means: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return each level's attention (K, B, C) and region (B, K, 4) from the taps' means (B, C).

        Upsampling keeps the mean, so a level's mean is that of its lateral map beside the coarser level's.
        """
        attention, region = {}, {}
        lateral_means = []
        for level in reversed(LEVELS):
            lateral_means.append(self.lateral[level](means[level]))
            attention[level] = self.localization[level].attention(lateral_means)
            region[level] = self.localization[level].region(attention[level], lateral_means)
        return attention, region

    def _evidence(
        self,
        features: dict[str, Tensor],
        sizes: dict[str, tuple[int, int]],
        region: dict[str, Tensor],
    ) -> dict[str, list[Tensor]]:
        """Return each level's top-down map averaged over its regions, parts of (B, K, 256), coarsest first.

        A level's map is its lateral map beside the upsampled coarser ones. Instead of building it, every tap
        is pooled once, under its own level's weights and those of the finer levels brought down to its size.
        """
        evidence = {level: [] for level in LEVELS}
        rows, columns = [], []
        for depth, level in enumerate(LEVELS, start=1):
            own = region_weights(region[level], sizes[level], self.align_corners)
            rows = [*map(downsampled_weights, rows), own[0]]
            columns = [*map(downsampled_weights, columns), own[1]]
            sums = pooled(features[level], self.lateral[level], torch.cat(rows, 1), torch.cat(columns, 1))
            for finer, part in zip(LEVELS[:depth], sums.chunk(depth, dim=1), strict=True):
                evidence[finer].insert(0, part)
        return evidence


APPROACHES = {"inception_iccv": ALM, "bn_inception": Baseline}


def build_model(approach: str, num_attributes: int, align_corners: bool = False) -> nn.Module:
    """Return the named network for K attributes, in float32 on the CPU, with PyTorch's default start.

    Raises AlmError on an unknown approach.
    """
    if approach not in APPROACHES:
        raise AlmError(f"unknown approach {approach!r}; known: {', '.join(APPROACHES)}")
    model = ALM(num_attributes, align_corners) if approach == "inception_iccv" else Baseline(num_attributes)
    return model.to(memory_format=torch.channels_last)  # a quarter faster; convolutions pass it on


def vote(predictions: tuple[Tensor, ...]) -> Tensor:
    """Return the element-wise maximum (B, K) of the branches' logits (paper, section 3.4)."""
    return torch.stack(predictions).amax(dim=0)
