"""A checkpoint, or an exported network -> the attributes of pictures, and where each level looked for them.

Torch is imported when a checkpoint is read, so that an .onnx file needs none.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alm.devices.host import HOST
from alm.errors import AlmError
from alm.inference.onnx_predictor import OnnxPredictor
from alm.inference.prediction import PicturePredictor, Prediction, predictions_of
from alm.inference.thresholds import Thresholds, thresholds_of

if TYPE_CHECKING:
    from torch import nn


class Predictor(PicturePredictor):
    """Predicts pictures with one of this package's networks; see PicturePredictor for how."""

    def __init__(
        self,
        model: nn.Module,
        attributes: Sequence[str] | None = None,
        device: str = "auto",
        folded: bool = True,
        evidence: bool = False,
    ):
        """Copy `model`. `attributes` are the names of its outputs, needed if `model.attributes` is None. A
        network that is not `folded` computes the same in more time. With `evidence`, predictions have it.
        Raises AlmError if the names are too few, too many, not the model's, or if two are the same.
        """
        import torch

        from alm.devices.capabilities import layout
        from alm.devices.device import choose_device, survive_forks
        from alm.models import folding

        self.attributes = output_names(model, attributes)
        self.levels = model.levels
        self.device = choose_device(device)
        self.align_corners = model.align_corners
        self.evidence = evidence
        survive_forks()
        with torch.inference_mode():
            network = folding.folded(model) if folded else copy.deepcopy(model).eval().requires_grad_(False)
            self._network = network.to(self.device, memory_format=layout(self.device))

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        device: str = "auto",
        attributes: Sequence[str] | None = None,
        thresholds: Thresholds | None = None,
        threads: int | None = None,
        evidence: bool = False,
    ) -> PicturePredictor:
        """Return the predictor of a checkpoint, see `from_checkpoint`, or without torch that of an .onnx file
        of export.py.

        `thresholds` are one number from 0 to 1 for all attributes, one per attribute, or a file that
        run_ALM.py --calibrate wrote; by default 0.5, or what an .onnx file says. `threads` of the CPU compute
        an .onnx file. With `evidence`, predictions have it; those of an .onnx file always do if it was
        exported so. Raises AlmError.
        """
        if is_onnx(path):
            predictor = OnnxPredictor(path, threads)
            if device not in ("auto", HOST):
                raise AlmError(f"{path}: an .onnx file is computed on the CPU; leave out the device {device}")
            if attributes is not None and tuple(attributes) != predictor.attributes:
                raise AlmError(f"{path} has other attributes than those that are named; leave the names out")
            if evidence and not predictor.evidence:
                raise AlmError(f"{path} gives no evidence; export it again with --evidence")
        else:
            predictor = cls.from_checkpoint(path, device, attributes, evidence=evidence)
        if thresholds is not None:
            predictor.thresholds = thresholds_of(predictor.attributes, thresholds)
        return predictor

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "auto",
        attributes: Sequence[str] | None = None,
        align_corners: bool | None = None,
        evidence: bool = False,
    ) -> Predictor:
        """Return the predictor of a checkpoint, ours or a published one.

        A published checkpoint does not name its `attributes`, so give them. `align_corners` replaces the
        sampling convention that `alm.load_model` finds. Raises AlmError.
        """
        from alm.checkpoint.restore import load_model

        model = load_model(path)
        if align_corners is not None:
            model.align_corners = align_corners
        try:
            return cls(model, attributes, device, evidence=evidence)
        except AlmError as error:
            raise AlmError(f"{path}: {error}") from error

    def predict(self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """See PicturePredictor."""
        import torch

        from alm.models.preprocessing import preprocess

        with torch.inference_mode():
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device)
            network = self._network
            look = network.explain if self.evidence else network.predict
            logits, *maps = look(preprocess(images, mean=network.mean, std=network.std))
            largest, winners = torch.stack(logits).max(dim=0)
            probabilities, winners = largest.sigmoid().to(HOST).numpy(), winners.to(HOST).numpy()
            maps = [{name: values.to(HOST).numpy() for name, values in of.items()} for of in maps]
        figures = self.attributes, probabilities, winners, sizes, self.align_corners, self.thresholds
        return predictions_of(*figures, *maps)


def is_onnx(path: str | Path) -> bool:
    """Whether this is the name of an exported network."""
    return str(path).lower().endswith(".onnx")


def output_names(model: nn.Module, attributes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a model's outputs. Raises AlmError as Predictor says."""
    count, own = model.classifier.out_features, model.attributes
    if attributes is None and own is None:
        raise AlmError(f"it does not name its {count} attributes; give their names")
    names = tuple(own if attributes is None else attributes)
    if len(names) != count:
        raise AlmError(f"{len(names)} names of attributes, but it has {count}; give one name per attribute")
    if len(set(names)) < count:
        repeated = next(name for name in names if names.count(name) > 1)
        raise AlmError(f"two of its attributes are named {repeated!r}; give each a name of its own")
    if own is not None and names != tuple(own):
        place = next(k for k in range(count) if names[k] != own[k])
        message = f"its attribute {place + 1} is {own[place]!r}, not {names[place]!r}; leave out the names"
        raise AlmError(message)
    return names
