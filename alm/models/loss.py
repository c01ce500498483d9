"""Weighted binary cross-entropy (paper, equation 5; weights of Li et al., ACPR 2015)."""

import torch
from torch import Tensor, nn

from alm.constants import UNKNOWN
from alm.devices.device import is_accelerator
from alm.errors import AlmError

WEIGHTINGS = ("reference", "paper", "none")
EPSILON = 1e-12  # inside the logarithms, as published
RAREST = 1e-3  # the least share of positives, or of negatives, to adjust by: that of none is infinite


class WeightedBCELoss(nn.Module):
    """Mean over the known labels of -(w_pos t log(p + 1e-12) + w_neg (1 - t) log(1 - p + 1e-12)).

    With r the attribute's positive ratio, the weights are exp(1 - r) for positives and exp(r) for negatives:
    "paper" uses both; "reference" weights the positives alone, as the published program does; "none" uses
    neither. Computed in float32 or better, also under autocast.

    p is the sigmoid of z + adjustment log(r / (1 - r)), z the logit (logit adjustment; Menon et al., ICLR
    2021, section 5). Rare attributes are found more often then. With an adjustment of 1 and no weights the
    best z is above 0 if the picture is likelier among the positives than among the negatives, which mA asks.
    """

    def __init__(self, positive_ratio, weighting: str = "reference", adjustment: float = 0.0):
        """`positive_ratio`: K numbers in [0, 1]. Raises AlmError if they are not, or `weighting` is none
        of `WEIGHTINGS`.
        """
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise AlmError(f"unknown weighting {weighting!r}; known: {', '.join(WEIGHTINGS)}")
        ratio = torch.as_tensor(positive_ratio, dtype=torch.float64)
        if ratio.dim() != 1 or not len(ratio):
            raise AlmError(f"positive ratios of shape {tuple(ratio.shape)}; give a list, one per attribute")
        if (wrong := ratio[~((ratio >= 0) & (ratio <= 1))]).numel():  # a NaN is neither
            raise AlmError(f"positive ratio {wrong[0].item()} is not in [0, 1]; give each attribute's share")
        self.num_attributes = len(ratio)
        one = torch.ones_like(ratio)
        self._exact = (  # no buffers: some devices have no float64
            one if weighting == "none" else (1 - ratio).exp(),
            ratio.exp() if weighting == "paper" else one,
            adjustment * ratio.logit(RAREST),
        )
        self._rounded: dict[tuple, tuple[Tensor, ...]] = {}

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar, of logits (B, K) and labels (B, K): 0, 1, or 2 for unknown.

        Raises AlmError if the shapes differ from this, or a label does. An accelerator would have to wait
        for the labels: there a wrong label makes the loss NaN instead.
        """
        check_answers(logits, targets, self.num_attributes)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        positive_weight, negative_weight, shift = self._like(logits)
        logits = logits + shift
        positive = positive_weight * (logits.sigmoid() + EPSILON).log()
        negative = negative_weight * ((-logits).sigmoid() + EPSILON).log()
        known = targets != UNKNOWN
        terms = torch.where(targets == 1, positive, negative) * known
        terms = terms.masked_fill(is_no_label(targets), torch.nan)
        return -terms.sum() / known.sum().clamp(min=1)

    def _like(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the weights of positives and negatives, and what is added to the logits, each (K,), made
        once for each type and device.
        """
        key = logits.dtype, logits.device
        if key not in self._rounded:
            with torch.inference_mode(False):  # else an evaluation could spoil them for training
                self._rounded[key] = tuple(x.to(logits.dtype).to(logits.device) for x in self._exact)
        return self._rounded[key]


def is_no_label(targets: Tensor) -> Tensor:
    """Return which labels are none of 0, 1 and 2, bool (B, K)."""
    return (targets != 0) & (targets != 1) & (targets != UNKNOWN)


def check_answers(logits: Tensor, targets: Tensor, num_attributes: int) -> None:
    """Raise AlmError if logits and labels are not both (B, K), K the number of attributes, or, on the CPU,
    a label is not 0, 1 or 2.
    """
    if logits.shape != targets.shape:
        shapes = f"logits {tuple(logits.shape)} and labels {tuple(targets.shape)}"
        raise AlmError(f"{shapes} have different shapes")
    if logits.dim() != 2 or logits.shape[1] != num_attributes:
        shape = f"(pictures, {num_attributes}), one column per attribute"
        raise AlmError(f"logits and labels {tuple(logits.shape)} are not {shape}")
    if not is_accelerator(targets.device) and (wrong := targets[is_no_label(targets)]).numel():
        raise AlmError(f"label {wrong[0].item()} is not 0, 1 or 2; use 2 for unknown")
