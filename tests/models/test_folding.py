"""Folded networks against the trained ones."""

import pytest
import torch
from torch import nn

import alm
from alm.models.bn_inception import BNInception
from alm.models.folding import FEW_PICTURES, folded, relu_early


@pytest.mark.parametrize("count", [1, FEW_PICTURES + 1])
def test_a_folded_backbone_takes_any_batch_and_an_early_relu_changes_nothing(count):
    torch.manual_seed(0)
    backbone = BNInception().double().eval()
    images = torch.randn(count, 3, 64, 32).double()
    quick = folded(backbone)
    taps = quick(images)
    for level, tap in backbone(images).items():
        torch.testing.assert_close(taps[level], tap, rtol=0, atol=1e-11)
    relu_early(quick)
    relu_early(backbone)
    assert all(torch.equal(tap, taps[level]) for level, tap in quick(images).items())
    for level, tap in backbone(images).items():
        torch.testing.assert_close(taps[level], tap, rtol=0, atol=1e-11)


def test_a_module_without_convolutions_is_copied():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    clone = folded(model)
    assert model.training
    assert not any(module.training for module in clone.modules())
    clone[0].weight.zero_()
    assert model[0].weight.requires_grad
    assert model[0].weight.abs().sum() > 0
    assert torch.equal(model[1].running_var, clone[1].running_var)


@pytest.mark.parametrize("approach", list(alm.APPROACHES))
def test_a_folded_network_has_no_normalization_left(approach):
    torch.manual_seed(0)
    model = alm.build_model(approach, 3).eval().requires_grad_(False)
    images, quick = torch.randn(1, 3, 256, 128), folded(model)
    for ours, theirs in zip(quick(images), model(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) for network in (quick, model)]
    assert norms == [0, 69]
