"""Same numbers, less memory: the backbone's own forms against PyTorch's plain ones."""

import pytest
import torch
from torch.nn import functional as F

from alm.devices.precision import autocast
from alm.models.bn_inception import AverageProjection, BNInception, StemPool
from alm.models.folding import folded


@pytest.mark.parametrize("size", [(64, 32), (7, 5), (8, 7)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_stem_pool_is_max_pool(size, memory_format):
    images = torch.randn(2, 3, *size).round(decimals=1).contiguous(memory_format=memory_format)  # with ties
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    pooled, expected = StemPool.apply(ours), F.max_pool2d(theirs, 3, 2, ceil_mode=True)
    assert torch.equal(pooled, expected)
    gradient = torch.randn_like(expected)
    pooled.backward(gradient)
    expected.backward(gradient)
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("training", [False, True])
def test_average_projection_is_pool_convolution_normalization(training):
    torch.manual_seed(0)
    block = AverageProjection(6, 4).double().train(training)
    projection = block[1]
    torch.nn.init.normal_(projection.bn.weight)
    images = torch.randn(3, 6, 8, 4).double()
    plain = projection.bn(projection.conv(F.avg_pool2d(images, 3, 1, 1, ceil_mode=True)))
    torch.testing.assert_close(block(images), plain, rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(("training", "is_folded"), [(True, False), (False, False), (False, True)])
def test_half_precision_stays_half(training, is_folded):
    """A float32 tensor among those that a block concatenates would widen all of it."""
    backbone = folded(BNInception()) if is_folded else BNInception().train(training)
    outputs = []
    for module in backbone.modules():
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad(), autocast(torch.device("cpu"), torch.bfloat16):
        taps = backbone(torch.randn(2, 3, 64, 32))
    assert outputs.pop() is taps
    assert {output.dtype for output in (*outputs, *taps.values())} == {torch.bfloat16}
