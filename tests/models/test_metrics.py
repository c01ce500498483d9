"""The measures, against loops that follow their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import alm
from alm.models import loss as loss_module
from alm.models.metrics import margins, right_answers


def by_loops(logits, targets):
    """Return ma, accuracy, precision, recall, f1 of logits and labels (N, K), one label at a time."""
    count, attributes = targets.shape
    rates = []
    for k in range(attributes):
        positive = [logits[i, k] > 0 for i in range(count) if targets[i, k] == 1]
        negative = [logits[i, k] <= 0 for i in range(count) if targets[i, k] == 0]
        if positive and negative:
            rates.append((np.mean(positive) + np.mean(negative)) / 2)
    sums = np.zeros(3)
    for i in range(count):
        known = [k for k in range(attributes) if targets[i, k] != 2]
        truth = {k for k in known if targets[i, k] == 1}
        guess = {k for k in known if logits[i, k] > 0}
        for j, whole in enumerate((truth | guess, guess, truth)):
            sums[j] += len(truth & guess) / len(whole) if whole else 0
    accuracy, precision, recall = sums / count
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    return np.mean(rates) if rates else math.nan, accuracy, precision, recall, f1


@given(st.floats(-20, 20, width=32), st.integers(-2, 2))
def test_a_threshold_divides_neighbouring_probabilities(logit, steps):
    """As predict.py compares them: in float64, although no device needs it here."""
    logits = torch.tensor([[logit]], dtype=torch.float32)
    (((probability,),),) = logits.sigmoid().numpy()[None]
    neighbour = np.nextafter(probability, np.float32(2 * (steps > 0)))
    threshold = (float(probability) * (4 - abs(steps)) + float(neighbour) * abs(steps)) / 4
    expected = float(probability) > threshold
    assert (margins(logits, torch.tensor([threshold], dtype=torch.float64)) > 0).item() == expected


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**31), st.integers(1, 12))
def test_equal_the_loops(count, attributes, seed, batch):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 1, (count, attributes)), rng.integers(0, 3, (count, attributes))
    metrics = alm.AttributeMetrics(attributes)
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        metrics.update(torch.from_numpy(logits[part]), torch.from_numpy(targets[part]))
    figures = metrics.compute()
    ours = [figures[key] for key in ("ma", "accuracy", "precision", "recall", "f1")]
    np.testing.assert_allclose(ours, by_loops(logits, targets), rtol=1e-12, atol=1e-15)


def test_the_threshold_excludes_0_and_an_attribute_without_negatives_is_left_out():
    metrics = alm.AttributeMetrics(2)
    metrics.update(torch.tensor([[1.0, 1e-30], [1.0, 0.0]]), torch.tensor([[1, 1], [1, 0]]))
    figures = metrics.compute()
    assert figures["attribute_ma"].isnan().tolist() == [True, False]
    assert figures["ma"] == 1.0
    nothing = alm.AttributeMetrics(3).compute()
    assert math.isnan(nothing["ma"])
    assert nothing["accuracy"] == nothing["f1"] == 0.0


def test_nan_gives_no_figure_and_says_of_how_many_pictures():
    logits = torch.zeros(5, 3)
    logits[1:3, 1:] = torch.nan
    logits[4, 0] = torch.inf  # a prediction like any other
    metrics = alm.AttributeMetrics(3)
    metrics.update(logits[:2], torch.ones(2, 3))
    metrics.update(logits[2:], torch.ones(3, 3))
    with pytest.raises(alm.AlmError, match="predictions of 2 of 5 pictures are NaN"):
        metrics.compute()


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_other_than_0_1_2_are_refused(label, monkeypatch):
    """On the CPU at once; on an accelerator, which must not wait, at the end."""
    targets = torch.tensor([[0, 1], [2, label]])
    with pytest.raises(alm.AlmError, match=rf"label {label} is not"):
        alm.AttributeMetrics(2).update(torch.zeros(2, 2), targets)
    monkeypatch.setattr(loss_module, "is_accelerator", lambda device: True)
    metrics = alm.AttributeMetrics(2)
    metrics.update(torch.zeros(2, 2), targets)
    with pytest.raises(alm.AlmError, match="1 of 2 pictures have labels other"):
        metrics.compute()


def test_right_answers_are_over_the_known_labels():
    logits, targets = torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]]), torch.tensor([[1, 0, 2], [0, 2, 2]])
    assert right_answers(logits, targets).item() == pytest.approx(2 / 3)
