"""The moving average of a network's weights, which is evaluated and predicted with in their place."""

import copy

import torch
from torch import nn


class WeightAverage:
    """A copy of a network with the exponential moving average of its weights and batch statistics.

    Attributes:
        model: the copy.
        steps: their number so far; the first ones count for more, or the start would stay in it for long.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.steps = 0
        self._decay = decay
        self._pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's weights after a step."""
        share = 1 - min(self._decay, (1 + self.steps) / (10 + self.steps))
        for average, weight in self._pairs:
            if average.is_floating_point():
                average.lerp_(weight, share)
            else:
                average.copy_(weight)  # a counter
        self.steps += 1
