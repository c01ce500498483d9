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
    first = next(((step, loss) for step, loss in steps.items() if not math.isfinite(loss)), None)
    return LossLog(path, "text", steps, 0, first)


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
def test_a_loss_that_is_not_finite_fails_even_if_it_is_not_compared(side, loss):
    logs = [log_of(falling()), log_of(falling())]
    logs[side] = replace(logs[side], first_nonfinite=((7, 0), loss))
    result = compare_losses(*logs)
    assert not result.is_finite()
    assert not result.passes_official_rule()
    assert not result.passes_strict_rule()


def test_correlation():
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


def test_smoothing():
    losses = falling(30)
    np.testing.assert_array_equal(smooth(losses), savgol_filter(losses, window_length=5, polyorder=1))
    np.testing.assert_array_equal(smooth(losses[:4]), losses[:4])
    losses[3] = math.nan
    np.testing.assert_array_equal(smooth(losses), losses)


def epochs_of(first, count, path="a.log"):
    """Return a log of `count` epochs of two iterations; the same epoch of any log has the same losses."""
    steps = {(first + epoch, i): 3.0 - epoch / 9 - i / 99 for epoch in range(count) for i in range(2)}
    return LossLog(path, "text", steps, 0, None)


@pytest.mark.parametrize("count", [1, 4])
def test_epochs_counted_from_1_are_refused(count):
    """Never compared by guess: a later epoch of the same training looks the same."""
    ours, theirs = epochs_of(0, count), epochs_of(1, count, "theirs.log")
    common = 2 * count - 2
    message = (
        r"theirs\.log begins with epoch 1, a\.log with epoch 0; .*"
        rf"--align_epochs \({2 * count} .*--no-align_epochs \({common} in common\)"
    )
    with pytest.raises(LogError, match=message):
        compare_losses(theirs, ours)
    assert compare_losses(theirs.from_epoch_0(), ours.from_epoch_0()).figures.largest_difference == 0
    if common:
        assert len(compare_losses(theirs, ours, same_epochs=True).steps) == common
    else:
        with pytest.raises(LogError, match="0 iterations in common"):
            compare_losses(theirs, ours, same_epochs=True)


def test_a_run_gone_on_with_is_compared_with_the_whole_one():
    whole = epochs_of(0, 6)
    rest = replace(whole, path="rest.log", losses={s: v for s, v in whole.losses.items() if s[0] >= 4})
    for logs in ((rest, whole), (whole, rest)):
        assert compare_losses(*logs).steps == sorted(rest.losses)


def test_a_log_from_epoch_0_keeps_what_is_not_finite():
    log = LossLog("a.log", "text", {(3, 0): 1.0, (4, 1): math.nan}, 0, ((4, 1), math.nan))
    moved = log.from_epoch_0()
    assert list(moved.losses) == [(0, 0), (1, 1)]
    assert moved.first_nonfinite[0] == (1, 1)
    assert log_of([1.0]).from_epoch_0().first_nonfinite is None
