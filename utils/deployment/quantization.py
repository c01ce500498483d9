"""An exported network in 8-bit integers, by onnxruntime's own tools, and its loss of mA."""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from alm.inference.onnx_predictor import OnnxPredictor, onnxruntime_package
from alm.models.metrics import AttributeMetrics
from utils.data.dataset import MultiLabelDataset
from utils.errors import DataError
from utils.io.phrases import counted, first_few
from utils.io.process import temporary_directory

# Operators that take a map apart; the network's own part begins behind them.
ENDS_OF_MAPS = {"Reshape", "Flatten", "Transpose", "Shape"}
MOST_CALIBRATED = 256  # pictures; with more, the ranges of activations hardly change
LEAST_CALIBRATED = 30  # with fewer, the ranges are those of single pictures
LEAST_MEASURED = 30  # as for intervals: with fewer, the mistakes in one picture are points of mA
BATCH_SIZE = 16
LARGE = 4096  # bytes of a constant


@dataclass(frozen=True)
class Int8:
    """The calibration of a network in 8-bit integers, and its mA and float32's, both at the file's
    thresholds, on other pictures than those of the calibration. `..._on` are names of lists.
    """

    calibrated_on: str
    calibrated_pictures: int
    measured_on: str
    measured_pictures: int
    ma_float32: float
    ma_int8: float
    weight_bits: int

    def texts(self) -> dict[str, str]:
        return {"int8": json.dumps(asdict(self))}

    def __str__(self) -> str:
        calibrated = counted(self.calibrated_pictures, "picture")
        noun = "other picture" if self.measured_on == self.calibrated_on else "picture"
        measured = counted(self.measured_pictures, noun)
        return (
            f"int8, weights of {self.weight_bits} bits, calibrated on {calibrated} of {self.calibrated_on}: "
            f"mA {self.ma_int8:.4f}, in float32 {self.ma_float32:.4f}, on {measured} of {self.measured_on}"
        )


class Sample(NamedTuple):
    """Some pictures of a list, by their places in it."""

    pictures: MultiLabelDataset
    places: Sequence[int]

    def batches(self, what: str) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield images, uint8 (B, 3, 256, 128), and labels (B, K). A bar on a terminal shows progress."""
        for start in tqdm(range(0, len(self.places), BATCH_SIZE), what, leave=False, disable=None):
            images, labels = self.pictures.batch(list(self.places[start : start + BATCH_SIZE]))
            yield images.numpy(), labels


def choose_pictures(
    calibration: MultiLabelDataset, evaluation: MultiLabelDataset | None, attributes: Sequence[str]
) -> tuple[Sample, Sample]:
    """Return pictures to calibrate on, evenly spread over a list, and to measure mA on: all others of
    `evaluation`, by default the same list. Raises DataError if too few remain to measure on, or one of the
    attributes would have no mA.
    """
    count = len(calibration)
    number = min(MOST_CALIBRATED, count // 2 if evaluation is None else count)
    evaluation = calibration if evaluation is None else evaluation
    places = [place * count // number for place in range(number)]
    seen = {os.path.realpath(calibration.paths[place]) for place in places}
    others = [place for place, path in enumerate(evaluation.paths) if os.path.realpath(path) not in seen]
    if len(others) < LEAST_MEASURED:
        raise DataError(
            f"{evaluation.label} leaves {len(others)} of its pictures to measure mA on, and "
            f"{LEAST_MEASURED} are needed; name another list with --val_list"
        )
    labels = evaluation.labels[others]
    if constant := [name for k, name in enumerate(attributes) if not {0, 1} <= set(labels[:, k].tolist())]:
        raise DataError(
            f"{evaluation.label} does not have both 0 and 1 for {first_few(constant, 3)} in the "
            f"{len(others)} pictures to measure mA on; name another list with --val_list"
        )
    return Sample(calibration, places), Sample(evaluation, others)


def write_int8(source: Path, target: Path, calibration: Sample, measured: Sample, max_loss: float) -> Int8:
    """Write an exported network in 8-bit integers, with weights of 7 bits, or of 8 if these lose more than
    `max_loss` percentage points of mA. Raises DataError if 8 do, too.
    """
    before = mean_accuracy(source, measured)
    for bits in (7, 8):
        quantize(source, target, (images for images, _ in calibration.batches("Calibrate")), bits)
        correct_logits(source, target, calibration)
        int8 = Int8(
            Path(calibration.pictures.label).name,
            len(calibration.places),
            Path(measured.pictures.label).name,
            len(measured.places),
            before,
            mean_accuracy(target, measured),
            bits,
        )
        if int8.ma_float32 - int8.ma_int8 <= max_loss / 100:
            return int8
    raise DataError(
        f"{int8}: a loss of more than {max_loss:g} points, so nothing was written; calibrate on more "
        "pictures, or allow it with --max_loss"
    )


def doubts(
    int8: Int8, calibration: Sample, measured: Sample, checkpoint: Mapping, max_loss: float
) -> Iterator[str]:
    """Yield why the loss of mA that was measured may not be that on other pictures."""
    for pictures in dict.fromkeys((calibration.pictures, measured.pictures)):
        if pictures.is_training_list(checkpoint):
            yield f"the network was trained on {pictures.label}, so it may lose more on other pictures"
    if len(calibration.places) < LEAST_CALIBRATED:
        yield f"fewer than {LEAST_CALIBRATED} pictures are too few to tell the ranges of the activations"
    step = 100 * largest_step(measured)
    if step > max_loss:
        yield f"one answer changes this mA by up to {step:.1f} points, so these pictures are too few to tell"
    if int8.ma_float32 <= 0.5 + 2 * spread_of_chance(measured):
        yield "in float32 it is no better than chance already, so no loss can be seen; train it longer"


def largest_step(measured: Sample) -> float:
    """Return by how much one answer can change the mA: a picture of the rarest label weighs most."""
    labels = measured.pictures.labels[list(measured.places)]
    rarest = min(int((labels == label).sum(dim=0).min()) for label in (0, 1))
    return 0.5 / rarest / labels.shape[1]


def spread_of_chance(measured: Sample) -> float:
    """Return the standard deviation of the mA of answers that are drawn by chance, each alone: a rate over n
    pictures has 0.5 / sqrt(n).
    """
    labels = measured.pictures.labels[list(measured.places)]
    variances = sum(1 / (labels == label).sum(dim=0) for label in (0, 1)) / 16  # of each attribute's mA
    return float(variances.sum().sqrt()) / labels.shape[1]


def mean_accuracy(file: Path, measured: Sample) -> float:
    """Return the mA of an exported network, at its thresholds."""
    predictor = OnnxPredictor(file)
    counts = AttributeMetrics(len(predictor.attributes))
    for images, labels in measured.batches("Evaluate"):
        above = probabilities(predictor, images).astype(np.float64) - predictor.thresholds
        counts.update(torch.from_numpy(above), labels)
    return counts.compute()["ma"]


def probabilities(predictor: OnnxPredictor, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (B, K) of images, uint8 (B, 3, 256, 128)."""
    return predictor.outputs(images.transpose(0, 2, 3, 1))["probabilities"]


def correct_logits(source: str | Path, target: str | Path, calibration: Sample) -> None:
    """Give the logits of a network in integers the means that they have in float32 on the pictures of the
    calibration: rounding weights moves them (Nagel et al., 2019, arXiv 1906.04721, section 4.2).
    """
    import onnx

    predictors = [OnnxPredictor(file) for file in (source, target)]
    errors = []
    for images, _ in calibration.batches("Correct"):
        before, after = (logits(probabilities(predictor, images)) for predictor in predictors)
        errors.append(after - before)
    model = onnx.load(str(target))
    (sigmoid,) = (node for node in model.graph.node if "probabilities" in node.output)
    correction = onnx.numpy_helper.from_array(-np.concatenate(errors).mean(axis=0), "correction")
    model.graph.initializer.append(correction)
    add = onnx.helper.make_node("Add", [sigmoid.input[0], correction.name], ["corrected"], "/correction/Add")
    model.graph.node.insert(list(model.graph.node).index(sigmoid), add)
    sigmoid.input[0] = "corrected"
    onnx.save(model, str(target))


def logits(shares: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities in float32, which tells none beyond +-16 from 0 and 1."""
    inner = shares.clip(1e-7, 1 - 1e-7)
    return np.log(inner / (1 - inner))


def quantize(source: str | Path, target: str | Path, batches: Iterable[np.ndarray], bits: int = 7) -> None:
    """Write an exported network with its backbone in integers: uint8 activations, whose ranges are those
    on `batches` of pictures, uint8 (B, 3, 256, 128), and int8 weights with a scale per channel.

    With 7 bits the weights of whole convolutions leave one free: on a processor without VNNI, its sums of 16
    bits would overflow. With 8 `bits` they are uint8, whose sums are of 32 bits everywhere, and which take up
    to twice as long. Those of depthwise convolutions are int8, always of 8 bits and summed in 32. Raises
    DataError if onnxruntime's tools are missing, or the network has no convolution.
    """
    onnxruntime_package()
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DataError(
            f"onnxruntime's quantization does not work here ({error}); pip install onnx onnxruntime"
        ) from error
    with temporary_directory("--int8") as directory, silent_logging():
        path = directory / "prepared.onnx"
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
        prepared = onnx.load(str(path))
        nodes = backbone_nodes(prepared.graph.node)
        if not nodes:  # the tools would take none for all
            raise DataError("the exported network has no convolution, so nothing can be computed in integers")
        quantize_static(
            prepared,
            str(target),
            CalibrationPictures(batches),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8 if bits == 7 else QuantType.QUInt8,
            extra_options={
                "WeightSymmetric": True,
                "TensorQuantOverrides": {
                    weights: [
                        {"axis": 0, "quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": False}
                    ]
                    for weights in depthwise_weights(prepared.graph)
                },
            },
        )
    model = onnx.load(str(target))
    store_in_float16(model.graph)
    onnx.save(model, str(target))


def store_in_float16(graph) -> None:
    """Store large constants of float32 in an ONNX graph in float16, with a Cast behind each: what the
    integers leave takes half the space. onnxruntime casts them once, as it opens the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.raw_data) < LARGE:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if np.isfinite(halves).all():
            tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_float16"))
            graph.node.insert(0, helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))


def depthwise_weights(graph) -> list[str]:
    """Return the names of the weights of an ONNX graph's depthwise convolutions: (C, 1, h, w), C groups."""
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    return [
        weight
        for node in graph.node
        if node.op_type == "Conv"
        for weight, groups in [
            (node.input[1], max([a.i for a in node.attribute if a.name == "group"] or [1]))
        ]
        if weight in shapes and groups == shapes[weight][0] > 1 == shapes[weight][1]
    ]


def backbone_nodes(nodes: Iterable) -> list[str]:
    """Return the names of an ONNX graph's nodes from its convolutions to ENDS_OF_MAPS; behind these it has no
    convolution. `nodes` are in the order in which they are computed.
    """
    maps, names = set(), []
    for node in nodes:
        is_on_map = node.op_type == "Conv" or not maps.isdisjoint(node.input)
        if is_on_map and node.op_type not in ENDS_OF_MAPS:
            maps.update(node.output)
            names.append(node.name)
    return names


class CalibrationPictures:
    """Pictures as onnxruntime's tools ask for them, batch by batch: uint8 (B, 3, 256, 128)."""

    def __init__(self, batches: Iterable[np.ndarray]):
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"images": np.ascontiguousarray(batch)}


@contextmanager
def silent_logging() -> Iterator[None]:
    """Leave out what the tools log of each tensor, and their advice about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
