"""Predictions from an exported .onnx file, by onnxruntime: torch is not imported."""

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from weakref import WeakSet

import numpy as np

from alm.constants import EVIDENCE, GLOBAL, HEIGHT, STRIDES, WIDTH
from alm.devices.host import default_threads
from alm.errors import AlmError, DataError, in_short
from alm.inference.onnx_metadata import Metadata, read_metadata
from alm.inference.prediction import PicturePredictor, Prediction, predictions_of
from alm.untrusted import open_regular

MOST_BYTES = 2**31  # of a protobuf message, which an .onnx file is
NOWHERE = os.devnull  # is no directory, so onnxruntime finds no weights outside of the file
_sessions: WeakSet = WeakSet()


class OnnxPredictor(PicturePredictor):
    """Predicts pictures as alm.Predictor does, with what export.py --to onnx wrote. Threads may share it.

    `thresholds` are the file's, one for each attribute.
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        """`threads` of the CPU compute, by default `default_threads()`.

        Raises DataError if onnxruntime is missing, or the file is damaged, is not export.py's, or needs
        anything from outside. So do predictions if it does not compute what it declares.
        """
        self._path, content = path, read_model(path)
        try:
            self._session = open_session(content, threads)
            about = read_metadata(self._session.get_modelmeta().custom_metadata_map)
            self._outputs = checked_outputs(self._session, about)
        except AlmError as error:
            raise DataError(f"{path}: {error}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: it has a text that is not UTF-8; export it anew") from error
        self.attributes, self.thresholds = about.attributes, about.thresholds
        self.align_corners = about.align_corners
        self.levels = about.levels if "regions" in self._outputs else ()
        self.evidence = EVIDENCE.format(GLOBAL) in self._outputs

    def predict(self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """See PicturePredictor."""
        values = self.outputs(pixels)
        probabilities = values["probabilities"]
        regions, winners = {}, np.zeros(probabilities.shape, np.int64)
        if self.levels:
            regions = {level: values["regions"][:, place] for place, level in enumerate(self.levels)}
            winners = values["levels"].clip(0, len(self.levels))
        evidence = {
            branch: values[name]
            for branch in (*self.levels, GLOBAL)
            if (name := EVIDENCE.format(branch)) in values
        }
        figures = self.attributes, probabilities, winners, sizes, self.align_corners, self.thresholds
        return predictions_of(*figures, regions, evidence)

    def outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return the file's outputs for resized pictures, uint8 (B, 256, 128, 3), by their names. Raises
        DataError if they have other shapes than it declares, or cannot be computed.
        """
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        try:
            values = self._session.run(list(self._outputs), {"images": images})
        except Exception as error:  # of types that onnxruntime does not publish
            raise DataError(
                f"{self._path}: onnxruntime cannot compute {len(images)} pictures ({in_short(error)}); give "
                "fewer at once, or export it anew"
            ) from error
        for value, (name, shape) in zip(values, self._outputs.items(), strict=True):
            if value.shape != (len(images), *shape):
                found = f"`{name}` {value.shape} for {len(images)} pictures"
                raise DataError(f"{self._path}: it gives {found}; export it anew")
        return dict(zip(self._outputs, values, strict=True))


def read_model(path: str | Path) -> bytes:
    """Return the bytes of a regular file of at most MOST_BYTES. Raises DataError."""
    try:
        with open_regular(path, MOST_BYTES) as file:
            return file.read()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}); check the path") from error


def open_session(content: bytes, threads: int | None = None):
    """Return onnxruntime's session. It loads no library of operators, so it refuses foreign ones, and weights
    outside of the file.
    """
    onnxruntime = onnxruntime_package()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NOWHERE)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of types that onnxruntime does not publish
        raise DataError(f"onnxruntime does not take it ({in_short(error)}); export it anew") from error
    survive_forks()
    _sessions.add(session)
    return session


@cache
def survive_forks() -> None:
    """Let no process that is forked from this one close this one's sessions. It has none of their threads: it
    computes without them, but on closing it would wait for others in their place, for ever.
    """

    def keep_sessions() -> None:
        for session in _sessions:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))

    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=keep_sessions)


def onnxruntime_package():
    """Return the optional package onnxruntime, which from 1.29 on tells its maker of every start unless it is
    imported with this in the environment. Raises DataError if it is missing.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise DataError(f"onnxruntime does not work here ({error}); pip install onnxruntime") from error
    return onnxruntime


def checked_outputs(session, about: Metadata) -> dict[str, list[int]]:
    """Return the names of a session's outputs, and their shapes of one picture. Raises DataError if one is
    not export.py's.
    """
    count = len(about.attributes)
    inputs = {value.name: (value.type, value.shape[1:]) for value in session.get_inputs()}
    outputs = {value.name: (value.type, value.shape[1:]) for value in session.get_outputs()}
    levels = about.levels if "regions" in outputs else ()
    expected = {"probabilities": ("tensor(float)", [count])}
    if levels:
        expected["regions"] = "tensor(float)", [len(levels), count, 4]
        expected["levels"] = "tensor(int64)", [count]
    evidence = {
        EVIDENCE.format(branch): ("tensor(float)", [count, HEIGHT // stride, WIDTH // stride])
        for branch, stride in zip((*levels, GLOBAL), (*STRIDES[: len(levels)], STRIDES[-1]), strict=True)
    }
    if inputs != {"images": ("tensor(uint8)", [3, HEIGHT, WIDTH])}:
        raise DataError(f"it does not take `images`, uint8 (N, 3, {HEIGHT}, {WIDTH}); export it anew")
    if outputs not in (expected, expected | evidence):
        raise DataError(f"its outputs are not those of {count} attributes; export it anew")
    return {name: shape for name, (_, shape) in outputs.items()}
