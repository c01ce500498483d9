"""The weighted binary cross-entropy, against the formula written out in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import alm
from alm.models import loss as loss_module


def written_out(logits, targets, ratio, weighting, adjustment):
    p = 1 / (1 + np.exp(-logits) * ((1 - ratio) / ratio) ** adjustment)
    positive = np.exp(1 - ratio) if weighting != "none" else 1
    negative = np.exp(ratio) if weighting == "paper" else 1
    terms = positive * targets * np.log(p + 1e-12) + negative * (1 - targets) * np.log(1 - p + 1e-12)
    return -terms.mean()


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2**31), st.sampled_from(["reference", "paper", "none"]), st.sampled_from([0.0, 0.5, 1.0])
)
def test_is_the_formula(seed, weighting, adjustment):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (6, 4)), rng.integers(0, 2, (6, 4))
    ratio = rng.uniform(0.01, 0.99, 4)
    criterion = alm.WeightedBCELoss(ratio, weighting, adjustment)
    ours = criterion(torch.from_numpy(logits), torch.from_numpy(targets)).item()
    assert ours == pytest.approx(written_out(logits, targets, ratio, weighting, adjustment), rel=1e-12)


@pytest.mark.parametrize("positives", [0, 1, 7, 19, 20])
def test_an_adjustment_of_one_makes_a_picture_that_says_nothing_undecided(positives):
    """Its best threshold for mA is 0 then. An attribute that all have, or none, has no infinite logit."""
    targets = (torch.arange(20) < positives).long()[:, None]
    logits = torch.zeros(20, 1, dtype=torch.float64, requires_grad=True)
    alm.WeightedBCELoss([positives / 20], "none", adjustment=1.0)(logits, targets).backward()
    assert logits.grad.sum().item() == pytest.approx(0, abs=2e-3 if positives in (0, 20) else 1e-12)


def test_unknown_labels_count_neither_way():
    logits, targets = torch.randn(4, 3).double(), torch.tensor([[0, 1, 2], [1, 2, 2], [0, 0, 1], [1, 1, 0]])
    known = targets != 2
    criterion = alm.WeightedBCELoss([0.3, 0.3, 0.3])
    alone = alm.WeightedBCELoss([0.3])(logits[known][:, None], targets[known][:, None])
    assert criterion(logits, targets).item() == pytest.approx(alone.item(), rel=1e-12)
    changed = torch.where(known, logits, 7.0)
    assert criterion(changed, targets) == criterion(logits, targets)
    nothing = criterion(logits.requires_grad_(), torch.full((4, 3), 2))
    nothing.backward()
    assert nothing.item() == logits.grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss(dtype):
    """And no float64 goes to the device, which may have none."""
    logits, targets = torch.tensor([[30.0, -30.0]]), torch.tensor([[0, 1]])
    criterion = alm.WeightedBCELoss([0.5, 0.5])
    loss = criterion(logits.to(dtype), targets)
    assert loss.dtype == torch.float32
    assert list(criterion.buffers()) == []
    assert {tensor.dtype for one in criterion._rounded.values() for tensor in one} == {loss.dtype}
    assert loss.item() == pytest.approx(criterion(logits, targets).item())


@pytest.mark.parametrize("logit", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_stay_finite(logit):
    logits = torch.tensor([[logit, logit]], requires_grad=True)
    loss = alm.WeightedBCELoss([0.0, 1.0])(logits, torch.tensor([[0, 1]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("ratio", "weighting", "words"),
    [
        ([0.5], "balanced", "reference, paper, none"),
        ([0.5, -0.1], "reference", r"ratio -0\.1 is not in \[0, 1\]"),
        ([1.5, 0.5], "reference", r"not in \[0, 1\]"),
        ([0.5, float("nan")], "reference", r"not in \[0, 1\]"),
        ([], "reference", "one per attribute"),
        (0.5, "reference", "one per attribute"),
        ([[0.5, 0.5]], "reference", "one per attribute"),
    ],
)
def test_wrong_settings_are_refused(ratio, weighting, words):
    with pytest.raises(alm.AlmError, match=words):
        alm.WeightedBCELoss(ratio, weighting)


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        ((2, 3), (2, 1), r"logits \(2, 3\) and labels \(2, 1\) have different shapes"),
        ((2, 3), (3,), "different shapes"),
        ((2, 1), (2, 1), r"are not \(pictures, 3\)"),
        ((3,), (3,), r"are not \(pictures, 3\)"),
        ((2, 3, 1), (2, 3, 1), r"are not \(pictures, 3\)"),
    ],
)
def test_other_shapes_are_refused(logits, targets, words):
    """Most of these would broadcast with three weights."""
    with pytest.raises(alm.AlmError, match=words):
        alm.WeightedBCELoss([0.1, 0.9, 0.5])(torch.ones(logits), torch.ones(targets))


@pytest.mark.parametrize("label", [-1, 3, 255, 0.5, float("nan")])
def test_labels_other_than_0_1_2_are_refused(label, monkeypatch):
    """On the CPU at once; on an accelerator, which must not wait, the loss becomes NaN."""
    criterion, targets = alm.WeightedBCELoss([0.5] * 3), torch.tensor([[0.0, 1.0, label]])
    with pytest.raises(alm.AlmError, match="is not 0, 1 or 2"):
        criterion(torch.zeros(1, 3), targets)
    monkeypatch.setattr(loss_module, "is_accelerator", lambda device: True)
    assert criterion(torch.zeros(1, 3), targets).isnan()
    assert criterion(torch.zeros(1, 3), torch.tensor([[0, 1, 2]])).isfinite()


def test_evaluating_first_does_not_spoil_training():
    criterion, targets = alm.WeightedBCELoss([0.5, 0.5]), torch.tensor([[0, 1]])
    with torch.inference_mode():
        criterion(torch.zeros(1, 2), targets)
    logits = torch.zeros(1, 2, requires_grad=True)
    criterion(logits, targets).backward()
    assert logits.grad.abs().min() > 0
