"""An exported network in 8-bit integers, by onnxruntime's own tools."""

import logging
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from alm.models.metrics import AttributeMetrics
from utils.data.catalog import find_list
from utils.data.dataset import MultiLabelDataset
from utils.deployment.onnx_metadata import Int8
from utils.deployment.onnx_predictor import OnnxPredictor
from utils.errors import DataError

BACKBONE = "/backbone/"  # how the exporter's names of its operators begin


class CalibrationPictures:
    """Pictures as onnxruntime's tools ask for them, batch by batch: uint8 (B, 3, 256, 128)."""

    def __init__(self, batches: Iterable[np.ndarray]):
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the network's next input, None behind the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": np.ascontiguousarray(batch)}


def quantize(source: str | Path, target: str | Path, batches: Iterable[np.ndarray]) -> None:
    """Write an exported network with its backbone in integers: uint8 activations, whose ranges are those
    on `batches` of pictures, uint8 (B, 3, 256, 128), and int8 weights with a scale for each channel.

    Weights use 7 of their 8 bits: where a processor has no VNNI, its sums of 16 bits would overflow. Raises
    DataError where onnxruntime's tools are missing, or the backbone is not found.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DataError(
            f"onnxruntime's quantization does not work here ({error}); pip install onnx onnxruntime"
        ) from error
    with tempfile.TemporaryDirectory() as directory, silent_logging():
        path = Path(directory, "prepared.onnx")
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
        prepared = onnx.load(str(path))
        backbone = [node.name for node in prepared.graph.node if node.name.startswith(BACKBONE)]
        if not backbone:  # and the tools would take none for all
            raise DataError("this torch's exporter names no operator of the backbone; use another version")
        quantize_static(
            prepared,
            str(target),
            CalibrationPictures(batches),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=backbone,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def silent_logging() -> Iterator[None]:
    """Leave out what the tools log of each tensor, and their advice about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


MOST_CALIBRATED = 256  # pictures; with more, the ranges of activations hardly change
LEAST_MEASURED = 30  # as for intervals: of fewer one picture's mistakes are points of mA
BATCH_SIZE = 16


class Chosen(NamedTuple):
    """Some pictures of a list: the list's, and their places in it."""

    pictures: MultiLabelDataset
    places: Sequence[int]

    def batches(self, what: str) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Yield images, uint8 (B, 3, 256, 128), and labels (B, K). A bar on a terminal shows progress."""
        for start in tqdm(range(0, len(self.places), BATCH_SIZE), what, leave=False, disable=None):
            images, labels = self.pictures.batch(list(self.places[start : start + BATCH_SIZE]))
            yield images.numpy(), labels


def choose_pictures(options: Namespace, num_attributes: int) -> tuple[Chosen, Chosen]:
    """Return the pictures to calibrate on, evenly spread over a list, and those to measure mA on: all of
    `--val_list`, or of the same list, on which it is not calibrated.

    Raises DataError where a list is wrong, pictures are missing, or too few are left to measure on.
    """
    calibration = open_pictures("--calibrate", options.calibrate, num_attributes, options)
    measured = calibration
    if options.val_list:
        measured = open_pictures("--val_list", options.val_list, num_attributes, options)
    count = len(calibration)
    wanted = min(MOST_CALIBRATED, count if options.val_list else count // 2)
    places = [place * count // wanted for place in range(wanted)]
    seen = {os.path.realpath(calibration.paths[place]) for place in places}
    others = [place for place, path in enumerate(measured.paths) if os.path.realpath(path) not in seen]
    if len(others) < LEAST_MEASURED:
        raise DataError(
            f"{measured.label} leaves {len(others)} of its pictures to measure mA on, and "
            f"{LEAST_MEASURED} are needed; name another list with --val_list"
        )
    return Chosen(calibration, places), Chosen(measured, others)


def open_pictures(option: str, given: str, num_attributes: int, options: Namespace) -> MultiLabelDataset:
    """Return the pictures of a list."""
    root = Path(options.data_root or Path(given).parent)
    return MultiLabelDataset(
        root,
        find_list(root, given, (), option),
        num_attributes=num_attributes,
        skip_missing=options.allow_missing,
        follow_links=options.follow_links,
    )


def write_int8(source: Path, target: Path, calibration: Chosen, measured: Chosen, max_loss: float) -> Int8:
    """Write an exported network in 8-bit integers; return what is to be said of it.

    Raises DataError where it loses more than `max_loss` percentage points of mA.
    """
    quantize(source, target, (images for images, _ in calibration.batches("Calibrate")))
    before, after = mean_accuracies([source, target], measured)
    int8 = Int8(
        Path(calibration.pictures.label).name,
        len(calibration.places),
        Path(measured.pictures.label).name,
        len(measured.places),
        before,
        after,
    )
    if not before - after <= max_loss / 100:
        raise DataError(
            f"{int8}: a loss of more than {max_loss:g} points, so nothing was written; calibrate on more "
            "pictures, or allow it with --max_loss"
        )
    return int8


def mean_accuracies(files: Sequence[Path], measured: Chosen) -> list[float]:
    """Return the mA of exported networks, at their thresholds."""
    predictors = [OnnxPredictor(file) for file in files]
    metrics = [AttributeMetrics(len(predictor.attributes)) for predictor in predictors]
    for images, labels in measured.batches("Evaluate"):
        for predictor, counts in zip(predictors, metrics, strict=True):
            probabilities, _, _ = predictor.outputs(images.transpose(0, 2, 3, 1))
            above = probabilities.astype(np.float64) - predictor.thresholds
            counts.update(torch.from_numpy(above), labels)
    return [counts.compute()["ma"] for counts in metrics]
