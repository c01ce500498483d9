"""A checkpoint -> the attributes of pictures, and where each level looked for them."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from alm.checkpoint.restore import load_model
from alm.devices.capabilities import layout
from alm.devices.device import CPU, choose_device
from alm.errors import AlmError
from alm.inference.prediction import PicturePredictor, Prediction, predictions_of
from alm.models import folding
from alm.models.preprocessing import preprocess


class Predictor(PicturePredictor):
    """Predicts pictures with one of this package's networks; see PicturePredictor for how.

    Nothing of it changes after it is made, so threads may share it.
    """

    def __init__(
        self,
        model: nn.Module,
        attributes: Sequence[str] | None = None,
        device: str = "auto",
        folded: bool = True,
    ):
        """`model` is copied. `attributes` are the names of its outputs, by default `model.attributes`, and
        needed where it has none. Not `folded`, it computes the same in more time. Raises AlmError if the
        attributes are not as many, or others than the model's.
        """
        self.attributes = named(model, attributes)
        self.levels = model.levels
        self.device = choose_device(device)
        self.align_corners = model.align_corners
        network = folding.folded(model) if folded else copy.deepcopy(model).eval().requires_grad_(False)
        self._network = network.to(self.device, memory_format=layout(self.device))

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "auto",
        attributes: Sequence[str] | None = None,
        align_corners: bool | None = None,
    ) -> "Predictor":
        """Return the predictor of a checkpoint, ours or a published one.

        A published checkpoint does not name its `attributes`, so they must be given; so must a sampling
        convention other than the one that `alm.load_model` finds. Raises AlmError.
        """
        model = load_model(path)
        if align_corners is not None:
            model.align_corners = align_corners
        try:
            return cls(model, attributes, device)
        except AlmError as error:
            raise AlmError(f"{path}: {error}") from error

    def predict(self, pixels: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Return the predictions of pictures that are resized already, uint8 (B, 256, 128, 3); `sizes` are
        their widths and heights before.
        """
        with torch.inference_mode():
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device)
            network = self._network
            logits, regions = network.predict(preprocess(images, mean=network.mean, std=network.std))
            largest, winners = torch.stack(logits).max(dim=0)
            probabilities, winners = largest.sigmoid().to(CPU).numpy(), winners.to(CPU).numpy()
            regions = {level: region.to(CPU).numpy() for level, region in regions.items()}
        return predictions_of(self.attributes, probabilities, winners, regions, sizes, self.align_corners)


def named(model: nn.Module, attributes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a model's outputs. Raises AlmError as Predictor says."""
    count, own = model.classifier.out_features, model.attributes
    if attributes is None and own is None:
        raise AlmError(f"it does not name its {count} attributes; say which they are")
    names = tuple(own if attributes is None else attributes)
    if len(names) != count:
        raise AlmError(f"{len(names)} attributes are named, and it is of {count}; name as many")
    if own is not None and names != tuple(own):
        place = next(k for k in range(count) if names[k] != own[k])
        raise AlmError(
            f"its attribute {place + 1} is {own[place]!r}, not {names[place]!r}; leave the names to it"
        )
    return names
