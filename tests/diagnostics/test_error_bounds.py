"""How large an error may be: right results pass, results wrong by ten roundings do not."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import THOROUGH

from utils.diagnostics.error_bounds import (
    cancellation,
    channel_sensitivity,
    excess,
    growth,
    perturb,
    roundoff,
    sensitivity,
)

TYPES = (torch.float32, torch.bfloat16, torch.float16)


def products(seed, terms, dtype):
    """Return a matrix product in a type, the same in float64, and how much cancels in it."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(shape, generator=generator).to(dtype) for shape in ((150, terms), (terms, 200)))
    exact = a.double() @ b.double()
    return a @ b, exact, cancellation(exact, a.double().abs() @ b.double().abs())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("terms", [1, 64, 576])
def test_right_products_pass_and_ten_roundings_do_not(dtype, terms):
    for seed in range(10 if THOROUGH else 3):
        result, exact, moves = products(seed, terms, dtype)
        assert excess(result, exact, moves, terms)[0] < 0.9
        wrong = (exact * (1 + 10 * roundoff(dtype))).to(dtype)
        assert excess(wrong, exact, moves, terms)[0] > 1


@given(
    st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=20),
    st.sampled_from(TYPES),
    st.integers(1, 99),
)
def test_rounding_alone_is_within_a_quarter_of_the_limit(values, dtype, terms):
    exact = torch.tensor(values, dtype=torch.float64)
    assert excess(exact.to(dtype), exact, 0.0, terms)[0] <= 0.26


def test_what_cancels_is_judged_by_its_terms():
    """The gradient of a bias before a batch normalization: its true value is zero."""
    terms = torch.randn(4096, 1, generator=torch.Generator().manual_seed(0))
    terms -= terms.mean()
    exact = terms.double().sum(0)
    cancelled = cancellation(exact, terms.double().abs().sum(0))
    assert excess(terms.sum(0), exact, cancelled, 4096)[0] < 1
    assert excess(terms.sum(0), exact, 0.0, 4096)[0] > 1
    assert excess(terms[1:].sum(0), exact, cancelled, 4096)[0] > 1  # a term is left out


@pytest.mark.parametrize("order", ["sorted", "drawn", "halves", "equal"])
def test_every_order_of_summation_is_right(order):
    """One after the other, the longest way. If they are sorted, the partial sums are the largest. So is a
    channel's sum, which is judged by its movement.
    """
    terms = np.random.default_rng(0).standard_normal((32768, 50)).astype(np.float32)
    if order == "sorted":
        terms.sort(axis=0)
    elif order == "equal":
        terms[:] = terms[0]
    elif order == "halves":
        terms = np.abs(terms) * np.where(np.arange(len(terms)) < len(terms) // 2, 1, -1)[:, None]
    one_after_the_other = torch.from_numpy(np.cumsum(terms, axis=0, dtype=np.float32)[-1])
    exact, magnitudes = (torch.from_numpy(x.astype(np.float64).sum(0)) for x in (terms, np.abs(terms)))
    others = [
        perturb(torch.from_numpy(terms).double(), torch.Generator().manual_seed(seed)).sum(0)
        for seed in range(3)
    ]
    by_movement = channel_sensitivity(sensitivity(exact, others), len(terms))
    for judge in (cancellation(exact, magnitudes), by_movement):
        assert excess(one_after_the_other, exact, judge, len(terms), alike=True)[0] < 0.5
        right = excess(one_after_the_other, exact, judge, len(terms))[0] < 1
        assert right is (order != "equal")


def test_one_wrong_element_is_enough():
    result, exact, moves = products(0, 64, torch.float32)
    result[3, 4] = 0
    ratio, error = excess(result, exact, moves, 64)
    assert ratio > 1
    assert error == pytest.approx(exact[3, 4].abs().item())


@pytest.mark.parametrize(
    ("result", "exact", "right"),
    [
        (math.inf, 1e6, True),  # beyond fp16: rounding explains it
        (math.inf, 1.0, False),
        (-math.inf, 1e6, False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (0.0, 1e-9, True),  # below fp16
        (0.0, 1e-5, False),
    ],
)
def test_values_at_the_ends_of_a_type(result, exact, right):
    result, exact = torch.tensor([result], dtype=torch.float16), torch.tensor([exact], dtype=torch.float64)
    assert (excess(result, exact, 0.0, 1)[0] <= 1) is right


def test_movement_is_that_of_the_inputs():
    """f(x) = 3 x moves by 3 x for a relative step of 1; what is left to chance is in every element."""
    x = torch.full((1000,), 2.0, dtype=torch.float64)
    moves = sensitivity(3 * x, [3 * perturb(x, torch.Generator().manual_seed(0))])
    assert moves.tolist() == pytest.approx([12.0] * 1000)  # its own 6, and the average 6
    assert sensitivity(x, []) == 0.0


def test_half_precision_does_not_grow_with_the_terms():
    assert growth(10_000, torch.float32) == 100
    assert growth(10_000, torch.float32, alike=True) == 2500
    assert growth(10_000, torch.float16) == growth(10_000, torch.bfloat16) == 3
    assert growth(4, torch.float16) == 2


def test_nothing_has_no_error():
    assert excess(torch.empty(0), torch.empty(0, dtype=torch.float64), 0.0, 1) == (0.0, 0.0)
