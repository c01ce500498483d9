"""The contents of a report: an evaluation, and the run that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alm.constants import GLOBAL
from alm.inference.prediction import PicturePredictor
from utils.evaluation.pointing import Pointing
from utils.runs.history import History

if TYPE_CHECKING:
    from utils.data.dataset import MultiLabelDataset  # which imports torch


@dataclass(frozen=True)
class Report:
    """An evaluation of N pictures and K attributes by L branches, as a report shows it.

    Attributes:
        record: the figures, as in --json.
        pictures: with names, files and labels.
        margins: (N, K); above 0 an attribute is predicted.
        branches: each branch's logits (L, N, K): those of the levels in `boxes`, then the global branch's.
        boxes: each level's regions (N, K, 4), in shares of the picture; {} without localization.
        pointing: the regions against true boxes, None if there are none.
        predictor: of the network, whose predictions have evidence; None without localization.
        history: the run's curves.
        evaluated: the name of the checkpoint, or of the run that is being trained.
        options: of the command.
        about: further facts about the figures' origin, value by title.
    """

    record: Mapping
    pictures: MultiLabelDataset
    margins: np.ndarray
    branches: np.ndarray
    boxes: Mapping[str, np.ndarray]
    pointing: Pointing | None
    predictor: PicturePredictor | None
    history: History
    evaluated: str
    options: Mapping
    about: Mapping[str, str]

    @property
    def attributes(self) -> list[str]:
        return [row["name"] for row in self.record["attributes"]]

    @property
    def branch_names(self) -> tuple[str, ...]:
        return (*self.boxes, GLOBAL)

    @property
    def labels(self) -> np.ndarray:
        """(N, K), 0, 1 or 2 (unknown)."""
        return self.pictures.labels.numpy()
