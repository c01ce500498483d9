"""The weighted binary cross-entropy, against the formula written out in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import alm
from alm.models import loss as loss_module


def written_out(logits, targets, ratio, weighting):
    p = 1 / (1 + np.exp(-logits))
    positive = np.exp(1 - ratio) if weighting != "none" else 1
    negative = np.exp(ratio) if weighting == "paper" else 1
    terms = positive * targets * np.log(p + 1e-12) + negative * (1 - targets) * np.log(1 - p + 1e-12)
    return -terms.mean()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.sampled_from(["reference", "paper", "none"]))
def test_is_the_formula(seed, weighting):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(0, 3, (6, 4)), rng.integers(0, 2, (6, 4))
    ratio = rng.uniform(0, 1, 4)
    ours = alm.WeightedBCELoss(ratio, weighting)(torch.from_numpy(logits), torch.from_numpy(targets))
    assert ours.item() == pytest.approx(written_out(logits, targets, ratio, weighting), rel=1e-12)


def test_unknown_labels_count_neither_way():
    logits, targets = torch.randn(4, 3).double(), torch.tensor([[0, 1, 2], [1, 2, 2], [0, 0, 1], [1, 1, 0]])
    known = targets != 2
    criterion = alm.WeightedBCELoss([0.3, 0.3, 0.3])
    alone = alm.WeightedBCELoss([0.3])(logits[known][:, None], targets[known][:, None])
    assert criterion(logits, targets).item() == pytest.approx(alone.item(), rel=1e-12)
    changed = torch.where(known, logits, 7.0)
    assert criterion(changed, targets) == criterion(logits, targets)


def test_all_unknown_is_zero_and_has_a_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = alm.WeightedBCELoss([0.5] * 3)(logits, torch.full((2, 3), 2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss(dtype):
    logits, targets = torch.tensor([[30.0, -30.0]]), torch.tensor([[0, 1]])
    criterion = alm.WeightedBCELoss([0.5, 0.5])
    loss = criterion(logits.to(dtype), targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(criterion(logits, targets).item())


@pytest.mark.parametrize("logit", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_stay_finite(logit):
    logits = torch.tensor([[logit, logit]], requires_grad=True)
    loss = alm.WeightedBCELoss([0.0, 1.0])(logits, torch.tensor([[0, 1]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_unknown_weighting_is_refused():
    with pytest.raises(alm.AlmError, match="reference, paper, none"):
        alm.WeightedBCELoss([0.5], "balanced")


def test_shapes_must_match():
    criterion = alm.WeightedBCELoss([0.5] * 3)
    for targets in (torch.zeros(2, 1), torch.zeros(3), torch.zeros(4, 3)):  # some of which would broadcast
        with pytest.raises(alm.AlmError, match=r"logits \(2, 3\) and labels \(.*\) have different shapes"):
            criterion(torch.zeros(2, 3), targets)


@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (3,), (), (2, 3, 1)])
def test_columns_must_be_the_attributes(shape):
    """Some of these would broadcast with three weights."""
    with pytest.raises(alm.AlmError, match=r"are not \(pictures, 3\), a column for each attribute"):
        alm.WeightedBCELoss([0.1, 0.9, 0.5])(torch.ones(shape), torch.ones(shape))


@pytest.mark.parametrize("ratio", [[0.5, -0.1], [1.5, 0.5], [0.5, float("nan")], [float("inf"), 0]])
def test_ratios_outside_0_to_1_are_refused(ratio):
    with pytest.raises(alm.AlmError, match=r"positive ratio .* is not in \[0, 1\]"):
        alm.WeightedBCELoss(ratio)


@pytest.mark.parametrize("ratio", [[], 0.5, [[0.5, 0.5]]])
def test_ratios_are_one_for_each_attribute(ratio):
    with pytest.raises(alm.AlmError, match="give a list of one for each attribute"):
        alm.WeightedBCELoss(ratio)


@pytest.mark.parametrize("label", [-1, 3, 255, 0.5, float("nan")])
def test_labels_other_than_0_1_2_are_refused(label, monkeypatch):
    """On the CPU at once; on an accelerator, which must not wait, the loss becomes NaN."""
    criterion, targets = alm.WeightedBCELoss([0.5] * 3), torch.tensor([[0.0, 1.0, label]])
    with pytest.raises(alm.AlmError, match="is not 0, 1 or 2; use 2 for unknown"):
        criterion(torch.zeros(1, 3), targets)
    monkeypatch.setattr(loss_module, "is_accelerator", lambda device: True)
    assert criterion(torch.zeros(1, 3), targets).isnan()
    assert criterion(torch.zeros(1, 3), torch.tensor([[0, 1, 2]])).isfinite()


def test_the_loss_holds_no_float64_for_a_device_to_take():
    criterion = alm.WeightedBCELoss([0.1, 0.2], "paper")
    assert list(criterion.buffers()) == []
    loss = criterion(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([[0, 1]]))
    assert {tensor.dtype for pair in criterion._rounded_weights.values() for tensor in pair} == {loss.dtype}


def test_evaluating_first_does_not_spoil_training():
    criterion, targets = alm.WeightedBCELoss([0.5, 0.5]), torch.tensor([[0, 1]])
    with torch.inference_mode():
        criterion(torch.zeros(1, 2), targets)
    logits = torch.zeros(1, 2, requires_grad=True)
    criterion(logits, targets).backward()
    assert logits.grad.abs().min() > 0
