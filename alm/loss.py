"""Weighted binary cross-entropy (paper, equation 5; weights of Li et al., ACPR 2015)."""

import torch
from torch import Tensor, nn

WEIGHTINGS = ("reference", "paper", "none")
UNKNOWN = 2  # a label that counts neither way
EPSILON = 1e-12  # inside the logarithms, as published


class WeightedBCELoss(nn.Module):
    """Mean over the known labels of -(w_pos t log(p + 1e-12) + w_neg (1 - t) log(1 - p + 1e-12)).

    With r the attribute's positive ratio, the weights are exp(1 - r) for positives and exp(r) for negatives:
    "paper" uses both; "reference" weights the positives alone, as the published program does; "none" uses
    neither. Computed in float32 or better, also under autocast.
    """

    def __init__(self, positive_ratio, weighting: str = "reference"):
        """`positive_ratio`: K numbers in [0, 1]. Raises ValueError on an unknown weighting."""
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise ValueError(f"unknown weighting {weighting!r}; known: {', '.join(WEIGHTINGS)}")
        ratio = torch.as_tensor(positive_ratio, dtype=torch.float64)
        one = torch.ones_like(ratio)
        self.register_buffer("positive_weight", one if weighting == "none" else (1 - ratio).exp())
        self.register_buffer("negative_weight", ratio.exp() if weighting == "paper" else one)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar, of logits (B, K) and labels (B, K): 0, 1, or 2 for unknown."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        positive = self.positive_weight.to(logits.dtype) * (logits.sigmoid() + EPSILON).log()
        negative = self.negative_weight.to(logits.dtype) * ((-logits).sigmoid() + EPSILON).log()
        known = targets != UNKNOWN
        terms = torch.where(targets == 1, positive, negative) * known
        return -terms.sum() / known.sum().clamp(min=1)
