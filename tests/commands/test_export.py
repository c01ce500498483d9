"""The networks through every exporter, with a batch of any size; export.py itself is in tests/deployment."""

import inspect

import pytest
import torch
from support import THOROUGH
from support.toy import Toy

import alm
from alm.checkpoint import restore
from alm.models.backbones import BACKBONES
from alm.models.folding import folded
from run_scripts import export

IMAGES = torch.randn(6, 3, 256, 128, generator=torch.Generator().manual_seed(0))
EXAMPLE = IMAGES[:3]


def traced(model, _path):
    return torch.jit.trace(model, (EXAMPLE,))


def exported(model, _path):
    batch = torch.export.Dim("batch", min=1, max=1024)
    return torch.export.export(model, (EXAMPLE,), dynamic_shapes=({0: batch},)).module()


def classic(model, path):
    """The exporter by tracing, opset 17."""
    torch.onnx.export(
        model, (EXAMPLE,), path, opset_version=17, input_names=["images"],
        dynamic_axes={"images": {0: "batch"}}, dynamo=False,
    )  # fmt: skip
    return in_onnxruntime(path)


def dynamo(model, path):
    """The exporter by torch.export, weights in the file."""
    if "dynamic_shapes" not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip("this torch has no such exporter")
    batch = torch.export.Dim("batch", min=1, max=1024)
    torch.onnx.export(
        model, (EXAMPLE,), path, dynamo=True, dynamic_shapes=({0: batch},), input_names=["images"],
        external_data=False, verbose=False,
    )  # fmt: skip
    return in_onnxruntime(path)


def in_onnxruntime(path):
    import onnxruntime  # of the extra `test`, as onnx and onnxscript: without them this fails, not skips

    session = onnxruntime.InferenceSession(path)
    return lambda images: [torch.from_numpy(x) for x in session.run(None, {"images": images.numpy()})]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporters' remarks about themselves
@pytest.mark.parametrize(
    ("approach", "backbone", "prepare", "exporter"),
    [
        ("inception_iccv", "toy", folded, traced),
        ("inception_iccv", "bn_inception", folded, exported),
        ("inception_iccv", "bn_inception", folded, classic),  # which export.py uses
        pytest.param(
            "inception_iccv",
            "toy",
            folded,
            dynamo,
            marks=pytest.mark.skipif(not THOROUGH, reason="set ALM_THOROUGH=1"),
        ),
        ("inception_iccv", "bn_inception", lambda model: model, classic),  # whole, with its normalization
        ("bn_inception", "toy", folded, classic),
    ],
)
def test_an_exported_network_agrees(tmp_path, monkeypatch, approach, backbone, prepare, exporter):
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    torch.manual_seed(0)
    model = alm.build_model(approach, 5, backbone=backbone).eval().requires_grad_(False)
    for parameter in model.parameters():  # logits of the size that training gives
        parameter.mul_(1.5)
    model = prepare(model)
    network = exporter(model, str(tmp_path / "model.onnx"))
    for images in (IMAGES, IMAGES[:1], EXAMPLE):
        expected = model(images)
        results = network(images)
        assert len(results) == len(expected)
        for ours, theirs in zip(results, expected, strict=True):
            scale = theirs.abs().max().item()
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * max(scale, 1))
    assert all(prediction.std() > 0.05 for prediction in model(IMAGES))


def test_a_file_that_is_there_is_not_written_over(checkpoint, tmp_path, start_here):
    output = tmp_path / "out.onnx"
    output.write_text("precious", encoding="utf-8")
    _, errors = start_here(export, "--to", "onnx", checkpoint, output, status=1)
    assert errors.startswith(f"error: {output} exists")
    assert output.read_text(encoding="utf-8") == "precious"


def test_the_checkpoint_is_read_once(checkpoint, tmp_path, monkeypatch, start_here):
    reads = []
    load = restore.safe_load
    monkeypatch.setattr(restore, "safe_load", lambda path, **parts: reads.append(path) or load(path, **parts))
    monkeypatch.setattr(export, "write_onnx", lambda deployed, path, about: path.write_bytes(b""))
    monkeypatch.setattr(export, "compare_onnx", lambda deployed, path: 0.0)
    start_here(export, "--to", "onnx", checkpoint, tmp_path / "m.onnx")
    assert len(reads) == 1
