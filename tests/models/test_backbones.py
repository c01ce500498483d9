"""Another backbone: its maps' names, channels and colours go everywhere that BN-Inception's do."""

import numpy as np
import pytest
import torch
from support.toy import LEVELS, Toy

import alm
from alm.inference.export import Deployed, write_onnx
from alm.inference.onnx_metadata import Metadata
from alm.inference.onnx_predictor import OnnxPredictor
from alm.models.backbones import BACKBONES
from alm.models.folding import folded
from utils.deployment.parity import compare_onnx
from utils.deployment.quantization import backbone_nodes


@pytest.fixture
def toy(monkeypatch):
    """Return an ALM on the toy, registered."""
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    torch.manual_seed(0)
    return alm.build_model("inception_iccv", 4, backbone="toy")


def test_it_trains_a_step(toy):
    images, labels = torch.randn(2, 3, 256, 128), torch.randint(0, 2, (2, 4))
    before = [parameter.detach().clone() for parameter in toy.parameters()]
    optimizer = torch.optim.Adam(toy.parameters())
    criterion = alm.WeightedBCELoss([0.5] * 4)
    sum(criterion(logits, labels) for logits in toy.train()(images)).backward()
    optimizer.step()
    assert all(not torch.equal(*pair) for pair in zip(before, toy.parameters(), strict=True))


def test_frozen_stages_stay_as_they_are(toy):
    """Their batch statistics too, and nothing is kept for gradients before the first stage that trains."""
    toy.freeze(2)
    before = {name: tensor.clone() for name, tensor in toy.train().state_dict().items()}
    predictions = toy(torch.randn(2, 3, 256, 128))
    sum(logits.sum() for logits in predictions).backward()
    with torch.no_grad():
        for parameter in toy.parameters():
            parameter -= parameter.grad if parameter.grad is not None else 0
    same = {name for name, tensor in toy.state_dict().items() if torch.equal(tensor, before[name])}
    frozen = ("backbone.convolutions.0.", "backbone.convolutions.1.", "backbone.bn.")
    assert same == {name for name in before if name.startswith(frozen)}


@pytest.mark.parametrize(
    ("name", "stages"), [("bn_inception", 11), ("tf_efficientnet_lite0", 5), ("test_convnext", 4)]
)
def test_three_stages_reach_the_first_map(name, stages):
    if name != "bn_inception":
        pytest.importorskip("timm", reason="timm is not installed")
    model = alm.build_model("baseline", 3, backbone=name)
    assert sum(map(len, model.backbone.stages())) == len(list(model.backbone.parameters()))
    with pytest.raises(alm.AlmError, match=rf"^--freeze {stages + 1}: {name} has {stages} stages; lower it$"):
        model.freeze(stages + 1)
    model.freeze(stages - 2 if name == "test_convnext" else 3)
    maps = model.train().backbone(torch.randn(2, 3, 256, 128))
    assert [features.requires_grad for features in maps.values()] == [False, True, True]
    model.freeze(stages)
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


def test_it_localizes_and_folds(toy):
    assert (toy.backbone_name, toy.levels, toy.classifier.in_features) == ("toy", LEVELS, 14)
    assert alm.build_model("bn_inception", 4, backbone="toy").levels == ()
    images = torch.randn(2, 3, 256, 128)
    regions = toy.eval().localize(images)
    assert {level: tuple(region.shape) for level, region in regions.items()} == dict.fromkeys(
        LEVELS, (2, 4, 4)
    )
    assert all(map(torch.equal, folded(toy)(images), toy(images)))


@pytest.mark.slow
def test_predictions_and_an_exported_file_have_its_levels_and_evidence(toy, tmp_path):
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    names, path = ("Hat", "Bag", "Skirt", "Boots"), tmp_path / "toy.onnx"
    deployed = Deployed(toy, evidence=True).eval()
    write_onnx(deployed, path, Metadata(names, "", (0.5,) * 4, False, toy.levels).texts())
    assert compare_onnx(deployed, path) < 1e-5
    nodes = backbone_nodes(onnx.load(path).graph.node)
    assert sum("Conv" in name for name in nodes) == 3

    picture = np.random.default_rng(0).integers(0, 256, (300, 100, 3), dtype=np.uint8)
    ours, exported = alm.Predictor(toy, names, "cpu", evidence=True), OnnxPredictor(path)
    assert ours.levels == exported.levels == LEVELS
    (first,), (second,) = ours(picture), exported(picture)
    assert first.levels == second.levels == LEVELS
    assert set(first.level) <= {*LEVELS, "main"}
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-5)
    for level in LEVELS:
        np.testing.assert_allclose(first.regions[level], second.regions[level], atol=1e-2)
    assert list(first.evidence) == list(second.evidence) == [*LEVELS, "main", "all"]
    for name, maps in first.evidence.items():
        np.testing.assert_allclose(maps, second.evidence[name], atol=1e-5)


def test_its_mean_and_std_normalize_the_pictures(toy):
    pixels = torch.randint(0, 256, (1, 3, 256, 128), dtype=torch.uint8)
    logits, _ = Deployed(toy).eval().explain(pixels)
    expected = toy.eval()(alm.preprocess(pixels, mean=Toy.mean, std=Toy.std))
    torch.testing.assert_close(torch.stack(logits), torch.stack(expected), rtol=1e-5, atol=1e-5)
    published = toy(alm.preprocess(pixels))
    assert not torch.allclose(torch.stack(expected), torch.stack(published))
