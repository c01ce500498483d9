"""Mistakes: the surest ones, the weakest attributes, the pairs that come together."""

import numpy as np
import pytest

from utils.report.mistakes import lowest_ma, pairs_wrong_together, surest_mistakes, wrong_predictions


def test_mistakes_are_known_labels_predicted_wrong():
    logits, labels = np.array([[1.0, -1.0, 1.0, 0.0]]), np.array([[0, 1, 2, 0]])
    assert wrong_predictions(logits, labels).tolist() == [[True, True, False, False]]


def test_the_surest_mistakes_come_first_and_one_per_person():
    logits, wrong = np.array([-3.0, 2.0, -5.0, 9.0, 4.0, -1.0]), np.array([1, 1, 1, 0, 1, 1], bool)
    assert surest_mistakes(logits, wrong, "abcdef", 2) == ([2, 0], [4, 1])
    assert surest_mistakes(logits, ~wrong, "abcdef", 2) == ([], [3])
    assert surest_mistakes(logits, wrong, "abacdb", 2) == ([2, 5], [4, 1])


def test_the_weakest_attributes_have_a_figure_and_a_mistake():
    wrong = np.array([[True, True, True, False]])
    assert lowest_ma([0.7, None, 0.6, 0.5], wrong, 5) == [2, 0]


def test_pairs_are_those_of_a_plain_count():
    random = np.random.default_rng(0)
    wrong = random.uniform(size=(60, 5)) < 0.3
    wrong[:, 1] = wrong[:, 0] ^ (random.uniform(size=60) < 0.1)
    pairs = pairs_wrong_together(wrong, 20)
    assert (pairs[0].first, pairs[0].second) == (0, 1)
    for pair in pairs:
        one, other = wrong[:, pair.first], wrong[:, pair.second]
        assert pair.both == (one & other).sum()
        assert pair.expected == pytest.approx(one.sum() * other.sum() / 60)
        assert pair.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert [pair.correlation for pair in pairs] == sorted((pair.correlation for pair in pairs), reverse=True)
    for constant in (np.zeros, np.ones):
        assert pairs_wrong_together(constant((60, 5), bool), 20) == []
