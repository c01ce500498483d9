"""Sets of runs that differ in their seed: what is read of them, and the interval against scipy's own test."""

import pytest
from scipy.stats import ttest_ind
from support.seeds import write_run

import alm
from utils.evaluation.seeds import compare_seeds, read_seeds, welch


def test_means_and_spread_are_of_the_last_evaluations(tmp_path):
    for seed, ma in ((1, 0.70), (2, 0.72), (3, 0.80)):
        write_run(tmp_path / "a" / str(seed), seed, ma)
    for seed, ma in ((1, 0.81), (7, 0.83)):
        write_run(tmp_path / "b" / str(seed), seed, ma)
    first, second = read_seeds(tmp_path / "a"), read_seeds(tmp_path / "b")
    assert (first.seeds, second.seeds) == ([1, 2, 3], [1, 7])
    assert first.summary("ma") == pytest.approx((0.74, 0.0529150))
    differences = compare_seeds(first, second)
    expected = ttest_ind(second.figures["ma"], first.figures["ma"], equal_var=False).confidence_interval()
    assert differences["ma"].interval[:2] == pytest.approx(expected)
    assert (differences["ma"].verdict, differences["f1"].verdict) == ("not to be told apart", None)


def test_a_difference_beyond_the_seeds_is_a_verdict():
    assert welch([0.70, 0.71, 0.72], [0.80, 0.81, 0.82]).low > 0
    assert not welch([0.7, 0.7], [0.8, 0.8]).is_defined
    assert not welch([0.7, float("nan")], [0.8, 0.9]).is_defined


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"seed": 1}, "its seed 1 is another run's too; train with another --seed"),
        ({"epoch": 3}, r"is of epoch 3, that of .*/1 of 2; let all runs end"),
        ({"list_digest": "cd"}, "is of list cd, that of"),
        (None, "it has the directories of 1 run; two are needed at least"),
    ],
)
def test_runs_that_are_no_set_are_refused(tmp_path, run, message):
    write_run(tmp_path / "1", 1, 0.7)
    if run:
        write_run(tmp_path / "2", **{"seed": 2, "ma": 0.8} | run)
    with pytest.raises(alm.AlmError, match=message):
        read_seeds(tmp_path)


def test_sets_of_other_lists_are_refused(tmp_path):
    for name, digest in (("a", "ab"), ("b", "cd")):
        for seed in (1, 2):
            write_run(tmp_path / name / str(seed), seed, 0.5, list_digest=digest)
    with pytest.raises(alm.AlmError, match="are not of the same list; evaluate both on one"):
        compare_seeds(read_seeds(tmp_path / "a"), read_seeds(tmp_path / "b"))
