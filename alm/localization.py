"""Attribute localization modules (paper, section 3.2), all attributes of a level at once, sampling nothing.

The paper crops a region from the attended map with a spatial transformer and averages it. The transform
only scales and shifts, so that average is a weighted sum over the map whose weights are the product of one
vector along the height and one along the width; this file computes those two vectors in closed form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Localization(nn.Module):
    """The modules of all K attributes on one level of C channels; parameters are stacked, K in front."""

    def __init__(self, num_attributes: int, channels: int):
        super().__init__()
        k, c, hidden = num_attributes, channels, channels // 16
        self.squeeze_weight, self.squeeze_bias = stacked_linear(k, c, hidden)
        self.excite_weight, self.excite_bias = stacked_linear(k, hidden, c)
        self.region_weight, self.region_bias = stacked_linear(k, c, 4)
        self.logit_weight, self.logit_bias = stacked_linear(k, c, 1)

    def attention(self, mean: Tensor) -> Tensor:
        """Return each attribute's channel attention (B, K, C), in (1, 2), from the map's mean (B, C)."""
        hidden = F.linear(mean, self.squeeze_weight.flatten(0, 1), self.squeeze_bias.flatten())
        hidden = hidden.relu().unflatten(1, self.squeeze_bias.shape)  # (B, K, C/16)
        gate = hidden.transpose(0, 1) @ self.excite_weight.mT + self.excite_bias[:, None]  # (K, B, C)
        return 1 + gate.sigmoid().transpose(0, 1)

    def region(self, attention: Tensor, mean: Tensor) -> Tensor:
        """Return each attribute's region (B, K, 4) as [s_x, s_y, t_x, t_y] (paper, equation 2).

        The attended map's mean is the attention times the map's mean. Float32 or better, also under
        autocast: half precision cannot tell neighbouring positions apart.
        """
        attended = (attention * mean[:, None]).transpose(0, 1)  # (K, B, C)
        theta = (attended @ self.region_weight.mT + self.region_bias[:, None]).transpose(0, 1)
        scale, shift = at_least_float32(theta).split(2, dim=-1)
        return torch.cat([scale.sigmoid(), shift.tanh()], dim=-1)

    def logits(self, attention: Tensor, evidence: Tensor) -> Tensor:
        """Return logits (B, K) from `evidence` (B, K, C), the unattended map averaged over each region."""
        weight = self.logit_weight.squeeze(1)
        return (attention * evidence * weight).sum(dim=-1) + self.logit_bias.squeeze(1)


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

    weight[w] = mean_j max(0, 1 - |u_j - w|), where u_j is the position that output j samples.
    """
    positions = torch.arange(size, device=scale.device, dtype=scale.dtype)
    if align_corners:
        output = 2 * positions / (size - 1) - 1
        sampled = (scale[..., None] * output + shift[..., None] + 1) * (size - 1) / 2
    else:
        output = (2 * positions + 1) / size - 1
        sampled = ((scale[..., None] * output + shift[..., None] + 1) * size - 1) / 2
    sampled = sampled.clamp(0, size - 1)  # border padding
    distance = (sampled[..., None, :] - positions[:, None]).abs()  # (..., w, j)
    return (1 - distance).relu().mean(dim=-1)


def downsampled_weights(weights: Tensor) -> Tensor:
    """Return weights (..., n/2) of a map that give what `weights` (..., n) give of the map upsampled x2.

    Upsampling (bilinear, align_corners False) is a constant matrix U, and weights . (U map) =
    (U^T weights) . map, so it moves from the features to the weights.
    """
    half = weights.shape[-1] // 2
    identity = torch.eye(half, device=weights.device, dtype=weights.dtype)
    upsampling = F.interpolate(identity[:, None], scale_factor=2, mode="linear")[:, 0]  # U^T (n/2, n)
    return weights @ upsampling.mT


def pooled(tap: Tensor, lateral: nn.Linear, rows: Tensor, columns: Tensor) -> Tensor:
    """Return lateral(tap) summed under N weightings each: (B, N, 256).

    `tap` is (B, C, H, W), `rows` (B, N, H), `columns` (B, N, W). The lateral layer is linear and the weights
    sum to one, so it is applied to whichever is fewer: the H W positions or the N sums.
    """
    features = tap.flatten(2).mT  # (B, HW, C)
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2).to(features.dtype)  # (B, N, HW)
    if features.shape[1] < weights.shape[1]:
        return weights @ lateral(features)
    return lateral(weights @ features)


def stacked_linear(count: int, in_features: int, out_features: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Return weights (count, out, in) and biases (count, out) that start as `count` nn.Linear do."""
    bound = in_features**-0.5
    weight = torch.empty(count, out_features, in_features).uniform_(-bound, bound)
    bias = torch.empty(count, out_features).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(bias)


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x`, half precision widened to float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
