"""The fast model against the plain oracle; building by name; work counted, not timed."""

import numpy as np
import pytest
import torch
from support import THOROUGH
from support.oracle import forward
from torch.utils._python_dispatch import TorchDispatchMode

import alm
from alm.checkpoint.restore import reference_state, to_reference
from alm.devices.precision import autocast
from alm.models.bn_inception import BNInception, ConvNorm
from alm.models.localization import region_weights


def random_model(num_attributes=5, seed=0, **options):
    """Return a float64 ALM whose BatchNorm statistics and regions are far from their start."""
    torch.manual_seed(seed)
    model = alm.build_model("inception_iccv", num_attributes, **options).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.8, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    for module in model.localization.values():
        torch.nn.init.normal_(module.region_bias)
    return model


@pytest.mark.parametrize("count", [0, 2.5, "x", True, np.float32(2)])
def test_a_wrong_number_of_attributes_is_refused(count):
    with pytest.raises(alm.AlmError, match="give a whole number from 1 on"):
        alm.build_model("inception_iccv", count)


@pytest.mark.parametrize("width", [15, 16.5, "256", None, True])
def test_a_wrong_width_is_refused(width):
    with pytest.raises(alm.AlmError, match=rf"^width {width!r}: give a whole number from 16 on$"):
        alm.build_model("alm", 3, width=width)


@pytest.mark.parametrize("name", ["resnet", None, ["inception_iccv"]])
def test_an_unknown_approach_or_backbone_is_refused(name):
    with pytest.raises(
        alm.AlmError, match=r"^unknown approach .*; known: inception_iccv, bn_inception, alm, baseline$"
    ):
        alm.build_model(name, 3)
    with pytest.raises(alm.AlmError, match=r"^unknown backbone .*, neither bn_inception nor one of"):
        alm.build_model("inception_iccv", 3, backbone=name)


@pytest.mark.parametrize(
    ("align_corners", "training", "width"), [(False, False, 256), (True, False, 40), (False, True, 256)]
)
def test_equals_the_oracle(align_corners, training, width):
    model = random_model(align_corners=align_corners, width=width).train(training)
    assert model.lateral["3b"].out_features == width
    state = reference_state(model)
    images = torch.randn(2, 3, 256, 128).double()
    predictions, regions = model.predict(images)
    alone = model.localize(images)
    expected, expected_regions = forward(state, images, align_corners, training)
    for ours, theirs in zip(predictions, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    assert list(regions) == list(alone) == ["3b", "4d", "5b"]
    for level in regions:
        assert torch.equal(alone[level], regions[level])
        torch.testing.assert_close(regions[level], expected_regions[level], rtol=0, atol=1e-11)


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_logit_is_its_evidence_averaged_over_the_region(align_corners):
    model = random_model(align_corners=align_corners).eval()
    images = torch.randn(2, 3, 256, 128).double()
    logits, regions, evidence = model.explain(images)
    for alone, together in zip(model.predict(images)[0], logits, strict=True):
        assert torch.equal(alone, together)
    assert {name: tuple(maps.shape[2:]) for name, maps in evidence.items()} == {
        "3b": (32, 16), "4d": (16, 8), "5b": (8, 4), "main": (8, 4),
    }  # fmt: skip
    for (level, maps), of_branch in zip(evidence.items(), logits, strict=True):
        if level == "main":
            total, bias = maps.mean((-2, -1)), model.classifier.bias
        else:
            weights = region_weights(regions[level], maps.shape[-2:], align_corners)
            total = torch.einsum("bkhw,bkh,bkw->bk", maps, *weights)
            bias = model.localization[level].logit_bias[:, 0]
        torch.testing.assert_close(total + bias, of_branch, rtol=0, atol=1e-11)


def test_the_baselines_evidence_is_its_classifiers():
    torch.manual_seed(0)
    model = alm.build_model("bn_inception", 3).double().eval()
    images = torch.randn(2, 3, 256, 128).double()
    (logits,) = model(images)
    total = model.evidence(images)["main"].mean((-2, -1))
    torch.testing.assert_close(total + model.classifier.bias, logits, rtol=0, atol=1e-11)


def test_gradients_equal_the_oracles():
    model = random_model(num_attributes=3).train()
    state = reference_state(model)
    for name, _ in model.named_parameters():
        for published in to_reference({name: model.get_parameter(name)}):
            state[published].requires_grad_()
    images = torch.randn(2, 3, 256, 128).double()
    sum(prediction.sin().sum() for prediction in model(images)).backward()
    sum(prediction.sin().sum() for prediction in forward(state, images, training=True)[0]).backward()
    ours = to_reference({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in ours.items():
        scale = state[name].grad.abs().max().item()
        torch.testing.assert_close(gradient, state[name].grad, rtol=0, atol=1e-9 * max(scale, 1), msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_stays_near_float32(training):
    """Logits in evaluation; loss and gradient norms also in training: there the normalization by a small
    batch of noise magnifies the rounding of single logits.
    """
    model = random_model(7).float().train(training)
    count, *size = (8, 256, 128) if THOROUGH else (4, 128, 64)
    images, labels = torch.randn(count, 3, *size), torch.randint(0, 2, (count, 7))
    criterion = alm.WeightedBCELoss([0.5] * 7)
    logits, losses, norms = [], [], []
    for precision in (None, torch.bfloat16):
        with autocast(torch.device("cpu"), precision):
            predictions = model(images)
            loss = sum(criterion(prediction, labels) for prediction in predictions)
        assert loss.dtype == torch.float32
        logits.append(torch.stack(predictions).float())
        losses.append(loss.detach())
        norms.append(torch.stack([g.norm() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    assert training or 0 < relative_error(*logits) < 0.02
    assert relative_error(*losses) < 0.01
    assert 0 < relative_error(*norms) < 0.05


def test_regions_stay_in_float32_under_autocast():
    model = random_model().float().eval()
    images = torch.randn(1, 3, 256, 128)
    with torch.no_grad(), autocast(torch.device("cpu"), torch.bfloat16):
        rounded = model.localize(images)
    for level, region in model.localize(images).items():
        assert rounded[level].dtype == torch.float32
        torch.testing.assert_close(rounded[level], region, rtol=0, atol=0.02)


def relative_error(exact, rounded):
    """Return the norm of the difference over that of what is exact."""
    return ((rounded - exact).norm() / exact.norm()).item()


def test_the_registry_is_what_builds():
    models = {name: alm.build_model(name, np.int64(35)) for name in alm.APPROACHES}  # numpy's numbers too
    assert {name: type(model) for name, model in models.items()} == alm.APPROACHES
    assert [model.approach for model in models.values()] == ["inception_iccv", "bn_inception"] * 2
    assert sum(p.numel() for p in models["inception_iccv"].parameters()) == 15_147_120  # as published


def test_the_baseline_trains():
    model, images = alm.build_model("bn_inception", 7).train(), torch.randn(2, 3, 256, 128)
    (logits,) = model(images)
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.localize(images) == {}


def test_a_picture_does_not_see_its_batch():
    model, images = random_model().eval(), torch.randn(3, 3, 256, 128).double()
    with torch.no_grad():
        pieces = torch.cat([alm.vote(model(part)) for part in images.split(2)])
        torch.testing.assert_close(pieces, alm.vote(model(images)), rtol=0, atol=1e-11)


def test_vote_is_the_maximum():
    predictions = torch.tensor([[[1.0, -2.0]], [[0.5, 3.0]], [[-1.0, 0.0]]])
    assert alm.vote(tuple(predictions)).tolist() == [[1.0, 3.0]]


class Work(TorchDispatchMode):
    """Counts the convolutions and remembers the largest tensor that an operation returned."""

    def __init__(self):
        super().__init__()
        self.convolutions = self.largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.convolutions += "convolution" in str(function)
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_localization_adds_no_convolution_and_no_large_map():
    """No (K, C, H, W) map exists: nothing of ALM's own is larger than what the backbone makes anyway."""
    num_attributes, images = 35, torch.randn(4, 3, 256, 128)
    with torch.no_grad(), Work() as backbone:
        BNInception().eval()(images)
    model = alm.build_model("inception_iccv", num_attributes).eval()
    with torch.no_grad(), Work() as whole:
        model.predict(images)
    assert backbone.convolutions == sum(isinstance(m, ConvNorm) for m in model.modules()) == 69
    assert whole.convolutions == backbone.convolutions
    assert whole.largest == backbone.largest < len(images) * num_attributes * 256 * 32 * 16
