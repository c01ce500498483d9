"""timm's models as backbones: which names are taken, what the maps are, which arithmetic they use."""

import sys
from copy import deepcopy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import alm
from alm.devices.precision import autocast
from alm.models.backbones import build_backbone
from alm.models.timm_backbone import PaddedConvolution

timm = pytest.importorskip("timm", reason="timm is not installed")

IMAGES = torch.randn(2, 3, 256, 128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "mean", "channels"),
    [
        ("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (40, 112, 320)),
        ("resnet18", (0.485, 0.456, 0.406), (128, 256, 512)),
        ("test_convnext", (0.5, 0.5, 0.5), (32, 48, 64)),
        ("hrnet_w18_small", (0.485, 0.456, 0.406), (256, 512, 1024)),  # has weights that feed no map
        ("swin_tiny_patch4_window7_224", (0.485, 0.456, 0.406), (192, 384, 768)),  # size fixed; channels last
    ],
)
def test_maps_and_colours_are_timms(name, mean, channels):
    backbone = build_backbone(name)
    assert backbone.mean == mean
    assert [tap.channels for tap in backbone.taps] == list(channels)
    assert backbone.training
    maps = backbone(IMAGES)
    assert not any(type(module) is timm.layers.Conv2dSame for module in backbone.modules())
    assert {tap.name: (2, tap.channels, 256 // tap.stride, 128 // tap.stride) for tap in backbone.taps} == {
        level: tuple(features.shape) for level, features in maps.items()
    }
    sum(features.sum() for features in maps.values()).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())  # or no run could go on


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet19",
            "unknown backbone 'resnet19', neither bn_inception nor one of timm's; timm's nearest are ",
        ),
        ("hf_hub:timm/resnet18.a1_in1k", "unknown backbone 'hf_hub:timm/resnet18.a1_in1k'"),
        ("hf-hub:timm/resnet18", "unknown backbone"),
        ("local-dir:.", "unknown backbone"),
        ("https://example.org/resnet18", "unknown backbone"),
        ("/resnet18", "unknown backbone"),
        ("resnet18.mine", "resnet18.mine"),
        ("test_vit", "'test_vit' has no maps"),
        ("inception_v3", "'inception_v3' has no maps"),
    ],
)
def test_names_that_are_no_backbone_are_refused(name, message, monkeypatch):
    monkeypatch.setattr("socket.socket", None)  # nothing is downloaded
    with pytest.raises(alm.AlmError) as refused:
        build_backbone(name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_its_parameters_are_the_same_whatever_gradients_the_caller_has(mode):
    expected = [name for name, _ in build_backbone("test_efficientnet").named_parameters()]
    with mode():
        backbone = build_backbone("test_efficientnet")
    assert [name for name, _ in backbone.named_parameters()] == expected
    sum(features.sum() for features in backbone(IMAGES).values()).backward()


def test_without_timm_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(alm.AlmError, match=r"'resnet18' is not bn_inception, .*pip install timm"):
        build_backbone("resnet18")


class Arithmetic(TorchDispatchMode):
    """Notes the type that each depthwise convolution, and each other one, is computed in."""

    def __init__(self):
        super().__init__()
        self.depthwise, self.others = set(), set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if function in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            is_backward = "backward" in str(function)
            images, groups = arguments[is_backward], arguments[-2 if is_backward else -1]
            (self.depthwise if groups > 1 else self.others).add(images.dtype)
        return function(*arguments, **(options or {}))


def test_depthwise_convolutions_with_gradients_stay_in_float32_under_autocast():
    backbone = deepcopy(build_backbone("test_efficientnet"))
    with Arithmetic() as arithmetic:
        with autocast(torch.device("cpu"), torch.bfloat16):
            maps = backbone(IMAGES)
        sum(features.float().sum() for features in maps.values()).backward()
    assert (arithmetic.depthwise, arithmetic.others) == ({torch.float32}, {torch.bfloat16})
    assert {features.dtype for features in maps.values()} == {torch.bfloat16}
    with Arithmetic() as arithmetic, autocast(torch.device("cpu"), torch.bfloat16), torch.no_grad():
        backbone(IMAGES)
    assert arithmetic.depthwise == {torch.bfloat16}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"),
    [
        ((8, 8), 3, 2, 1),
        ((9, 8), (3, 5), 2, 1),
        ((7, 10), 5, (2, 3), 1),
        ((11, 6), 3, 2, 2),
        ((5, 5), 1, 2, 1),
    ],
)
def test_padded_convolutions_compute_what_timms_do(size, kernel, stride, dilation, tmp_path):
    original = timm.layers.Conv2dSame(4, 6, kernel, stride, dilation=dilation, groups=2).eval()
    x = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(1))
    expected = original(x).detach()
    original.__class__ = PaddedConvolution
    assert torch.equal(original(x), expected)
    onnx, onnxruntime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    path = str(tmp_path / "padded.onnx")
    torch.onnx.export(original, (x,), path, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"])
    assert [node.op_type for node in onnx.load(path).graph.node] == ["Conv"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), expected)


def test_nothing_is_dropped_at_random():
    backbone = build_backbone("focalnet_tiny_srf")
    state = torch.get_rng_state()
    backbone(IMAGES)
    assert torch.equal(state, torch.get_rng_state())
