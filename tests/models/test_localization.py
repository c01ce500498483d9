"""The closed form of a region's average against torch's own affine_grid, grid_sample and mean."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.oracle import sampled_mean
from torch.nn import functional as F

from alm.models.localization import (
    Localization,
    downsampled_weights,
    pooled,
    positions,
    region_weights,
)

sizes = st.integers(2, 12)
scales = st.one_of(st.floats(0, 1), st.floats(0, 5), st.sampled_from([0.0, 1e-40, 1e-18, 1.0]))
shifts = st.one_of(st.floats(-1, 1), st.floats(-30, 30))  # also far outside the picture


def weighted_mean(features, region, align_corners):
    """Return (B, C) of a map (B, C, H, W) and regions (B, 4), by the weights of alm.models.localization."""
    rows, columns = region_weights(region, features.shape[-2:], align_corners)
    return torch.einsum("bchw,bh,bw->bc", features, rows, columns)


def regions_of(theta):
    return torch.cat([theta[:, :2].sigmoid(), theta[:, 2:].tanh()], 1)


@settings(deadline=None, max_examples=200)
@given(sizes, sizes, st.tuples(scales, scales, shifts, shifts), st.booleans(), st.integers(0, 2**31))
def test_weights_are_those_of_grid_sample(height, width, region, align_corners, seed):
    features = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed)).double()
    region = torch.tensor([region], dtype=torch.float64)
    expected = sampled_mean(features, region, align_corners)
    torch.testing.assert_close(weighted_mean(features, region, align_corners), expected, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(sizes, sizes, st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.booleans())
def test_gradients_are_those_of_grid_sample(height, width, values, align_corners):
    assume(not touches_a_kink(values, (height, width), align_corners))
    features = torch.arange(2 * height * width, dtype=torch.float64).cos().view(1, 2, height, width)
    gradients = []
    for mean in (weighted_mean, sampled_mean):
        theta = torch.tensor([values], dtype=torch.float64, requires_grad=True)
        mean(features, regions_of(theta), align_corners).sum().backward()
        gradients.append(theta.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def touches_a_kink(values, size, align_corners, margin=1e-6):
    """Whether a sampled position is so near to a grid position that the derivative jumps there."""
    region = regions_of(torch.tensor([values], dtype=torch.float64))[0]
    for scale, shift, length in ((region[0], region[2], size[1]), (region[1], region[3], size[0])):
        positions = torch.arange(length, dtype=torch.float64)
        if align_corners:
            sampled = (scale * (2 * positions / (length - 1) - 1) + shift + 1) * (length - 1) / 2
        else:
            sampled = ((scale * ((2 * positions + 1) / length - 1) + shift + 1) * length - 1) / 2
        if ((sampled - sampled.round()).abs() < margin).any():
            return True
    return False


def test_downsampled_weights_are_upsampling_transposed():
    weights, features = torch.rand(5, 16).double(), torch.rand(1, 1, 8).double()
    upsampled = F.interpolate(features, scale_factor=2, mode="linear")[0, 0]
    torch.testing.assert_close(downsampled_weights(weights) @ features[0, 0], weights @ upsampled)


def test_pooled_takes_either_order():
    """More sums than positions, and fewer: the same numbers."""
    tap, lateral = torch.randn(2, 6, 4, 3).double(), torch.nn.Linear(6, 5).double()
    for count in (2, 30):
        rows, columns = torch.rand(2, count, 4).double(), torch.rand(2, count, 3).double()
        rows, columns = rows / rows.sum(-1, keepdim=True), columns / columns.sum(-1, keepdim=True)
        mapped = lateral(tap.permute(0, 2, 3, 1))
        expected = torch.einsum("bhwc,bnh,bnw->bnc", mapped, rows, columns)
        torch.testing.assert_close(pooled(positions(tap), lateral, rows, columns), expected)


def test_each_slice_starts_as_the_unstacked_layer():
    """Spread of every role, against PyTorch's own start of the layer that it stacks."""
    torch.manual_seed(0)
    stacked = dict(Localization(200, 512, parts=2).named_parameters())
    plain = {
        "squeeze": torch.nn.Conv2d(512, 32, 1),
        "excite": torch.nn.Conv2d(32, 512, 1),
        "region": torch.nn.Linear(512, 4),
        "logit": torch.nn.Linear(512, 1),
    }
    for role, layer in plain.items():
        for kind, tensor in layer.named_parameters():
            ours = stacked[f"{role}_{kind}"]
            bound = (layer.weight.numel() / layer.weight.shape[0]) ** -0.5
            assert ours[0].numel() == tensor.numel(), role
            assert ours.abs().max() <= bound, role
            assert abs(ours.std().item() / (bound / 3**0.5) - 1) < 0.1, role
