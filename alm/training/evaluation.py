"""The network's answers to the batches of an evaluation, of all ranks, and the figures of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from alm.devices.device import CPU
from alm.models.metrics import AttributeMetrics, margins
from alm.models.network import vote
from alm.training.distributed import in_order
from alm.training.step_queue import StepValues


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation of N pictures with K attributes gives.

    Attributes:
        ma, ma_attributes, accuracy, precision, recall, f1: as `AttributeMetrics.compute` defines them.
        attribute_ma and the counts: its values for each attribute, (K,).
        loss, accu: the means over the pictures of the loss and of the share of right answers.
        logits: the votes, float (N, K) on the CPU, in the loader's order.
        thresholds: those of the figures, float64 (K,); None: 0.5.
        branches: each branch's logits, float (L, N, K), with `localize`, else None.
        regions: `model.localize` of the pictures, {level: (N, K, 4)}, with `localize`, else None.
    """

    ma: float
    ma_attributes: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    attribute_ma: Tensor
    true_positive: Tensor
    true_negative: Tensor
    positive: Tensor
    negative: Tensor
    predicted_positive: Tensor
    predicted_negative: Tensor
    loss: float
    accu: float
    logits: Tensor
    thresholds: Tensor | None = None
    branches: Tensor | None = None
    regions: dict[str, Tensor] | None = None

    @property
    def margins(self) -> Tensor:
        """What is predicted, (N, K): an attribute above 0."""
        return margins(self.logits, self.thresholds)

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the whole list, by name."""
        names = ("ma", "ma_attributes", "accuracy", "precision", "recall", "f1", "loss", "accu")
        return {name: getattr(self, name) for name in names}


class Answers:
    """The network's answers to an evaluation's batches. They stay on the device until `gather`.

    Attributes:
        steps: (pictures, seconds, values) of each batch.
    """

    def __init__(self, num_attributes: int, thresholds: Tensor | None):
        self.steps: list[tuple[int, float, StepValues]] = []
        self._thresholds = thresholds
        self._metrics = AttributeMetrics(num_attributes)
        self._votes: list[Tensor] = []
        self._branches: list[Tensor] = []
        self._regions: list[dict[str, Tensor]] = []

    def add(
        self, predictions: tuple[Tensor, ...], regions: dict[str, Tensor] | None, labels: Tensor
    ) -> Tensor:
        """Add the branches' logits, and with `regions` also keep the branches; return what is predicted, an
        attribute above 0: (B, K).
        """
        logits = vote(predictions)
        predicted = margins(logits, self._thresholds)
        self._metrics.update(predicted, labels)
        self._votes.append(logits)
        if regions is not None:
            self._branches.append(torch.stack(predictions))
            self._regions.append(regions)
        return predicted

    def gather(self) -> None:
        """Take over what all ranks have, to the CPU and in the order of the batches."""
        counts = [tuple(each.to(CPU) for each in batch) for batch in self._metrics.batches]
        regions = [{level: boxes.to(CPU) for level, boxes in of.items()} for of in self._regions]
        self.steps = in_order(self.steps)
        self._metrics.batches = in_order(counts)
        self._votes = in_order([logits.to(CPU) for logits in self._votes])
        self._branches = in_order([logits.to(CPU).float() for logits in self._branches])
        self._regions = in_order(regions)

    def evaluation(self) -> Evaluation:
        """Return the figures of what was gathered. Raises AlmError if there are none, as the metrics do."""
        none = torch.empty(0, self._metrics.num_attributes)
        branches = regions = None
        if self._regions:
            branches = torch.cat(self._branches, dim=1)
            regions = {level: torch.cat([of[level] for of in self._regions]) for level in self._regions[0]}
        return Evaluation(
            **self._metrics.compute(),
            loss=mean([(count, values.loss) for count, _, values in self.steps]),
            accu=mean([(count, values.accu) for count, _, values in self.steps]),
            logits=torch.cat([none, *self._votes]),
            thresholds=self._thresholds,
            branches=branches,
            regions=regions,
        )


def mean(parts: list[tuple[int, float]]) -> float:
    """Return the mean over all pictures of (pictures, value) of each batch; 0 without pictures."""
    return sum(count * value for count, value in parts) / max(sum(count for count, _ in parts), 1)
