"""The measures of pedestrian attribute recognition (Li et al., arXiv 1603.07054, equations 4 to 8)."""

import torch
from torch import Tensor

from alm.constants import UNKNOWN
from alm.devices.device import CPU
from alm.errors import AlmError
from alm.models.loss import check_answers, is_no_label


def margins(logits: Tensor, thresholds: Tensor | None = None) -> Tensor:
    """Return what AttributeMetrics counts as a prediction if it is above 0, (B, K): the logits, or how far
    their probabilities are above `thresholds`, float64 (K,).
    """
    if thresholds is None:
        return logits
    # Not every device has float64. A float32 is above a threshold if it is above the next float32 below that.
    nearest = thresholds.float()
    below = torch.where(nearest > thresholds, nearest.nextafter(torch.tensor(-1.0)), nearest)
    return logits.float().sigmoid() - below.to(logits.device)


class AttributeMetrics:
    """Counts over an evaluation, kept on the device until the end.

    An attribute is predicted if its probability exceeds 0.5, that is, if its logit exceeds 0; `margins` gives
    what to count at other thresholds. Unknown labels (2) count neither way.

    Attributes:
        batches: the counts of each batch: by attribute (5, K), and by picture, with its faults (B, 5).
    """

    def __init__(self, num_attributes: int):
        self.num_attributes = num_attributes
        self.batches: list[tuple[Tensor, Tensor]] = []

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch: logits (B, K) and labels (B, K).

        Raises AlmError if the shapes are others, or a label is not 0, 1 or 2. On an accelerator `compute`
        raises the latter, because this must not wait.
        """
        check_answers(logits, targets, self.num_attributes)
        known = targets != UNKNOWN
        truth = targets == 1
        predicted = (logits > 0) & known
        hit = predicted & truth
        right_negative, negative = known & ~predicted & ~truth, known & ~truth
        counts = torch.stack([x.sum(0) for x in (hit, right_negative, truth, negative, predicted)])
        faults = logits.isnan().any(1), is_no_label(targets).any(1)
        of_pictures = torch.stack([hit.sum(1), truth.sum(1), predicted.sum(1), *faults], dim=1)
        self.batches.append((counts, of_pictures))

    def compute(self) -> dict:
        """Return ma, accuracy, precision, recall, f1 (floats in [0, 1]), ma_attributes (an int), and per
        attribute (K,): attribute_ma and the counts true_positive, true_negative, positive, negative,
        predicted_positive, predicted_negative.

        mA is the mean over attributes of (TPR + TNR) / 2. An attribute without positives or without
        negatives has no rate: its attribute_ma is NaN, and mA leaves it out. `ma_attributes` is the number of
        attributes that mA is of. The other four are means over pictures; an empty denominator adds 0. If
        nothing was counted, all figures are NaN or 0.

        Raises AlmError if a logit was NaN, which is neither above nor below the threshold, or if a label was
        not 0, 1 or 2.
        """
        if not self.batches:
            self.update(torch.empty(0, self.num_attributes), torch.empty(0, self.num_attributes))
        of_attributes, of_pictures = zip(*self.batches, strict=True)
        counts = torch.stack(of_attributes).sum(0).to(CPU)
        hit, truth, guess, without_number, mislabelled = torch.cat(of_pictures).to(CPU).T
        if without_number.any():
            raise AlmError(
                f"the predictions of {without_number.sum()} of {len(hit)} pictures are NaN, so there are no "
                "figures; the weights are damaged, or were trained until they diverged: use an earlier "
                "checkpoint, a lower --lr or --amp off"
            )
        if mislabelled.any():
            raise AlmError(f"{mislabelled.sum()} of {len(hit)} pictures have labels other than 0, 1 and 2")
        true_positive, true_negative, positive, negative, predicted = counts
        attribute_ma = (true_positive.double() / positive + true_negative.double() / negative) / 2
        precision, recall = mean_ratio(hit, guess), mean_ratio(hit, truth)
        return {
            "ma": attribute_ma.nanmean().item(),
            "ma_attributes": int((~attribute_ma.isnan()).sum()),
            "accuracy": mean_ratio(hit, truth + guess - hit),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "attribute_ma": attribute_ma,
            "true_positive": true_positive,
            "true_negative": true_negative,
            "positive": positive,
            "negative": negative,
            "predicted_positive": predicted,
            "predicted_negative": positive + negative - predicted,
        }


def mean_ratio(numerator: Tensor, denominator: Tensor) -> float:
    """Return the mean of numerator / denominator over pictures, 0 if the denominator is."""
    if not len(numerator):
        return 0.0
    return torch.where(denominator > 0, numerator.double() / denominator, 0.0).mean().item()


def right_answers(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of known labels that are predicted right, a scalar: the log's `Accu`."""
    known = targets != UNKNOWN
    right = ((logits > 0) == (targets == 1)) & known
    return right.sum() / known.sum().clamp(min=1)
