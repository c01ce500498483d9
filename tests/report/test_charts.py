"""Charts: curves stay in their frame, ticks are round."""

import pytest

from utils.report.charts import HEIGHT, WIDTH, chart, ticks


@pytest.mark.parametrize("points", [[(1, 5)], [(1, 5), (60, 5)], [(0.1, -2), (3, 7e8)], [(1, 0), (2, 1e-9)]])
def test_curves_stay_in_their_frame(points):
    drawn = chart("Loss", {"a": points})
    ((_, path, marks),) = drawn.curves
    assert len(marks) == len(points)
    places = [*marks, *((x, 100) for x, _ in drawn.x_ticks), *((100, y) for y, _ in drawn.y_ticks)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert path.count("L") == len(points) - 1
    assert 2 <= len(drawn.y_ticks) <= 8


def test_a_curve_of_many_points_has_no_marks_and_one_without_points_is_left_out():
    drawn = chart("mA", {"a": [(epoch, epoch) for epoch in range(60)], "b": []})
    ((_, path, marks),) = drawn.curves
    assert marks == []
    assert path.count("L") == 59
    assert chart("Loss", {"a": []}) is None


@pytest.mark.parametrize("level", [0, 3, -2e6])
def test_a_constant_curve_is_drawn_level_between_labels_that_differ(level):
    drawn = chart("Loss", {"a": [(1, level), (2, level)]})
    labels = [label for _, label in drawn.y_ticks]
    assert len(set(labels)) == len(labels) > 2
    ((_, _, marks),) = drawn.curves
    assert marks[0][1] == marks[1][1] == pytest.approx(119, abs=60)


def test_ticks_are_round():
    assert ticks(0, 2) == [0, 0.5, 1, 1.5, 2]
    assert ticks(81.2, 90.1) == [80, 82, 84, 86, 88, 90, 92]
    assert ticks(0, 60) == [0, 20, 40, 60]
