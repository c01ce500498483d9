"""The networks, by name: ALM (backbone, top-down pathway, three localization levels, global branch) and its
warm-up baseline.
"""

from functools import reduce
from itertools import chain
from numbers import Integral

import torch
from torch import Tensor, nn

from alm.constants import GLOBAL
from alm.errors import AlmError
from alm.models.backbones import build_backbone
from alm.models.localization import (
    REDUCTION,
    Localization,
    downsampled_weights,
    lateral_evidence,
    pooled,
    positions,
    region_weights,
    spatial_mean,
    upsampled,
)

LATERAL_CHANNELS = 256  # as published
LEAST_CHANNELS = REDUCTION  # with fewer a hidden layer would have none


class Baseline(nn.Module):
    """Backbone and one linear layer: what the authors train first (paper, section 4.2).

    Attributes:
        approach: the network's published name, a key of `APPROACHES`.
        backbone_name: the backbone's, as `build_backbone` takes it.
        levels: names of the maps on which attributes are localized, fine to coarse; () for this network.
        align_corners: the sampling convention of the regions; this network has none.
        mean, std: of red, green and blue, with which the backbone wants its pictures normalized.
        attributes: the K names, if they are known: `load_model` sets them.
    """

    approach = "bn_inception"
    levels: tuple[str, ...] = ()
    attributes: tuple[str, ...] | None = None
    _frozen: tuple[nn.Module, ...] = ()

    def __init__(
        self,
        num_attributes: int,
        align_corners: bool = False,
        backbone: str = "bn_inception",
        width: int = LATERAL_CHANNELS,
    ):
        """`width` is of the lateral layers; this network has none."""
        super().__init__()
        self.align_corners = align_corners
        self.backbone_name = backbone
        self.backbone = build_backbone(backbone)
        self.mean, self.std = self.backbone.mean, self.backbone.std
        coarsest = self.backbone.taps[-1]
        self._coarsest = coarsest.name  # read in `predict`, because torch 2.4 traces no attribute of a class
        self.classifier = nn.Linear(coarsest.channels, num_attributes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the branches, each (B, K), for normalized images (B, 3, 256, 128): ALM's are
        (pred_3b, pred_4d, pred_5b, pred_main), the baseline's (pred_main,).
        """
        return self.predict(images)[0]

    def freeze(self, stages: int) -> None:
        """Let the backbone's first stages stay as they are: no gradients, and the same statistics of batch
        normalization in training too. Raises AlmError if the backbone has fewer stages.
        """
        there = self.backbone.stages()
        if stages > len(there):
            raise AlmError(f"--freeze {stages}: {self.backbone_name} has {len(there)} stages; lower it")
        frozen = set(chain.from_iterable(there[:stages]))
        for parameter in frozen:
            parameter.requires_grad_(False)
        self._frozen = tuple(
            module
            for module in self.backbone.modules()
            if frozen.intersection(module.parameters(recurse=False))
        )

    def train(self, mode: bool = True) -> "Baseline":
        """Set the mode of all modules, but for those of `freeze`, which are always in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def localize(self, images: Tensor) -> dict[str, Tensor]:
        """Return each level's regions; of this network none, {}."""
        return {}

    def predict(self, images: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return what `forward` and `localize` return, from one pass."""
        coarsest = self.backbone(images)[self._coarsest]
        return (self.classifier(spatial_mean(positions(coarsest))),), {}

    def evidence(self, images: Tensor) -> dict[str, Tensor]:
        """Return each branch's evidence at each place; see `explain`."""
        return self.explain(images)[2]

    def explain(self, images: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor], dict[str, Tensor]]:
        """Return what `forward`, `localize` and `evidence` return, from one pass.

        The evidence is {"main": (B, K, 8, 4)}: its mean over the map is the logit less its bias.
        """
        taps = self.backbone(images)
        logits = self.classifier(spatial_mean(positions(taps[self._coarsest])))
        return (logits,), {}, {GLOBAL: self._global_evidence(taps)}

    def _global_evidence(self, taps: dict[str, Tensor]) -> Tensor:
        tap = taps[self._coarsest]
        return (self.classifier.weight @ tap.flatten(2)).unflatten(-1, tap.shape[-2:])


class ALM(Baseline):
    """The paper's network (figure 2).

    `align_corners` is the sampling convention of the regions: False as in PyTorch from 1.3 on, True as the
    published checkpoints were trained (PyTorch 0.4).
    """

    approach = "inception_iccv"

    def __init__(
        self,
        num_attributes: int,
        align_corners: bool = False,
        backbone: str = "bn_inception",
        width: int = LATERAL_CHANNELS,
    ):
        """`width`: channels of the lateral layers."""
        super().__init__(num_attributes, align_corners, backbone)
        taps = self.backbone.taps
        self.levels = tuple(tap.name for tap in taps)
        self.lateral = nn.ModuleDict({tap.name: nn.Linear(tap.channels, width) for tap in taps})
        self.localization = nn.ModuleDict()
        for finer, level in enumerate(self.levels):
            parts = len(self.levels) - finer  # its own lateral map and those of the coarser levels
            self.localization[level] = Localization(num_attributes, parts * width, parts)

    def localize(self, images: Tensor) -> dict[str, Tensor]:
        """Return each level's regions, {"3b": (B, K, 4), ...}, [s_x, s_y, t_x, t_y] in [-1, 1] coordinates:
        centre (t_x, t_y), half-size (s_x, s_y), to be cut at the picture's border.
        """
        means = {level: spatial_mean(positions(tap)) for level, tap in self.backbone(images).items()}
        return self._attend(means)[1]

    def predict(self, images: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return what `forward` and `localize` return, from one pass."""
        return self._predict(self.backbone(images))[:2]

    def explain(self, images: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor], dict[str, Tensor]]:
        """Return what `forward`, `localize` and `evidence` return, from one pass.

        The evidence is {"3b": (B, K, 32, 16), ..., "main": (B, K, 8, 4)}. A level's, averaged over the
        attribute's region, is its logit less its bias; that of "main" over the whole map. It is the top-down
        map times what each of its channels counts in the logit. That map is a stack of upsampled lateral
        maps, so the evidence is the sum of theirs, and no map is built.
        """
        taps = self.backbone(images)
        logits, regions, attention = self._predict(taps)
        maps = {}
        for index, level in enumerate(self.levels):
            weights = self.localization[level].channel_weights(attention[level])
            parts = [
                lateral_evidence(taps[part], self.lateral[part], weight)
                for part, weight in zip(reversed(self.levels[index:]), weights, strict=True)
            ]
            maps[level] = reduce(lambda coarse, fine: upsampled(coarse) + fine, parts)
        maps[GLOBAL] = self._global_evidence(taps)
        return logits, regions, maps

    def _predict(
        self, taps: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor], dict[str, list[Tensor]]]:
        """Return logits, regions and attention."""
        features = {level: positions(tap) for level, tap in taps.items()}  # (B, H W, C)
        means = {level: spatial_mean(feature) for level, feature in features.items()}
        attention, regions = self._attend(means)
        sizes = {level: tap.shape[-2:] for level, tap in taps.items()}
        averages = self._averages(features, sizes, regions)
        logits = [self.localization[level].logits(attention[level], averages[level]) for level in self.levels]
        return (*logits, self.classifier(means[self._coarsest])), regions, attention

    def _attend(self, means: dict[str, Tensor]) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """Return each level's attention, parts of (K, B, c), and its regions (B, K, 4), from the taps' means
        (B, C).

        Upsampling keeps the mean, so a level's mean is that of its lateral map beside the coarser level's.
        """
        attention, regions = {}, {}
        lateral_means = []
        for level in reversed(self.levels):
            lateral_means.append(self.lateral[level](means[level]))
            attention[level] = self.localization[level].attention(lateral_means)
            regions[level] = self.localization[level].region(attention[level], lateral_means)
        return attention, {level: regions[level] for level in self.levels}

    def _averages(
        self, features: dict[str, Tensor], sizes: dict[str, tuple[int, int]], regions: dict[str, Tensor]
    ) -> dict[str, list[Tensor]]:
        """Return each level's top-down map averaged over its regions, parts of (B, K, width), coarsest first.

        A level's map, its lateral map beside the upsampled coarser ones, is never built. Instead every tap is
        pooled once, under its own level's weights and under those of the finer levels, downsampled.
        """
        averages = {level: [] for level in self.levels}
        rows, columns = [], []
        for index, level in enumerate(self.levels):
            own = region_weights(regions[level], sizes[level], self.align_corners)
            rows = [*map(downsampled_weights, rows), own[0]]
            columns = [*map(downsampled_weights, columns), own[1]]
            sums = pooled(features[level], self.lateral[level], torch.cat(rows, 1), torch.cat(columns, 1))
            for finer, part in zip(self.levels[: index + 1], sums.chunk(index + 1, dim=1), strict=True):
                averages[finer].insert(0, part)
        return averages


# The published names, and clearer ones: they mean the heads alone, on any backbone.
APPROACHES = {ALM.approach: ALM, Baseline.approach: Baseline, "alm": ALM, "baseline": Baseline}


def build_model(
    approach: str,
    num_attributes: int,
    align_corners: bool = False,
    backbone: str = "bn_inception",
    width: int = LATERAL_CHANNELS,
) -> nn.Module:
    """Return a new network for K attributes, in float32 on the CPU, started as PyTorch does by default.

    `width` is the number of channels of the lateral layers, and so the size of the heads. Raises AlmError if
    the approach or the backbone is unknown, K is not a whole number from 1 on, or the width none from 16 on.
    """
    if approach not in list(APPROACHES):
        raise AlmError(f"unknown approach {approach!r}; known: {', '.join(APPROACHES)}")
    for what, value, least in (("attributes", num_attributes, 1), ("width", width, LEAST_CHANNELS)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise AlmError(f"{what} {value!r}: give a whole number from {least} on")
    model = APPROACHES[approach](int(num_attributes), align_corners, backbone, int(width))
    return model.to(memory_format=torch.channels_last)  # a quarter faster; convolutions pass it on


def vote(predictions: tuple[Tensor, ...]) -> Tensor:
    """Return the element-wise maximum (B, K) of the branches' logits (paper, section 3.4)."""
    return torch.stack(predictions).amax(dim=0)
