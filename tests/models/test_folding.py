"""Folded networks against the trained ones; weights laid out once, and not used if they must not be."""

import copy
import pickle

import pytest
import torch
from torch import nn

import alm
from alm.devices.precision import autocast
from alm.models import folding
from alm.models.bn_inception import BNInception, ConvNorm
from alm.models.folding import CACHED_PICTURES, folded, relu_early

CPU = torch.device("cpu")
needs_packing = pytest.mark.skipif(not folding.can_pack(), reason="this torch does not pack convolutions")


@pytest.mark.parametrize("count", [1, CACHED_PICTURES + 1])
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


def folded_layer(kernel=3, stride=1, relu=True):
    torch.manual_seed(0)
    layer = ConvNorm(24, 40, kernel, stride, relu)
    nn.init.normal_(layer.bn.running_mean)
    return folded(layer)


def plain(layer, x):
    conv = layer.conv
    return layer.relu(nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding))


@pytest.fixture
def calls(monkeypatch):
    """Return the list of convolutions that were packed."""
    folding.can_pack()  # once, and not among them
    done = []
    monkeypatch.setattr(
        folding, "convolve", lambda *arguments, act=folding.convolve: done.append(1) or act(*arguments)
    )
    return done


@needs_packing
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride", "relu"), [(1, 1, True), (3, 2, True), (7, 2, False)])
def test_numbers_are_those_of_torch_with_any_batch(kernel, stride, relu, memory_format, calls):
    layer = folded_layer(kernel, stride, relu)
    for shape in [(1, 24, 16, 8), (5, 24, 16, 8), (20, 24, 16, 8), (2, 24, 7, 9)]:
        x = torch.randn(shape).contiguous(memory_format=memory_format)
        torch.testing.assert_close(layer(x), plain(layer, x), rtol=1e-5, atol=1e-5)
    assert len(calls) == 4


def test_nan_is_never_hidden():
    layer, x = folded_layer(), torch.randn(1, 24, 8, 8)
    layer.conv.weight[0, 0] = torch.nan
    assert layer(x)[:, 0].isnan().all()


@needs_packing
def test_changed_weights_are_laid_out_anew():
    layer, x = folded_layer(), torch.randn(2, 24, 8, 4)
    before = layer(x)
    layer.load_state_dict({name: tensor / 2 for name, tensor in layer.state_dict().items()})
    assert not torch.allclose(layer(x), before)
    torch.testing.assert_close(layer(x), plain(layer, x), rtol=1e-5, atol=1e-5)


@needs_packing
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_used_layer_can_be_copied(copied, calls):
    layer, x = folded_layer(), torch.randn(2, 24, 8, 4)
    assert torch.equal(copied(layer)(x), layer(x))
    other = copied(layer)
    other.conv.weight.zero_()
    assert not torch.equal(other(x), layer(x))
    assert len(calls) == 4


def test_gradients_precisions_and_traces_go_the_plain_way(calls):
    layer, x = folded_layer(), torch.randn(2, 24, 8, 4)
    layer(x.clone().requires_grad_()).sum().backward()
    layer.double()(x.double())
    layer.float()
    with autocast(CPU, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.jit.trace(layer, (x,), check_trace=False)  # the check runs it untraced
    torch.export.export(layer, (x,))
    layer.requires_grad_(True)
    layer(x).sum().backward()
    assert layer.conv.weight.grad.abs().sum() > 0
    assert calls == []


def test_without_these_operators_nothing_changes(monkeypatch, calls):
    monkeypatch.setattr(folding, "laid_out_weight", lambda *_: torch.ops.mkldnn.renamed_since)
    folding.can_pack.cache_clear()
    try:
        layer, x = folded_layer(), torch.randn(2, 24, 8, 4)
        assert torch.equal(layer(x), plain(layer, x))
        assert calls == []
    finally:
        folding.can_pack.cache_clear()


@needs_packing
@pytest.mark.parametrize("approach", list(alm.APPROACHES))
def test_every_convolution_of_a_folded_network_is_packed(approach, calls):
    torch.manual_seed(0)
    model = alm.build_model(approach, 3).eval().requires_grad_(False)
    images, quick = torch.randn(1, 3, 256, 128), folded(model)
    for ours, theirs in zip(quick(images), model(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) for network in (quick, model)]
    assert norms == [0, 69]
    assert len(calls) == sum(isinstance(module, nn.Conv2d) for module in model.modules()) == 69
