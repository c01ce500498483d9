"""Both networks, whole and folded, through every exporter, with a batch of any size."""

import inspect

import pytest
import torch

import alm
from alm.models import folding

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
@pytest.mark.parametrize("exporter", [traced, exported, classic, dynamo])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("approach", list(alm.APPROACHES))
def test_exported_network_agrees(tmp_path, approach, folded, exporter):
    torch.manual_seed(0)
    model = alm.build_model(approach, 5).eval().requires_grad_(False)
    for parameter in model.parameters():  # logits of the size that training gives
        parameter.mul_(1.5)
    model = folding.folded(model) if folded else model
    network = exporter(model, str(tmp_path / "model.onnx"))
    for images in (IMAGES, IMAGES[:1], EXAMPLE):
        expected = model(images)
        found = network(images)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            scale = theirs.abs().max().item()
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * max(scale, 1))
    assert all(prediction.std() > 0.05 for prediction in model(IMAGES))
