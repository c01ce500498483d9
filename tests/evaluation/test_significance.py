"""Intervals of the figures and of differences: the same figures as the metrics, and the coverage promised."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import THOROUGH

import alm
from alm.errors import AlmError
from utils.data.list_file import read_list
from utils.evaluation.significance import (
    DRAWS,
    FEWEST,
    FIGURES,
    compare,
    draws,
    figures_of,
    holm,
    intervals,
    sign_test,
    tally,
)


def metrics_of(predicted, labels):
    """Return the figures as an evaluation prints them."""
    metrics = alm.AttributeMetrics(labels.shape[1])
    metrics.update(torch.from_numpy(np.where(predicted, 1.0, -1.0)), torch.from_numpy(labels))
    return metrics.compute()


def drawn(seed, count=200, attributes=4, accuracy=0.8):
    """Return predictions, right with a chance of `accuracy`, and labels of independent pictures."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, attributes)) < 0.3).astype(np.uint8)
    return (labels == 1) ^ (rng.random(labels.shape) > accuracy), labels


@settings(deadline=None, max_examples=100 if THOROUGH else 30)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**31), st.integers(1, 4))
def test_figures_of_a_draw_are_those_of_its_pictures(count, attributes, seed, people):
    rng = np.random.default_rng(seed)
    predicted, labels = rng.random((count, attributes)) < 0.5, rng.integers(0, 3, (count, attributes))
    who = rng.integers(0, people, count)
    for sample, unit in ((tally(predicted, labels), np.arange(count)), (tally(predicted, labels, who), who)):
        present = np.unique(unit)
        times = rng.integers(0, 3, (2, len(present)))
        figures = figures_of(sample, times)
        for draw, often in enumerate(times):
            rows = np.repeat(np.arange(count), often[np.searchsorted(present, unit)])
            expected = metrics_of(predicted[rows], labels[rows])
            np.testing.assert_allclose(
                figures.overall[draw], [expected[name] for name in FIGURES], rtol=1e-12, atol=1e-15
            )
            np.testing.assert_allclose(figures.attribute_ma[draw], expected["attribute_ma"], rtol=1e-12)


def test_figures_are_the_published_programs(shared):
    for name, listed in (("peta", "PETA"), ("rap", "RAP")):
        _, labels = read_list(shared / "labels" / f"{listed}_test_list.txt")
        noise = np.random.RandomState(3).standard_normal(labels.shape)
        logits = (noise + 1.2 * (labels == 1) - 0.6).astype(np.float32)
        with np.load(shared / "reference" / f"metrics_{name}.npz") as published:
            np.testing.assert_allclose(
                figures_of(tally(logits > 0, labels)).overall[0],
                [published[key] for key in FIGURES],
                rtol=1e-12,
            )


def test_draws_take_as_many_units_as_there_are_and_are_always_the_same():
    sample = tally(*drawn(0, count=31))
    first, second = (np.concatenate(list(draws(sample))) for _ in range(2))
    assert first.shape == (DRAWS, 31)
    assert (first.sum(1) == 31).all()
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first, axis=0)) == DRAWS
    assert first.mean(0) == pytest.approx(1, abs=0.15)


def coverage(simulate, runs):
    """Return in what share of simulated evaluations each figure's interval holds the true figure.

    `simulate(seed, many)` returns a tally; the truth is that of a sample so large that it hardly scatters.
    """
    truth = figures_of(simulate(10**6, True)).overall[0]
    held = np.zeros(len(FIGURES))
    for seed in range(runs):
        spans = intervals(simulate(seed, False)).values()
        held += [low <= value <= high for (low, high, _), value in zip(spans, truth, strict=True)]
    return held / runs


def test_intervals_hold_the_truth_in_95_of_100_lists():
    def simulate(seed, many):
        return tally(*drawn(seed, count=200_000 if many else 150))

    held = coverage(simulate, runs=300 if THOROUGH else 120)
    assert (held >= (0.91 if THOROUGH else 0.88)).all(), held
    assert (held <= (0.985 if THOROUGH else 0.995)).all(), held


def test_intervals_over_identities_hold_where_those_over_pictures_do_not():
    def simulate(of_identities):
        def sample(seed, many):
            people = 30_000 if many else 100
            predicted, labels = (np.repeat(part, 6, axis=0) for part in drawn(seed, count=people))
            return tally(predicted, labels, np.repeat(np.arange(people), 6) if of_identities else None)

        return sample

    runs = 150 if THOROUGH else 40
    assert (coverage(simulate(True), runs) >= (0.9 if THOROUGH else 0.86)).all()
    assert (coverage(simulate(False), runs) <= (0.75 if THOROUGH else 0.8)).all()


def test_fewer_than_30_give_no_interval():
    predicted, labels = drawn(0, count=FEWEST - 1)
    assert intervals(tally(predicted, labels)) is None
    with pytest.raises(AlmError, match=r"29 pictures are too few .* at least 30"):
        compare(*[tally(predicted, labels)] * 2)
    two = np.arange(200) % 2
    with pytest.raises(AlmError, match="2 identities are too few"):
        compare(*[tally(*drawn(0), two)] * 2)


def test_equal_predictions_are_not_to_be_told_apart():
    sample = tally(*drawn(0))
    paired = compare(sample, sample)
    for difference in (*paired.figures.values(), *paired.attributes):
        assert (difference.difference, difference.interval) == (0, (0, 0, 0))
        assert difference.verdict == "not to be told apart"
    assert (paired.p_values == 1).all()


def test_a_better_evaluation_is_better_one_way_and_worse_the_other():
    (worse, labels), (better, _) = drawn(1, accuracy=0.7), drawn(1, accuracy=0.9)
    there, back = (
        compare(*(tally(each, labels) for each in pair)) for pair in ((worse, better), (better, worse))
    )
    for name in FIGURES:
        assert (there.figures[name].verdict, back.figures[name].verdict) == ("better", "worse")
        assert there.figures[name].interval[:2] == pytest.approx(
            [-end for end in back.figures[name].interval[1::-1]]
        )
    assert {difference.verdict for difference in there.attributes} == {"better"}


def test_equally_good_predictions_are_told_apart_in_5_of_100_cases():
    """The verdict's, and over all attributes together, the list's error."""
    figures = attributes = 0
    runs = 300 if THOROUGH else 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        labels = (rng.random((200, 6)) < 0.3).astype(np.uint8)
        first, second = ((labels == 1) ^ (rng.random(labels.shape) > 0.8) for _ in range(2))
        paired = compare(tally(first, labels), tally(second, labels))
        figures += paired.figures["ma"].differs
        attributes += any(difference.differs for difference in paired.attributes)
    assert 0.02 <= figures / runs <= (0.09 if THOROUGH else 0.12)
    assert 0.01 <= attributes / runs <= (0.08 if THOROUGH else 0.11)


def test_one_attribute_that_differs_is_found_among_many():
    predicted, labels = drawn(2, count=400, attributes=20, accuracy=0.8)
    other = predicted.copy()
    other[:, 7] = labels[:, 7] == 1
    other[:3, 8] ^= True  # three labels are no proof
    paired = compare(tally(predicted, labels), tally(other, labels))
    assert [k for k, difference in enumerate(paired.attributes) if difference.differs] == [7]
    assert paired.attributes[7].verdict == "better"


@pytest.mark.parametrize(("positives", "verdict"), [(1, None), (2, None), (4, "better"), (40, "better")])
def test_draws_without_a_rare_attribute_are_left_out_and_many_give_no_verdict(positives, verdict):
    """Of 100 draws, about 37 have none of one positive, 13 none of two, 2 none of four."""
    labels = np.zeros((500, 2), np.uint8)
    labels[:positives, 0], labels[:250, 1] = 1, 1
    worse, better = tally(labels == 2, labels), tally(labels == 1, labels)
    paired = compare(worse, better)
    ma, (rare, common) = paired.figures["ma"], paired.attributes
    assert ma.interval.undefined == rare.interval.undefined
    assert ma.interval.undefined == pytest.approx(DRAWS * np.exp(-positives), abs=40)
    assert ma.difference == rare.difference == 0.5
    assert ma.interval[:2] == ((0.5, 0.5) if verdict else pytest.approx((np.nan, np.nan), nan_ok=True))
    assert ma.verdict == rare.verdict == verdict
    assert intervals(better)["ma"].is_defined == bool(verdict)
    assert (common.verdict, common.interval.undefined) == ("better", 0)
    assert np.isnan(paired.p_values).tolist() == [not verdict, False]


def test_without_any_ma_there_is_no_verdict():
    labels = np.ones((40, 2), np.uint8)
    paired = compare(*[tally(labels == 1, labels)] * 2)
    assert paired.figures["ma"].verdict is None
    assert paired.figures["recall"].verdict == "not to be told apart"
    assert [each.verdict for each in paired.attributes] == [None, None]
    assert paired.ma_attributes == 0


def test_sign_test_is_mcnemars():
    """On an attribute whose labels are all known and half of them positive, it counts who changed."""
    labels = np.tile([[0], [1]], (100, 1)).astype(np.uint8)
    predicted = labels == 1
    other = predicted.copy()
    predicted[:20] ^= True
    other[12:40] ^= True  # 12 only right there, 20 only right here
    z = (20 - 12) / np.sqrt(20 + 12)
    expected = 2 * (1 - torch.special.ndtr(torch.tensor(z, dtype=torch.float64)).item())
    assert sign_test(tally(predicted, labels), tally(other, labels)) == pytest.approx([expected])


def test_undefined_attributes_are_left_out():
    predicted, labels = drawn(0)
    labels[:, 1] = 1
    labels[:, 2] = 2
    paired = compare(tally(predicted, labels), tally(~predicted, labels))
    assert np.isnan(paired.p_values).tolist() == [False, True, True, False]
    assert [difference.differs for difference in paired.attributes] == [True, False, False, True]


def test_holm_goes_on_until_the_first_that_stands():
    assert holm(np.array([0.02, 0.012, 0.9, np.nan, 0.001])).tolist() == [True, True, False, False, True]
    assert holm(np.array([0.04, 0.03])).tolist() == [False, False]
    assert holm(np.array([])).tolist() == []
