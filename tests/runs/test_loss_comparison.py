"""The figures of the comparison, against NumPy, and the verdicts of the two rules; on the published logs they
are in tests/commands/test_loss.py.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from utils.errors import LogError
from utils.runs.log_reader import LossLog
from utils.runs.loss_comparison import compare_losses, relative_difference, smooth

LOSSES = st.floats(1e-6, 1e6)
PAIRS = st.lists(st.tuples(LOSSES, LOSSES), min_size=2, max_size=40)


def log_of(losses, path="a.log"):
    """Return the log of one epoch's losses."""
    steps = {(0, i): float(loss) for i, loss in enumerate(losses)}
    return LossLog(
        path, "text", steps, 0, {step: str(x) for step, x in steps.items() if not math.isfinite(x)}
    )


def compared(candidate, reference):
    return compare_losses(log_of(candidate), log_of(reference, "b.log"))


def falling(n=100):
    """Return the losses of a run that trains, as noisy as a real one."""
    return 1 + 2 * np.exp(-np.arange(n) / 30) + 0.2 * np.random.RandomState(0).standard_normal(n)


@settings(deadline=None, max_examples=50)
@given(PAIRS)
def test_the_figures_are_those_of_numpy(pairs):
    s, c = np.array(pairs).T.copy()
    figures = compared(s, c).figures
    assert figures.mean_relative_error == np.mean((s - c) / c)
    assert figures.mean_absolute_error == np.mean(s - c)
    difference = np.abs(s - c) / np.abs(c)
    assert figures.mean_difference == pytest.approx(np.mean(difference), rel=1e-12)
    assert figures.p95_difference == pytest.approx(np.percentile(difference, 95), rel=1e-12)
    assert figures.largest_difference == difference.max()
    assert figures.largest_step == (0, difference.argmax())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=2, max_size=12))
@example([(1e308, -1e308)] * 6)
@example([(math.inf, 1.0), (-math.inf, 1.0)])
@example([(1.0, 0.0), (-1.0, 0.0), (0.0, 0.0)])
def test_any_losses_can_be_compared(pairs):
    result = compared(*zip(*pairs, strict=True))
    if not np.isfinite(pairs).all():
        assert not result.passes_official_rule()
        assert not result.passes_strict_rule()
        assert result.verdict().passed is False


@settings(deadline=None, max_examples=50)
@given(st.lists(LOSSES, min_size=2, max_size=40))
def test_a_run_agrees_with_itself(losses):
    result = compared(losses, losses)
    figures = result.figures
    assert figures.mean_relative_error == figures.mean_absolute_error == figures.largest_difference == 0
    assert figures.diverged_step is None
    assert result.passes_official_rule()
    assert result.passes_strict_rule(limit=0, limit_p95=0)


def test_a_reference_of_zero():
    np.testing.assert_array_equal(
        relative_difference(np.array([0.0, 2.0, -2.0, 0.0]), np.array([0.0, 0.0, 0.0, 4.0])),
        [0, math.inf, -math.inf, -1],
    )
    assert compared([0, 1, 1], [0, 1, 1]).passes_strict_rule()
    assert not compared([0.1, 1, 1], [0, 1, 1]).passes_strict_rule()


def test_iterations_are_matched_by_number_not_by_position():
    reference = log_of(falling())
    losses = {step: loss for step, loss in reversed(reference.losses.items()) if step[1] % 10 != 3}
    result = compare_losses(replace(reference, losses=losses | {(0, 200): 9.0, (1, 0): 9.0}), reference)
    assert result.steps == [(0, i) for i in range(100) if i % 10 != 3]
    np.testing.assert_array_equal(result.candidate_losses, result.reference_losses)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_common_iterations(count):
    first, second = log_of([1.0, 2.0, 3.0]), log_of([1.0, 2.0, 3.0], "b.log")
    second = replace(second, losses={(0, 3 - count + i): 1.0 for i in range(3)})
    with pytest.raises(LogError, match=rf"a\.log \(.*\) and b\.log \(.*\) have {count} iterations in common"):
        compare_losses(first, second)


def test_a_run_that_collapses_at_its_end_fails_the_strict_rule():
    losses = falling()
    losses[-6:] *= 0.5  # the mean of the difference stays below its limit
    result = compared(losses, falling())
    assert result.figures.mean_difference < 0.05
    assert result.passes_official_rule()
    assert not result.passes_strict_rule()
    assert result.passes_strict_rule(limit_p95=0.6)
    assert not result.passes_strict_rule(limit=0.01, limit_p95=0.6)


@pytest.mark.parametrize(("factor", "passes"), [(1.049, True), (1.051, False), (0.5, True)])
def test_the_official_limits_are_signed(factor, passes):
    assert compared(factor * falling(), falling()).passes_official_rule() is passes


def test_the_absolute_limit_alone_is_enough():
    assert compared([0.0002, 0.0001], [0.0001, 0.00005]).passes_official_rule()
    assert not compared([0.0004, 0.0004], [0.0001, 0.0001]).passes_official_rule()


@pytest.mark.parametrize(("side", "loss"), [(0, math.nan), (1, -math.inf)])
def test_a_loss_that_is_not_finite_fails_even_if_a_later_line_repeats_its_iteration(side, loss):
    logs = [log_of(falling()), log_of(falling(), "b.log")]
    logs[side] = replace(logs[side], nonfinite={(0, 60): str(loss)})
    result = compare_losses(*logs)
    assert not result.passes_official_rule()
    assert not result.passes_strict_rule()
    verdict = result.verdict()
    assert (verdict.passed, verdict.reason) == (
        False,
        f"{logs[side].path}: the loss is {loss} at epoch 0 iteration 60",
    )
    assert compare_losses(*logs, iterations=60).verdict().passed


def without(log, *iterations):
    return replace(log, losses={step: x for step, x in log.losses.items() if step[1] not in iterations})


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("lacks", "reason"),
    [
        (range(2, 100), "ends at epoch 0 iteration 1"),
        (range(50), "has no loss for 50 iterations, the first at epoch 0 iteration 0"),
        ((7, 9), "has no loss for 2 iterations, the first at epoch 0 iteration 7"),
    ],
)
def test_there_is_no_verdict_on_a_log_that_lacks_iterations(side, lacks, reason):
    logs = [log_of(falling()), log_of(falling(), "b.log")]
    logs[side] = without(logs[side], *lacks)
    result = compare_losses(*logs)
    assert (len(result.steps), len(result.asked)) == (100 - len(lacks), 100)
    for strict in (False, True):
        verdict = result.verdict(strict)
        assert (verdict.passed, verdict.reason) == (None, f"{logs[side].path} {reason}")


def test_a_loss_that_neither_log_has_as_a_number_is_missing_in_both():
    log = replace(without(log_of(falling()), 99), unread=frozenset({(0, 99)}))
    assert compare_losses(log, log).verdict().reason == "; ".join(["a.log ends at epoch 0 iteration 98"] * 2)


def test_a_part_is_compared_if_it_is_asked_for():
    long, short = log_of(falling()), log_of(falling(60), "short.log")
    for logs in ((long, short), (short, long)):
        result = compare_losses(*logs, iterations=50)
        assert (result.verdict().passed, len(result.steps), len(result.asked)) == (True, 50, 50)
        assert len(result.candidate.losses) == 50
        assert (
            compare_losses(*logs, iterations=61).verdict().reason == "short.log ends at epoch 0 iteration 59"
        )
    with pytest.raises(LogError, match="have 100 iterations, fewer than the 101 to compare"):
        compare_losses(long, short, iterations=101)


def test_trainings_that_have_nothing_in_common_do_not_agree():
    """The official rule passes each of them: its errors have a sign, and those of opposite signs cancel."""
    reference, noise = falling(), 0.02 * np.random.RandomState(1).standard_normal(100)
    assert compared(reference * (1 + noise), reference).verdict().passed
    other = reference[np.random.RandomState(2).permutation(100)]
    for losses in (np.full(100, 1e-4), np.full(100, reference.mean()), 0.5 * reference, other):
        result = compared(losses, reference)
        assert result.passes_official_rule()
        assert result.verdict().passed is False


@pytest.mark.parametrize(("factor", "passed"), [(1, True), (0.99, None), (0.9, False), (1.2, False)])
def test_few_iterations_have_to_be_nearer(factor, passed):
    reference = np.array([3.0, 2.97, 2.99, 2.9])
    result = compared(factor * reference, reference)
    assert result.distance_limit == 0.1
    assert result.verdict().passed is passed


def test_losses_that_are_similar_but_no_nearer_than_any_others_show_no_agreement():
    smooth_losses = 3 - np.arange(50) / 1000
    result = compared(1.01 * smooth_losses, smooth_losses)
    assert result.passes_strict_rule()
    assert result.verdict(strict=True).passed is None


def test_correlation_is_of_the_shape_alone():
    assert compared(2 * falling() + 1, falling()).figures.correlation == pytest.approx(1)
    assert compared(-falling(), falling()).figures.correlation == pytest.approx(-1)
    assert math.isnan(compared([1, 1, 1], [1, 2, 3]).figures.correlation)


def test_divergence_is_where_the_smoothed_curves_part():
    reference = np.full(40, 2.0)
    losses = reference.copy()
    losses[10] *= 1.2  # one outlier is smoothed to 4 %
    assert compared(losses, reference).figures.diverged_step is None
    losses[30:] *= 1.2  # smoothed over five iterations: 4 % at 28, 8 % at 29
    assert compared(losses, reference).figures.diverged_step == (0, 29)


def test_smoothing_is_savitzky_golay_of_five_points():
    losses = falling(30)
    np.testing.assert_array_equal(smooth(losses), savgol_filter(losses, window_length=5, polyorder=1))
    np.testing.assert_array_equal(smooth(losses[:4]), losses[:4])
    losses[3] = math.nan
    np.testing.assert_array_equal(smooth(losses), losses)


def epochs_of(first, count, path="a.log"):
    """Return a log of `count` epochs of two iterations; the same epoch of any log has the same losses."""
    steps = {(first + epoch, i): 3.0 - epoch / 9 - i / 99 for epoch in range(count) for i in range(2)}
    return LossLog(path, "text", steps)


@pytest.mark.parametrize("by", [(1, 0), (0, 1), (1, 1), (-1, 0), (0, -1)])
def test_a_log_that_counts_from_1_is_compared_with_one_that_counts_from_0(by):
    log = epochs_of(max(0, -by[0]), 6).moved(0, max(0, -by[1]))
    other = replace(log.moved(*by), path="other.log", moved_by=(0, 0), nonfinite={(3, 1): "nan"})
    result = compare_losses(other, log)
    assert result.figures.largest_difference == 0
    assert len(result.steps) == len(result.asked) == 12
    assert "other.log counts " in result.renumbered
    assert result.verdict().reason == "other.log: the loss is nan at epoch 3 iteration 1"  # as the file says


def test_iterations_from_1_are_matched_in_a_part_too():
    log = log_of(falling())
    result = compare_losses(replace(log_of(falling(50)).moved(0, 1), path="b.log"), log, iterations=50)
    assert result.verdict().passed
    assert result.renumbered == "b.log counts iterations from 1, a.log from 0"


@pytest.mark.parametrize("count", [1, 4])
def test_epochs_that_may_be_counted_from_1_are_refused(count):
    """Never compared by guess: a later epoch of the same training looks the same."""
    ours, theirs = epochs_of(0, count + 1), epochs_of(1, count, "theirs.log")
    theirs.losses[count, 9] = 1.0
    ours.losses[count - 1, 9] = 1.0
    common = 2 * count
    message = (
        r"theirs\.log begins with epoch 1, a\.log with epoch 0; .*"
        rf"--align_epochs \({2 * count + 1} .*--no-align_epochs \({common} in common\)"
    )
    with pytest.raises(LogError, match=message):
        compare_losses(theirs, ours)
    assert compare_losses(theirs.from_epoch_0(), ours.from_epoch_0()).figures.largest_difference == 0
    assert len(compare_losses(theirs, ours, same_epochs=True).steps) == common


def test_a_run_gone_on_with_is_compared_with_the_same_epochs_of_the_whole_one():
    whole = epochs_of(0, 6)
    rest = replace(whole, path="rest.log", losses={s: v for s, v in whole.losses.items() if s[0] >= 4})
    for logs in ((rest, whole), (whole, rest)):
        assert compare_losses(*logs).steps == sorted(rest.losses)


def test_a_log_from_epoch_0_keeps_what_is_not_finite():
    log = LossLog("a.log", "text", {(3, 0): 1.0, (4, 1): math.nan}, 0, {(4, 1): "nan"})
    moved = log.from_epoch_0()
    assert list(moved.losses) == [(0, 0), (1, 1)]
    assert list(moved.nonfinite) == [(1, 1)]
    assert moved.at((1, 1)) == "epoch 4 iteration 1"
