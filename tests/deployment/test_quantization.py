"""export.py --int8: what it loses, what it says of that, what it refuses; thresholds in the file."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from support.models import ATTRIBUTES, model_of, own_checkpoint

import alm
from alm.checkpoint.restore import load_checkpoint, save_checkpoint
from alm.inference.export import describe_onnx
from alm.inference.onnx_predictor import OnnxPredictor
from run_scripts import export
from utils.data.catalog import EXPERIMENTS
from utils.data.dataset import MultiLabelDataset
from utils.deployment import quantization as export_int8
from utils.deployment.quantization import Sample, correct_logits, probabilities, quantize, store_in_float16
from utils.errors import DataError
from utils.synthetic import LISTS, ensure_dataset

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

pytestmark = pytest.mark.slow


@pytest.fixture
def exported(start_here):
    """Return a function that starts export.py."""
    return partial(start_here, export, "--to", "onnx")


@pytest.fixture
def copied(monkeypatch, model_file):
    """Let every export be a copy of one, and the network be its own quantized form: neither takes time."""

    def copy(_network, path, about):
        path.write_bytes(model_file.read_bytes())
        describe_onnx(path, about)

    def quantize(source, target, batches, _bits=7):
        quantize.pictures = sum(len(batch) for batch in batches)
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(export, "write_onnx", copy)
    monkeypatch.setattr(export, "compare_onnx", lambda *_: 0.0)
    monkeypatch.setattr(export_int8, "quantize", quantize)
    return quantize


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Lists of eight pictures of noise with three labels; in one there is no bag in odd places."""
    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(1)
    for k in range(8):
        Image.fromarray(draw.integers(0, 256, (60, 30, 3), np.uint8)).save(root / f"{k}.png")
    lines = [f"{k}.png {k // 2 % 2} {(k + 1) // 2 % 2} {int(k < 4)}" for k in range(8)]
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    bags = [f"{k}.png {k // 2 % 2} {(k + 1) % 2} {int(k < 4)}" for k in range(8)]
    (root / "bags.txt").write_text("\n".join(bags) + "\n")
    (root / "short.txt").write_text(lines[0] + "\n")
    (root / "two.txt").write_text("0.png 0 1\n")
    return root


@pytest.fixture
def few_will_do(monkeypatch):
    monkeypatch.setattr(export_int8, "LEAST_MEASURED", 1)


def test_the_file_says_what_it_was_calibrated_and_measured_on(
    checkpoint, pictures, tmp_path, exported, copied, few_will_do
):
    path = tmp_path / "m.onnx"
    options = ("--int8", "--calibrate", pictures / "list.txt")
    output, _ = exported(*options, checkpoint, path)
    assert copied.pictures == 4
    assert "int8, weights of 7 bits, calibrated on 4 pictures of list.txt: mA 0." in output
    assert "on 4 other pictures of list.txt; fewer than 30 pictures are too few" in output
    assert "one answer changes this mA by up to 8.3 points, so these pictures are too few to tell" in output
    assert "the network was trained on" not in output
    said = json.loads(OnnxPredictor(path)._session.get_modelmeta().custom_metadata_map["int8"])
    assert said["ma_int8"] == said["ma_float32"]
    assert (said["calibrated_on"], said["measured_on"]) == ("list.txt", "list.txt")
    assert (said["calibrated_pictures"], said["measured_pictures"]) == (4, 4)
    assert list(tmp_path.iterdir()) == [path]


def test_the_result_says_if_a_list_was_trained_on(
    pictures, checkpoint, tmp_path, exported, copied, few_will_do
):
    content = load_checkpoint(checkpoint)
    trained = MultiLabelDataset(pictures, pictures / "list.txt")
    save_checkpoint(tmp_path / "7.pth.tar", content | {"data": {"train": trained.digest()}})
    options = ("--int8", "--calibrate", pictures / "list.txt")
    output, _ = exported(*options, tmp_path / "7.pth.tar", tmp_path / "m.onnx")
    assert f"; the network was trained on {pictures / 'list.txt'}, so it may lose more on other" in output


def test_no_picture_is_measured_that_it_was_calibrated_on(
    checkpoint, pictures, tmp_path, exported, copied, few_will_do
):
    options = ("--int8", "--calibrate", "short.txt", "--val_list", "list.txt", "--data_root", pictures)
    output, _ = exported(*options, checkpoint, tmp_path / "m.onnx")
    assert "calibrated on 1 picture of short.txt" in output
    assert "on 7 pictures of list.txt" in output


@pytest.mark.parametrize(("ma", "is_chance"), [(0.5, True), (0.78, True), (0.8, False)])
def test_the_result_says_if_float32_is_at_chance(
    ma, is_chance, checkpoint, pictures, tmp_path, monkeypatch, exported, copied, few_will_do
):
    """Of 12 answers drawn by chance, four for each attribute, mA is 0.5 with a spread of 0.144."""
    monkeypatch.setattr(export_int8, "mean_accuracy", lambda *_: ma)
    options = ("--int8", "--calibrate", pictures / "list.txt", checkpoint, tmp_path / "m.onnx")
    output, _ = exported(*options)
    assert ("; in float32 it is no better than chance already, so no loss can be seen" in output) == is_chance


@pytest.mark.parametrize(("loss", "status"), [(0.0049, 0), (0.0051, 1), (float("nan"), 1)])
def test_what_loses_too_much_is_not_written(
    loss, status, checkpoint, pictures, tmp_path, monkeypatch, exported, copied, few_will_do
):
    accuracies = iter([0.9, 0.9 - loss, 0.9 - loss])
    monkeypatch.setattr(export_int8, "mean_accuracy", lambda *_: next(accuracies))
    options = ("--int8", "--calibrate", pictures / "list.txt", checkpoint, tmp_path / "m.onnx")
    _, errors = exported(*options, status=status)
    assert (tmp_path / "m.onnx").exists() == (status == 0)
    if status:
        assert "a loss of more than 0.5 points, so nothing was written" in errors
        assert errors.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
    else:
        accuracies = iter([0.9, 0.9 - loss, 0.9 - loss])
        exported(*options[:-1], tmp_path / "strict.onnx", "--max_loss", "0.1", status=1)


def test_weights_get_8_bits_if_7_lose_too_much(
    checkpoint, pictures, tmp_path, monkeypatch, exported, copied, few_will_do
):
    accuracies = iter([0.9, 0.89, 0.899])
    monkeypatch.setattr(export_int8, "mean_accuracy", lambda *_: next(accuracies))
    output, _ = exported("--int8", "--calibrate", pictures / "list.txt", checkpoint, tmp_path / "m.onnx")
    assert "weights of 8 bits" in output
    assert "mA 0.8990, in float32 0.9000" in output


@pytest.mark.parametrize("bits", [7, 8])
def test_weights_of_depthwise_convolutions_are_signed_and_of_8_bits(bits, tmp_path):
    draw = np.random.default_rng(1)
    weights = {"deep": (8, 1, 3, 3), "point": (8, 8, 1, 1)}
    tensors = [onnx.numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name)
               for name, shape in weights.items()]  # fmt: skip
    kinds = {"images": onnx.TensorProto.UINT8, "out": onnx.TensorProto.FLOAT}
    ends = [onnx.helper.make_tensor_value_info(name, kind, ["n", 8, 6, 6]) for name, kind in kinds.items()]
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["x"], "cast", to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Conv", ["x", "deep"], ["y"], "deep", group=8, pads=[1] * 4),
        onnx.helper.make_node("Conv", ["y", "point"], ["out"], "point"),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
              str(tmp_path / "a.onnx"))  # fmt: skip
    batch = draw.integers(0, 256, (4, 8, 6, 6), dtype=np.uint8)
    quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", iter([batch]), bits)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in
              onnx.load(str(tmp_path / "b.onnx")).graph.initializer}  # fmt: skip
    deep, point = (stored[f"{name}_quantized"].astype(int) for name in weights)
    assert stored["deep_quantized"].dtype == np.int8
    assert abs(deep).max() >= 126
    assert stored["point_quantized"].dtype == (np.int8 if bits == 7 else np.uint8)
    assert abs(point - (0 if bits == 7 else 128)).max() in (range(62, 65) if bits == 7 else range(126, 129))


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--int8"], 2, "--int8 is for --to onnx, and needs --calibrate LIST"),
        (["--calibrate", "list.txt"], 2, "--calibrate is for --int8"),
        (["--max_loss", "1"], 2, "--max_loss is for --int8"),
        (["--int8", "--calibrate", "list.txt", "--max_loss", "-1"], 2, "not a number from 0 on"),
        (["--int8", "--calibrate", "absent.txt"], 1, "check --calibrate"),
        (["--int8", "--calibrate", "list.txt", "--val_list", "absent.txt"], 1, "check --val_list"),
        (["--int8", "--calibrate", "short.txt"], 1, "short.txt leaves 1 of its pictures"),
        (["--int8", "--calibrate", "two.txt"], 1, "two.txt:1: "),
        (["--threshold", "absent.json"], 1, "cannot read absent.json"),
    ],
)
def test_bad_input_is_one_line(options, status, words, checkpoint, pictures, tmp_path, monkeypatch, exported):
    monkeypatch.chdir(pictures)
    _, errors = exported(*options, checkpoint, tmp_path / "m.onnx", status=status)
    assert words in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_attribute_whose_loss_cannot_be_told_is_refused(
    checkpoint, pictures, tmp_path, exported, copied, few_will_do
):
    options = ("--int8", "--calibrate", pictures / "bags.txt")
    _, errors = exported(*options, checkpoint, tmp_path / "m.onnx", status=1)
    assert "bags.txt does not have both 0 and 1 for Bag in the 4 pictures to measure mA on" in errors
    assert list(tmp_path.iterdir()) == []


def test_thresholds_of_a_file_are_those_of_the_exported_one(checkpoint, tmp_path, exported, copied):
    thresholds = dict(zip(ATTRIBUTES, (0.25, 0.5, 0.75), strict=True))
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"format": "alm-thresholds-1", "thresholds": thresholds}))
    exported("--threshold", file, checkpoint, tmp_path / "m.onnx")
    assert OnnxPredictor(tmp_path / "m.onnx").thresholds == (0.25, 0.5, 0.75)
    file.write_text(json.dumps({"format": "alm-thresholds-1", "thresholds": {"Hat": 0.5}}))
    _, errors = exported("--threshold", file, checkpoint, tmp_path / "n.onnx", status=1)
    assert "has no threshold for 'Bag'" in errors


def test_without_a_backbone_nothing_is_quantized(tmp_path):
    cast = onnx.helper.make_node("Cast", ["images"], ["floats"], "/head/Cast", to=onnx.TensorProto.FLOAT)
    ends = zip(("images", "floats"), (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT), strict=True)
    images, floats = (onnx.helper.make_tensor_value_info(name, kind, [1, 3]) for name, kind in ends)
    graph = onnx.helper.make_graph([cast], "graph", [images], [floats])
    onnx.save(onnx.helper.make_model(graph, ir_version=8), str(tmp_path / "a.onnx"))
    with pytest.raises(DataError, match="has no convolution"):
        quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", iter(()))
    assert not (tmp_path / "b.onnx").exists()


def test_logits_get_the_means_back_that_they_have_in_float32(model_file, pictures, tmp_path):
    model = onnx.load(str(model_file))
    (sigmoid,) = (node for node in model.graph.node if "probabilities" in node.output)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([0.7, -0.2, 0.0]), "moved_by"))
    add = onnx.helper.make_node("Add", [sigmoid.input[0], "moved_by"], ["moved"], "move")
    model.graph.node.insert(list(model.graph.node).index(sigmoid), add)
    sigmoid.input[0] = "moved"
    onnx.save(model, str(tmp_path / "moved.onnx"))
    seen = Sample(MultiLabelDataset(pictures, pictures / "list.txt"), range(8))
    images, _ = next(seen.batches("Read"))
    before, after = (
        probabilities(OnnxPredictor(file), images) for file in (model_file, tmp_path / "moved.onnx")
    )
    assert np.abs(after - before).max() > 0.01
    correct_logits(model_file, tmp_path / "moved.onnx", seen)
    np.testing.assert_allclose(
        probabilities(OnnxPredictor(tmp_path / "moved.onnx"), images), before, atol=1e-5
    )


def test_large_constants_are_stored_in_halves_unless_these_overflow():
    from onnx.reference import ReferenceEvaluator

    draw = np.random.default_rng(1)
    constants = {
        "large": draw.standard_normal((64, 64)).astype(np.float32),
        "small": draw.standard_normal(8).astype(np.float32),
        "beyond": np.full(2048, 1e6, np.float32),
        "whole": np.arange(2048),
    }
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    outputs = [
        onnx.helper.make_tensor_value_info(
            f"{name}_out", onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
        )
        for name, values in constants.items()
    ]
    nodes = [onnx.helper.make_node("Identity", [name], [f"{name}_out"]) for name in constants]
    graph = onnx.helper.make_graph(nodes, "graph", [], outputs, tensors)
    store_in_float16(graph)
    onnx.checker.check_model(model := onnx.helper.make_model(graph, ir_version=8))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert {name: values.dtype.name for name, values in stored.items()} == {
        "large_float16": "float16", "small": "float32", "beyond": "float32", "whole": "int64"
    }  # fmt: skip
    read = ReferenceEvaluator(model).run(None, {})
    np.testing.assert_allclose(read[0], constants["large"], rtol=2**-11, atol=2**-25)


def test_int8_says_nearly_what_float32_says(tmp_path, exported, monkeypatch):
    """Its errors are small beside what differs from picture to picture."""
    root = tmp_path / "drawn"
    ensure_dataset(root, train=12, test=30)
    monkeypatch.setattr(
        export, "compare_onnx", lambda _, path: shutil.copy(path, tmp_path / "float32.onnx") and 0.0
    )
    calibration, measured = (MultiLabelDataset(root, root / LISTS[part]) for part in ("train", "test"))
    model = settled(calibration.images(list(range(12))))
    save_checkpoint(tmp_path / "7.pth.tar", own_checkpoint(model, attributes=EXPERIMENTS["peta"].attributes))
    options = ("--int8", "--evidence", "--max_loss", 100, "--val_list", measured.label)
    files = (tmp_path / "7.pth.tar", tmp_path / "int8.onnx")
    output, _ = exported(*options, "--calibrate", calibration.label, *files)
    assert "calibrated on 12 pictures of PETA_train_list.txt" in output
    files = [tmp_path / f"{name}.onnx" for name in ("int8", "float32")]
    images = measured.images(list(range(30))).permute(0, 2, 3, 1).numpy()
    int8, float32 = (OnnxPredictor(file).outputs(images) for file in files)
    for name in int8.keys() - {"levels"}:
        axes = (0, 2, 3) if name == "regions" else None  # each level by itself
        spread = float32[name].std(axis=0, keepdims=True)
        assert (np.abs(int8[name] - float32[name]).mean(axes) < 0.5 * spread.mean(axes)).all(), name
    assert files[0].stat().st_size < 0.6 * files[1].stat().st_size


def settled(images):
    """Return a network that has seen these pictures: without, it says nearly the same of all."""
    model = model_of(35).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(alm.preprocess(images))
    return model.eval()
