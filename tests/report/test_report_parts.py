"""What the report is made of: a run's curves, its mistakes, its words."""

import json

import numpy as np
import pytest
from support.logs import line

from utils.report import text
from utils.report.charts import Curve, chart, ticks
from utils.report.mistakes import mistaken, surest, winning_shares, worst_attributes, wrong_together
from utils.runs.history import History, read_history


def test_the_history_is_the_logs(tmp_path):
    lines = [line(i, 4 - epoch - i / 10, epoch) for epoch in range(2) for i in range(3)]
    (tmp_path / "train.log").write_text("".join(lines))
    records = [{"epoch": 1, "ma": 0.5, "loss": 2}, {"epoch": 2, "ma": None, "loss": 1.5, "other": []}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    history = read_history(tmp_path)
    expected = [(1 / 3, 4), (2 / 3, 3.9), (1, 3.8), (4 / 3, 3), (5 / 3, 2.9), (2, 2.8)]
    np.testing.assert_allclose(history.training, expected)
    assert history.evaluations == {1: {"ma": 0.5, "loss": 2.0}, 2: {"ma": None, "loss": 1.5}}


def test_a_long_log_becomes_a_short_curve(tmp_path):
    (tmp_path / "train.log").write_text("".join(line(i, i % 2) for i in range(1000)))
    assert read_history(tmp_path).training[:2] == [(0.003, pytest.approx(0.4)), (0.008, pytest.approx(0.6))]
    assert len(read_history(tmp_path).training) == 200


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        "{",
        "[]\n7\nnull\n",
        '{"epoch": true, "ma": 1}\n',
        '{"epoch": -1}\n',
        "[" * 100_000,
        "\0",
        '{"epoch": "1"}',
    ],
)
def test_damaged_files_of_a_run_are_left_out(tmp_path, metrics):
    (tmp_path / "train.log").write_bytes(b"\xff\xfe\0\0nothing")
    (tmp_path / "metrics.jsonl").write_text(metrics)
    assert read_history(tmp_path) == History([], {})


def test_a_run_that_left_nothing_has_no_curves(tmp_path):
    assert read_history(tmp_path) == History([], {})


def test_infinite_figures_are_no_points(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "ma": Infinity, "loss": NaN}\n')
    (tmp_path / "train.log").write_text(line(0, "nan"))
    assert read_history(tmp_path) == History([], {1: {"ma": None, "loss": None}})


@pytest.mark.parametrize("points", [[(1, 5)], [(1, 5), (60, 5)], [(0.1, -2), (3, 7e8)], [(1, 0), (2, 1e-9)]])
def test_curves_stay_in_their_frame(points):
    drawn = chart("Loss", [Curve("a", points)])
    ((_, path, marks),) = drawn.curves
    assert len(marks) == len(points)
    places = [*marks, *((x, 100) for x, _ in drawn.x_ticks), *((100, y) for y, _ in drawn.y_ticks)]
    assert all(0 <= x <= 640 and 0 <= y <= 260 for x, y in places)
    assert path.count("L") == len(points) - 1
    assert 2 <= len(drawn.y_ticks) <= 8


def test_without_a_point_there_is_no_chart():
    assert chart("Loss", [Curve("a", [])]) is None


def test_a_curve_of_many_points_has_no_marks():
    drawn = chart("mA", [Curve("a", [(epoch, epoch) for epoch in range(60)])])
    ((_, path, marks),) = drawn.curves
    assert marks == []
    assert path.count("L") == 59


@pytest.mark.parametrize("level", [0, 3, 60, -2e6])
def test_what_does_not_move_is_drawn_level_between_labels_that_differ(level):
    drawn = chart("Loss", [Curve("a", [(1, level), (2, level)])])
    labels = [label for _, label in drawn.y_ticks]
    assert len(set(labels)) == len(labels) > 2
    ((_, _, marks),) = drawn.curves
    assert marks[0][1] == marks[1][1] == pytest.approx(119, abs=60)


def test_ticks_are_round():
    assert ticks(0, 2) == [0, 0.5, 1, 1.5, 2]
    assert ticks(81.2, 90.1) == [80, 82, 84, 86, 88, 90, 92]
    assert ticks(0, 60) == [0, 20, 40, 60]


def test_mistakes_are_known_labels_predicted_wrong():
    logits, labels = np.array([[1.0, -1.0, 1.0, 0.0]]), np.array([[0, 1, 2, 0]])
    assert mistaken(logits, labels).tolist() == [[True, True, False, False]]


def test_the_surest_mistakes_come_first():
    logits, wrong = np.array([-3.0, 2.0, -5.0, 9.0, 4.0, -1.0]), np.array([1, 1, 1, 0, 1, 1], bool)
    assert surest(logits, wrong, "abcdef", 2) == ([2, 0], [4, 1])
    assert surest(logits, ~wrong, "abcdef", 2) == ([], [3])
    assert surest(logits, wrong, "abacdb", 2) == ([2, 5], [4, 1])  # one of each person


def test_the_worst_attributes_have_a_figure_and_a_mistake():
    wrong = np.array([[True, True, True, False]])
    assert worst_attributes([0.7, None, 0.6, 0.5], wrong, 5) == [2, 0]


def test_pairs_are_those_of_a_plain_count():
    random = np.random.default_rng(0)
    wrong = random.uniform(size=(60, 5)) < 0.3
    wrong[:, 1] = wrong[:, 0] ^ (random.uniform(size=60) < 0.1)
    pairs = wrong_together(wrong, 20)
    assert (pairs[0].first, pairs[0].second) == (0, 1)
    for pair in pairs:
        one, other = wrong[:, pair.first], wrong[:, pair.second]
        assert pair.both == sum(a and b for a, b in zip(one, other, strict=True))
        assert pair.expected == pytest.approx(one.sum() * other.sum() / 60)
        assert pair.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert [pair.correlation for pair in pairs] == sorted((pair.correlation for pair in pairs), reverse=True)
    assert wrong_together(np.zeros((60, 5), bool), 20) == []
    assert wrong_together(np.ones((60, 5), bool), 20) == []


def test_winning_shares_are_of_the_pictures_where_it_is_predicted():
    branches = np.array([[[1.0, -1], [3, -2], [-1, -1]], [[2.0, -2], [1, -1], [5, -3]]])
    predicted = branches.max(0) > 0
    np.testing.assert_allclose(winning_shares(branches, predicted)[:, 0], [1 / 3, 2 / 3])
    assert np.isnan(winning_shares(branches, predicted)[:, 1]).all()


@pytest.mark.parametrize(
    ("logit", "expected"),
    [(0, "50 %"), (1000, "over 99 %"), (-1000, "under 1 %"), (float("inf"), "over 99 %"), (2, "88 %")],
)
def test_probabilities_are_never_certain(logit, expected):
    assert text.probability(logit) == expected
