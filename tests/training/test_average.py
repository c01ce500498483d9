"""The average of the weights, against a plain sum."""

import pytest
import torch
from torch import nn

from alm.training.average import WeightAverage


def test_it_is_the_weighted_mean_of_what_it_saw():
    """The newest counts 1 - decay, and more in the first steps, so that the start is soon forgotten."""
    model = nn.BatchNorm1d(1)
    average, expected = WeightAverage(model, 0.5), 1.0
    shares = [0.9, 9 / 11, 9 / 12, 9 / 13, 9 / 14, 9 / 15, 9 / 16, 9 / 17, 0.5, 0.5]
    for step, share in enumerate(shares):
        with torch.no_grad():
            model.weight.fill_(step)
            model.running_var.fill_(step)
            model.num_batches_tracked.fill_(step)
        average.update()
        expected += share * (step - expected)
        assert average.model.weight.item() == pytest.approx(expected)
        assert average.model.running_var.item() == pytest.approx(expected)
    assert average.model.num_batches_tracked == len(shares) - 1
    assert model.weight.item() == len(shares) - 1
