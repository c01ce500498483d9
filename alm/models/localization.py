"""Attribute localization modules (paper, section 3.2), all attributes of a level at once, sampling nothing.

The paper crops a region from the attended map with a spatial transformer and averages it. The transform
only scales and shifts, so that average is a weighted sum over the map whose weights are the product of one
vector along the height and one along the width; this file computes those two vectors in closed form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 16  # channels of a map for each one in the hidden layer of its attention
TINY = 1e-30  # stands for a scale that underflowed, so that positions can be divided by it


class Localization(nn.Module):
    """The modules of all K attributes on one level; parameters are stacked, K in front.

    The level's map of C channels comes in parts of C / `parts` channels: the lateral maps of the coarser
    levels, then its own. What has its size comes in parts too: tensors (K, B, C) would outgrow the caches.
    """

    def __init__(self, num_attributes: int, channels: int, parts: int):
        super().__init__()
        k, c, hidden = num_attributes, channels, channels // REDUCTION
        self.squeeze_weight, self.squeeze_bias = stacked_linear(k, c, hidden)
        self.excite_weight, self.excite_bias = stacked_linear(k, hidden, c)
        self.region_weight, self.region_bias = stacked_linear(k, c, 4)
        self.logit_weight, self.logit_bias = stacked_linear(k, c, 1)
        self.parts = parts

    def attention(self, means: list[Tensor]) -> list[Tensor]:
        """Return each attribute's channel attention, in (1, 2), parts of (K, B, c), from the parts (B, c) of
        the map's mean.
        """
        mean = torch.cat(means, dim=1)
        hidden = F.linear(mean, self.squeeze_weight.flatten(0, 1), self.squeeze_bias.flatten()).relu()
        hidden = hidden.unflatten(1, self.squeeze_bias.shape).transpose(0, 1)  # (K, B, C/16)
        weights, biases = (x.chunk(self.parts, dim=1) for x in (self.excite_weight, self.excite_bias))
        return [
            1 + torch.baddbmm(bias[:, None], hidden, weight.transpose(-2, -1)).sigmoid()
            for weight, bias in zip(weights, biases, strict=True)
        ]

    def region(self, attention: list[Tensor], means: list[Tensor]) -> Tensor:
        """Return each attribute's region (B, K, 4) as [s_x, s_y, t_x, t_y] (paper, equation 2).

        The attended map's mean is the attention times the map's mean. The float32 bias keeps this float32
        under autocast: half precision cannot tell neighbouring positions apart.
        """
        attended = [part * mean for part, mean in zip(attention, means, strict=True)]
        theta = stacked_product(attended, self.region_weight, self.region_bias).transpose(0, 1)
        scale, shift = theta.split(2, dim=-1)
        return torch.cat([scale.sigmoid(), shift.tanh()], dim=-1)

    def logits(self, attention: list[Tensor], averages: list[Tensor]) -> Tensor:
        """Return logits (B, K) from the unattended map averaged over each region, parts of (B, K, c)."""
        attended = [a * e.transpose(0, 1) for a, e in zip(attention, averages, strict=True)]
        return stacked_product(attended, self.logit_weight, self.logit_bias).squeeze(-1).T

    def channel_weights(self, attention: list[Tensor]) -> list[Tensor]:
        """Return what each channel of the unattended map counts in a logit: parts of (K, B, c)."""
        return [a * w for a, w in zip(attention, self.logit_weight.chunk(self.parts, dim=-1), strict=True)]


def stacked_product(parts: list[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """Return K linear layers of x: (K, B, out), from weights (K, out, C), biases (K, out) and x (K, B, C) in
    parts of its channels.
    """
    weights = weight.chunk(len(parts), dim=-1)
    return bias[:, None] + sum(x @ w.transpose(-2, -1) for x, w in zip(parts, weights, strict=True))


def region_weights(region: Tensor, size: tuple[int, int], align_corners: bool) -> tuple[Tensor, Tensor]:
    """Return the weights (..., H) and (..., W) whose product averages a map of `size` over `region` (..., 4).

    Equal to the mean of `grid_sample(map, affine_grid(theta))` with border padding and
    theta = [[s_x, 0, t_x], [0, s_y, t_y]]. Each vector sums to one.
    """
    scale_x, scale_y, shift_x, shift_y = region.unbind(-1)
    height, width = size
    return (
        axis_weights(scale_y, shift_y, height, align_corners),
        axis_weights(scale_x, shift_x, width, align_corners),
    )


def axis_weights(scale: Tensor, shift: Tensor, size: int, align_corners: bool) -> Tensor:
    """Return how much each of `size` positions counts along one axis, (..., size).

    Output j samples position u_j = first + scale j, so weight[w] = mean_j max(0, 1 - |u_j - w|), u_j kept
    within the map. Summed up to w that is mean_j clamp(w + 1 - u_j, 0, 1). In it the samples left of w count
    whole, and those between w and w + 1 count by their mean distance to w + 1: no sum over j remains.
    """
    scale, shift = scale[..., None], shift[..., None]
    if align_corners:
        first = (shift + 1 - scale) * (size - 1) / 2
    else:
        first = ((shift + 1 - scale) * size + scale - 1) / 2
    edges = torch.arange(size, device=scale.device, dtype=scale.dtype)
    with torch.no_grad():  # a count is constant between the kinks
        left = ((edges - first) / scale.clamp(min=TINY)).ceil().clamp(0, size)  # samples left of each edge
        before, after = left[..., :-1], left[..., 1:]
        between, middle = after - before, (before + after - 1) / 2
    summed = (before + between * (edges[1:] - first - scale * middle)) / size
    cumulative = F.pad(F.pad(summed, (0, 1), value=1.0), (1, 0))
    return cumulative[..., 1:] - cumulative[..., :-1]


def downsampled_weights(weights: Tensor) -> Tensor:
    """Return weights (..., n/2) of a map that give what `weights` (..., n) give of the map upsampled x2.

    Upsampling (bilinear, align_corners False) is a constant matrix U, and weights . (U map) =
    (U^T weights) . map, so it moves from the features to the weights.
    """
    half = weights.shape[-1] // 2
    identity = torch.eye(half, device=weights.device, dtype=weights.dtype)
    upsampling = F.interpolate(identity[:, None], scale_factor=2, mode="linear")[:, 0]  # U^T (n/2, n)
    return weights @ upsampling.transpose(-2, -1)


def upsampled(maps: Tensor) -> Tensor:
    """Return maps (B, K, H, W) as (B, K, 2H, 2W), by the same upsampling."""
    return F.interpolate(maps, scale_factor=2, mode="bilinear")


def positions(tap: Tensor) -> Tensor:
    """Return a map (B, C, H, W) as its positions (B, H W, C): a view, each in one piece in channels_last."""
    return tap.flatten(2).transpose(-2, -1)


def spatial_mean(features: Tensor) -> Tensor:
    """Return the mean (B, C) over positions (B, N, C), in float32 or better.

    Divided last: the gradient of a sum is a view, that of a mean as large as the map.
    """
    return features.sum(1, dtype=torch.promote_types(features.dtype, torch.float32)) / features.shape[1]


def pooled(features: Tensor, lateral: nn.Linear, rows: Tensor, columns: Tensor) -> Tensor:
    """Return lateral(map) summed under N weightings each: (B, N, width).

    `features` is the map as `positions`, `rows` (B, N, H), `columns` (B, N, W). The lateral layer is linear
    and the weights sum to one, so it comes before or after the sum: whichever has fewer vectors, H W or N.
    """
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2).to(features.dtype)  # (B, N, HW)
    if features.shape[1] < weights.shape[1]:
        return torch.bmm(weights, lateral(features))
    return lateral(torch.bmm(weights, features))


def lateral_evidence(tap: Tensor, lateral: nn.Linear, weights: Tensor) -> Tensor:
    """Return `weights` (K, B, c) times lateral(map) at each place: (B, K, H, W), of a map (B, C, H, W).

    Both are linear, so the weights pass the lateral layer backwards instead of the map forwards.
    """
    weights = weights.transpose(0, 1)
    evidence = (weights @ lateral.weight) @ tap.flatten(2) + (weights @ lateral.bias)[..., None]
    return evidence.unflatten(-1, tap.shape[-2:])


def stacked_linear(count: int, in_features: int, out_features: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weights (count, out, in) and biases (count, out) that start as `count` nn.Linear do."""
    bound = in_features**-0.5
    weight = torch.empty(count, out_features, in_features).uniform_(-bound, bound)
    bias = torch.empty(count, out_features).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(bias)
