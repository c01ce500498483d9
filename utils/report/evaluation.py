"""What a report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alm.constants import GLOBAL
from utils.data.dataset import MultiLabelDataset
from utils.evaluation.pointing import Pointing
from utils.runs.history import History


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of N pictures and K attributes, and the run that it is of.

    Attributes:
        record: the figures, as in --json.
        pictures: with names, files and labels.
        branches: each branch's logits (L, N, K): of the levels that have `boxes`, then the global one.
        boxes: each level's regions (N, K, 4), in shares of the picture; {} without localization.
        pointing: how these meet true boxes, where there are any.
        history: the run's curves.
        evaluated: the name of the checkpoint, or of the run that is under way.
        options: of the command.
        about: what else tells where the figures are from: title and value.
    """

    record: Mapping
    pictures: MultiLabelDataset
    branches: np.ndarray
    boxes: Mapping[str, np.ndarray]
    pointing: Pointing | None
    history: History
    evaluated: str
    options: Mapping
    about: Mapping[str, str]

    @property
    def attributes(self) -> list[str]:
        """The names."""
        return [row["name"] for row in self.record["attributes"]]

    @property
    def levels(self) -> tuple[str, ...]:
        """What the branches are called."""
        return (*self.boxes, GLOBAL)

    @property
    def labels(self) -> np.ndarray:
        """(N, K), 0, 1 or 2 (unknown)."""
        return self.pictures.labels.numpy()

    @property
    def logits(self) -> np.ndarray:
        """The votes (N, K)."""
        return self.branches.max(axis=0)
