"""export.py --to onnx and torch_export, and predictions from .onnx without torch."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from support import REPOSITORY
from support.models import ATTRIBUTES, model_of
from support.toy import Toy, toy_checkpoint

import alm
from alm.errors import AlmError
from alm.inference.export import Deployed
from alm.inference.onnx_metadata import Metadata
from alm.models.backbones import BACKBONES
from run_scripts import export
from utils.deployment.parity import compare, samples
from utils.errors import DataError

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from alm.inference.onnx_predictor import OnnxPredictor  # noqa: E402


@pytest.fixture
def exported(start_here):
    """Return a function that starts export.py."""
    return partial(start_here, export)


@pytest.mark.slow
def test_one_file_with_a_batch_of_any_size_and_what_it_is(model_file):
    session = onnxruntime.InferenceSession(str(model_file), providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {
        "images": ["batch", 3, 256, 128],
        "probabilities": ["batch", 3],
        "regions": ["batch", 3, 3, 4],
        "levels": ["batch", 3],
    }
    texts = session.get_modelmeta().custom_metadata_map
    assert json.loads(texts["attributes"]) == list(ATTRIBUTES)
    assert json.loads(texts["thresholds"]) == [0.9] * 3
    assert texts["dataset"] == "custom"
    assert "centre (t_x, t_y)" in texts["regions"]
    assert sorted(path.name for path in model_file.parent.iterdir()) == ["model.onnx"]


@pytest.mark.slow
def test_predictions_are_those_of_the_checkpoint(checkpoint, model_file):
    pictures = [np.random.default_rng(k).integers(0, 256, (99, 41 + k, 3), np.uint8) for k in range(5)]
    expected = alm.Predictor.from_checkpoint(checkpoint, device="cpu")(pictures)
    predictor = OnnxPredictor(model_file)
    for found in (predictor(pictures), predictor(pictures, batch_size=1)):
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.attributes == theirs.attributes
            assert (ours.level, ours.size) == (theirs.level, theirs.size)
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
            for level, boxes in theirs.regions.items():
                np.testing.assert_allclose(ours.regions[level], boxes, atol=1e-2)  # pixels


@pytest.mark.slow
def test_predict_takes_the_files_thresholds_and_no_torch(model_file, tmp_path):
    """Twice in one process, with the file's threshold and with another."""
    Image.new("RGB", (40, 90), (60, 90, 200)).save(tmp_path / "a.png")
    code = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv.pop(1))\n"
        "from run_scripts import predict\n"
        "predict.main(); sys.argv += ['--threshold', '0.1']; predict.main()"
    )
    options = ["--checkpoint", str(model_file), "--json", "-", str(tmp_path / "a.png")]
    command = [sys.executable, "-c", code, str(REPOSITORY), *options]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stderr) == (0, "")
    [expected] = OnnxPredictor(model_file)(tmp_path / "a.png")
    for line, positive in zip(process.stdout.splitlines(), (False, True), strict=True):
        about = [json.loads(line)["attributes"][name] for name in ATTRIBUTES]
        np.testing.assert_allclose([row["probability"] for row in about], expected.probabilities, atol=1e-6)
        np.testing.assert_allclose([row["regions"]["4d"] for row in about], expected.regions["4d"], atol=0.01)
        assert tuple(row["level"] for row in about) == expected.level
        assert [row["positive"] for row in about] == [positive] * 3


@pytest.mark.slow
def test_evidence_that_a_file_does_not_give_is_refused(model_file):
    assert not OnnxPredictor(model_file).evidence
    with pytest.raises(AlmError, match=r"model\.onnx gives no evidence; export it again with --evidence"):
        alm.Predictor.from_file(model_file, evidence=True)


FORKED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from alm.inference.onnx_predictor import OnnxPredictor
predictor = OnnxPredictor(sys.argv[2], threads=2)
predictor(sys.argv[3])
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
signal.alarm(60)
predictor(sys.argv[3])
predictor = OnnxPredictor(sys.argv[2], threads=2)
predictor(sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_in_a_forked_process_a_predictor_goes_on_and_can_be_replaced(model_file, tmp_path):
    Image.new("RGB", (40, 90), (60, 90, 200)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", FORKED, str(REPOSITORY), str(model_file), str(tmp_path / "a.png")]
    assert subprocess.run(command).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("approach", "options", "shapes"),
    [
        (
            "inception_iccv",
            ("--evidence",),
            [(3, 3), (3, 3, 3, 4), (3, 3), (3, 3, 32, 16), (3, 3, 16, 8), (3, 3, 8, 4), (3, 3, 8, 4)],
        ),
        ("bn_inception", (), [(3, 3)]),
    ],
)
def test_torch_export_is_loaded_back(tmp_path, exported, monkeypatch, approach, options, shapes):
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    checkpoint = toy_checkpoint(tmp_path / "7.pth.tar", approach)
    output, _ = exported("--to", "torch_export", *options, checkpoint, tmp_path / "m.pt2")
    assert "3 attributes" in output
    extra = {"attributes": ""}
    program = torch.export.load(str(tmp_path / "m.pt2"), extra_files=extra)
    assert "set_grad_enabled" not in str(program.graph)  # which torch 2.4 does not read back by itself
    assert json.loads(extra["attributes"]) == list(ATTRIBUTES)
    outputs = program.module()(samples()[2])
    assert [tuple(output.shape) for output in outputs] == shapes


def test_what_differs_is_refused():
    deployed = Deployed(model_of()).eval()

    def off(images):
        probabilities, regions, levels = deployed(images)
        return probabilities + 2e-4, regions, levels

    with torch.inference_mode(), pytest.raises(AlmError, match=r"differs from PyTorch by 0\.0002"):
        compare(deployed, off)


def test_the_fault_is_not_the_exporters_if_the_network_computes_nan():
    model = model_of()
    model.classifier.bias.data[1] = torch.nan
    deployed = Deployed(model).eval()
    with pytest.raises(AlmError, match="the network's own predictions are not finite"):
        compare(deployed, deployed)


def test_a_failed_check_leaves_nothing(checkpoint, tmp_path, monkeypatch, exported):
    def fail(*_):
        raise AlmError("differs")

    monkeypatch.setattr(export, "write_onnx", lambda _network, path, _about: path.write_bytes(b""))
    monkeypatch.setattr(export, "compare_onnx", fail)
    _, errors = exported("--to", "onnx", checkpoint, tmp_path / "m.onnx", status=1)
    assert errors == "error: differs\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--to", "onnx", "a.pth.tar", "m.bin"], 2, "name it .onnx"),
        (["--to", "reference", "--threshold", "0.5", "a", "b"], 2, "--threshold has no meaning"),
        (["--to", "reference", "--evidence", "a", "b"], 2, "--evidence has no meaning"),
        (["--to", "onnx", "--threshold", "1.5", "a", "m.onnx"], 2, "not a number from 0 to 1"),
        (["--to", "onnx", "absent.pth.tar", "m.onnx"], 1, "absent.pth.tar: no such file"),
    ],
)
def test_wrong_options_are_one_line(options, status, message, exported):
    try:
        _, errors = exported(*options, status=status)
    finally:
        assert not (REPOSITORY / "m.onnx").exists()
    assert message in errors
    assert errors.count("\n") == 1


def changed(model_file, path, change):
    """Write the file with `change` made to the model."""
    model = onnx.load(str(model_file))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def set_text(name, value):
    def change(model):
        entry = next(entry for entry in model.metadata_props if entry.key == name)
        entry.value = value

    return change


def foreign_operator(model):
    model.graph.node[0].domain = "evil"
    model.opset_import.append(onnx.helper.make_opsetid("evil", 1))


def weights_outside(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_text("attributes", '["a", "a", "b"]'), "`attributes` are not"),
        (set_text("attributes", "[" * 100_000), "`attributes` are not"),
        (set_text("thresholds", "[0.5, 0.5, NaN]"), "`thresholds` are not"),
        (set_text("thresholds", "[0.5, 0.5]"), "`thresholds` are not"),
        (set_text("align_corners", "0"), "`align_corners` is neither"),
        (set_text("format", "other"), "it does not say that export.py wrote it"),
        (foreign_operator, "onnxruntime does not take it"),
        (weights_outside, "onnxruntime does not take it"),
    ],
)
def test_a_hostile_file_is_one_line(model_file, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(10**6))
    path = changed(model_file, tmp_path / "x.onnx", change)
    with pytest.raises(DataError) as error:
        OnnxPredictor(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def small(path, *nodes):
    """Write a file of two attributes without regions, whose graph is these nodes: images -> probabilities."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", kinds.UINT8, ["n", 3, 256, 128])],
        [helper.make_tensor_value_info("probabilities", kinds.FLOAT, ["n", 2])],
        [onnx.numpy_helper.from_array(np.array([[0.5, 0.5]], np.float32), "row")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, Metadata(("Hat", "Bag"), "ÿ", (0.5, 0.5), False, ()).texts())
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            [("Identity", ["row"], "probabilities")],
            r"it gives `probabilities` \(1, 2\) for 3 pictures; export it anew",
        ),
        (
            [("Shape", ["images"], "places"), ("Gather", ["row", "places"], "probabilities")],
            r"onnxruntime cannot compute 3 pictures \(.*Gather.*\); give fewer",
        ),
    ],
)
def test_a_graph_that_does_not_compute_what_it_declares_is_one_line(tmp_path, nodes, words):
    nodes = [onnx.helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes]
    predictor = OnnxPredictor(small(tmp_path / "x.onnx", *nodes))
    with pytest.raises(DataError, match=rf"x\.onnx: {words}") as error:
        predictor([np.zeros((8, 8, 3), np.uint8)] * 3)
    assert "\n" not in str(error.value)


def test_a_text_that_is_not_utf8_is_one_line(tmp_path):
    path = small(tmp_path / "x.onnx", onnx.helper.make_node("Identity", ["row"], ["probabilities"]))
    path.write_bytes(path.read_bytes().replace("ÿ".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match=r"x\.onnx: it has a text that is not UTF-8; export it anew"):
        OnnxPredictor(path)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 1000])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.onnx: "):
        OnnxPredictor(tmp_path / "x.onnx")


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/absent.onnx"])
def test_no_regular_file_is_refused(path):
    with pytest.raises(DataError, match=path):
        OnnxPredictor(path)
