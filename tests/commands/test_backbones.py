"""Every backbone through the commands: trained, gone on with, started from, predicted, exported, located."""

import json
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from support.cli import status_here
from support.models import same

import alm
from alm.checkpoint.restore import load_checkpoint
from alm.inference.onnx_predictor import OnnxPredictor
from run_scripts import benchmark, export, locate, predict, run_ALM
from run_scripts.training.setup import start_model
from utils.deployment import quantization
from utils.diagnostics.fingerprint_comparison import read_fingerprint
from utils.synthetic import LISTS

pytestmark = pytest.mark.slow

WIDTH = 32


@pytest.fixture(
    scope="module",
    params=["bn_inception", "tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_050"],
)
def run(request, four_pictures, tmp_path_factory):
    """Train for two epochs, and for one that another start goes on with; return where both are."""
    if request.param != "bn_inception":
        pytest.importorskip("timm", reason="timm is not installed")
    root = tmp_path_factory.mktemp(request.param)
    data = ("--data_root", four_pictures, "--workers", 0, "--device", "cpu")
    options = ("--approach", "alm", "--experiment", "peta", *data, "--batch_size", 2,
               "--backbone", request.param, "--width", WIDTH)  # fmt: skip
    starts = (
        ("--epochs", 2, "--output_dir", root / "whole", "--fingerprint", root / "a.jsonl"),
        ("--epochs", 1, "--output_dir", root / "parts"),
    )
    for start in starts:
        assert status_here(run_ALM, *options, *start) == 0
    resume = ("--resume", root / "parts" / "last.pth.tar", "--epochs", 2)
    assert status_here(run_ALM, *resume) == 0
    return SimpleNamespace(
        backbone=request.param, root=root, checkpoint=root / "whole" / "last.pth.tar", data=data
    )


def test_a_run_goes_on_bit_for_bit_and_is_evaluated(run, start_here):
    whole, parts = (load_checkpoint(run.root / name / "last.pth.tar") for name in ("whole", "parts"))
    assert same(whole["state_dict"], parts["state_dict"])
    assert whole["backbone"] == run.backbone
    model = alm.load_model(run.checkpoint)
    assert model.lateral[model.levels[0]].out_features == WIDTH
    assert (model.levels, model.mean, model.std) == tuple(tuple(whole[k]) for k in ("levels", "mean", "std"))
    output, _ = start_here(run_ALM, "-e", "--resume", run.checkpoint, "--json", run.root / "e.json")
    assert "Precision: float32" in output
    last_epoch = (run.root / "whole" / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads((run.root / "e.json").read_text())["ma"] == json.loads(last_epoch)["ma"]


def test_a_new_training_starts_from_it(run):
    source, attributes = alm.load_model(run.checkpoint), ("Age16-30", "Boots")
    model, notes = start_model(
        "alm", attributes, backbone=run.backbone, width=WIDTH, seed=1, init_from=str(run.checkpoint)
    )
    assert "localization of 1 of 2 attributes from" in notes[0]
    assert same(model.backbone.state_dict(), source.backbone.state_dict())
    row = source.attributes.index("Age16-30")
    assert torch.equal(model.classifier.weight[0], source.classifier.weight[row])


def test_it_predicts_and_is_exported_in_every_form(run, four_pictures, start_here, monkeypatch):
    monkeypatch.setattr(quantization, "LEAST_MEASURED", 1)
    names = [line.split()[0] for line in (four_pictures / LISTS["test"]).read_text().splitlines()]
    lines = [" ".join([name, *str(label) * 35]) for label, name in enumerate(names)]  # both of each attribute
    (run.root / "val.txt").write_text("\n".join(lines), encoding="utf-8")
    calibration = (
        "--calibrate", four_pictures / LISTS["train"], "--val_list", run.root / "val.txt",
        "--data_root", four_pictures, "--max_loss", 100,
    )  # fmt: skip
    exports = {
        "m.pt2": ("--to", "torch_export"),
        "m.onnx": ("--to", "onnx"),
        "i.onnx": ("--to", "onnx", "--int8", *calibration),
    }
    for name, options in exports.items():
        start_here(export, *options, run.checkpoint, run.root / name)
    pictures = sorted(four_pictures.rglob("*.png"))[:1]
    probabilities = []
    for name in ("whole/last.pth.tar", "m.onnx", "i.onnx"):
        output, _ = start_here(predict, "--checkpoint", run.root / name, "--json", "-", *pictures)
        record = json.loads(output)["attributes"]
        probabilities.append(torch.tensor([record[name]["probability"] for name in record]))
    torch.testing.assert_close(probabilities[1], probabilities[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(probabilities[2], probabilities[0], rtol=0, atol=0.1)
    assert OnnxPredictor(run.root / "m.onnx").levels == alm.load_model(run.checkpoint).levels


def test_its_fingerprint_is_whole_and_its_operators_are_right(run, start_here):
    names = {entry["name"] for entry in read_fingerprint(run.root / "a.jsonl").tensors}
    assert names > {name for name, _ in alm.load_model(run.checkpoint).named_parameters()}
    step = ("--backbone", run.backbone, "--width", WIDTH, "--batch_size", 1, "--device", "cpu")
    output, _ = start_here(locate, *step)
    assert "\npass: every result is within its limit" in output


def test_a_step_of_it_is_timed(run):
    options = Namespace(
        device=torch.device("cpu"), amp="off", batch_size=2, attributes=3, backbone=run.backbone
    )
    trainer = benchmark.trainer_of(options, "alm", options.attributes, options.amp)
    weight = trainer.model.classifier.weight
    before = weight.detach().clone()
    benchmark.step_of(options, trainer, options.attributes)()
    assert not torch.equal(weight, before)
