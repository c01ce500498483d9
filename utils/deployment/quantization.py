"""An exported network in 8-bit integers, by onnxruntime's own tools."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from utils.data.list_file import DataError

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
