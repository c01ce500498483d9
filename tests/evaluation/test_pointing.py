"""Regions and evidence against true boxes: by hand, and as a slow, plain loop finds them."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import THOROUGH
from support.known import Known

from alm.inference.prediction import boxes
from utils.evaluation.pointing import (
    AVERAGE,
    BASELINES,
    CHANCE,
    MEASURES,
    PLACES,
    WHOLE,
    WINNING,
    located_evidence,
    measures,
    pointing_lines,
    score,
)

LEVELS = ("3b", "4d", "5b")
NONE = [math.nan] * 4


def plain_measures(guess, true):
    """Return MEASURES of one box against one true box."""
    (left, top, right, bottom), (x0, y0, x1, y1) = guess, true
    wide, high = min(right, x1) - max(left, x0), min(bottom, y1) - max(top, y0)
    shared = wide * high if wide > 0 and high > 0 else 0
    own, other = (right - left) * (bottom - top), (x1 - x0) * (y1 - y0)
    pointing = x0 <= (left + right) / 2 <= x1 and y0 <= (top + bottom) / 2 <= y1
    inside = left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
    return [float(pointing), shared / other, float(inside), shared / (own + other - shared), own]


def plain_chance(guess, true):
    """Return what MEASURES are expected to be of a box of this size that lies anywhere, and of any point."""
    wide, high = guess[2] - guess[0], guess[3] - guess[1]
    rows = []
    for i in range(PLACES):
        for j in range(PLACES):
            left, top = (i + 0.5) / PLACES * (1 - wide), (j + 0.5) / PLACES * (1 - high)
            rows.append(plain_measures([left, top, left + wide, top + high], true))
    mean = np.mean(rows, axis=0)
    return [(true[2] - true[0]) * (true[3] - true[1]), *mean[1:4], wide * high]


def plain_score(regions, logits, true):
    """Return what `score` returns, box by box: {name: (5, K)}."""
    pictures, attributes = true.shape[:2]
    figures = {name: np.full((5, attributes), math.nan) for name in (*regions, WINNING, *BASELINES)}
    for k in range(attributes):
        pictured = [i for i in range(pictures) if not math.isnan(true[i, k, 0])]
        rows = {name: [] for name in figures}
        for i in pictured:
            best = max(range(len(logits)), key=lambda level: logits[level, i, k])
            winning = regions[list(regions)[best]][i, k]
            others = [true[j, k] for j in pictured if j != i]
            guesses = {name: boxes[i, k] for name, boxes in regions.items()}
            guesses |= {WINNING: winning, WHOLE: [0, 0, 1, 1]}
            for name, guess in guesses.items():
                rows[name].append(plain_measures(guess, true[i, k]))
            if others:
                rows[AVERAGE].append(plain_measures(np.mean(others, axis=0), true[i, k]))
            rows[CHANCE].append(plain_chance(winning, true[i, k]))
        for name, values in rows.items():
            if values:
                figures[name][:, k] = np.mean(values, axis=0)
    return figures


def boxes_from(random, *shape):
    """Return boxes (..., 4) of positive size within the picture."""
    ends = np.sort(random.uniform(size=(*shape, 2, 2)), axis=-2)
    ends[..., 1, :] = np.maximum(ends[..., 1, :], ends[..., 0, :] + 1e-3)
    return np.minimum(ends.reshape(*shape, 4), 1 + 1e-3)


def test_one_picture_by_hand():
    """40 x 80 pixels, and the attribute between (10, 10) and (30, 30): a box of an eighth of the picture."""
    true = np.array([[[10, 10, 30, 30]]]) / [40, 80, 40, 80]
    regions = {  # half-size s_x, s_y and centre t_x, t_y, where the picture's edges are -1 and 1
        "3b": [0.5, 0.25, 0, -0.5],  # the true box itself
        "4d": [0.5, 0.5, 0.5, 0],  # from (20, 20) to (40, 60): shares 10 x 10 pixels with it
        "5b": [1, 1, -0.5, 0.5],  # cut at the border, from (0, 20) to (30, 80): shares 20 x 10
    }
    regions = boxes({level: np.array([[region]]) for level, region in regions.items()}, False)
    evidence = {"all": (np.array([[29, 11]]) / [40, 80], regions["5b"][0])}
    pointing = score(regions, np.array([[[-1.0]], [[2.0]], [[1.0]]]), true, evidence)
    by_hand = {  # pointing, coverage, inside, IoU, area
        "3b": [1, 1, 1, 1, 1 / 8],
        "4d": [0, 100 / 400, 0, 100 / (400 + 800 - 100), 800 / 3200],
        "5b": [0, 200 / 400, 0, 200 / (400 + 1800 - 200), 1800 / 3200],
        WINNING: [0, 1 / 4, 0, 1 / 11, 1 / 4],  # 4d has the highest logit
        "evidence all": [1, 200 / 400, 0, 200 / (400 + 1800 - 200), 1800 / 3200],  # it points into the box
        WHOLE: [0, 1, 1, 1 / 8, 1],  # its centre (20, 40) is below
        AVERAGE: [math.nan] * 5,  # there is no other picture
    }
    for name, values in by_hand.items():
        np.testing.assert_allclose(pointing.figures[name][:, 0], values, err_msg=name)
    # A box of 20 x 40 pixels anywhere shares 15 x 10 pixels with it, on average over x and over y.
    np.testing.assert_allclose(pointing.figures[CHANCE][[0, 1, 2, 4], 0], [1 / 8, 15 * 10 / 400, 0, 1 / 4])


@settings(max_examples=25 if THOROUGH else 10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))
def test_scores_are_those_of_a_plain_loop(seed, pictures, attributes, levels):
    random = np.random.default_rng(seed)
    regions = {level: boxes_from(random, pictures, attributes) for level in LEVELS[:levels]}
    logits = random.normal(size=(levels, pictures, attributes))
    true = boxes_from(random, pictures, attributes)
    true[random.uniform(size=(pictures, attributes)) < 0.3] = math.nan
    pointing, expected = score(regions, logits, true, {}), plain_score(regions, logits, true)
    assert pointing.figures.keys() == expected.keys()
    for name, values in expected.items():
        tolerance = {"inside": 0.1} if name == CHANCE else {}  # a rounded place may or may not hold a box
        for measure, row, other in zip(MEASURES, pointing.figures[name], values, strict=True):
            np.testing.assert_allclose(row, other, atol=tolerance.get(measure, 1e-12), err_msg=name)
    np.testing.assert_array_equal(pointing.boxes, (~np.isnan(true[..., 0])).sum(0))


def test_evidence_is_located_for_each_true_box_in_its_order(tmp_path):
    class Seer(Known):
        def predict(self, pixels, sizes):
            """The evidence for attribute k is in column k, in the row that the picture's red tells."""
            predictions = []
            for picture, prediction in zip(pixels, super().predict(pixels, sizes), strict=True):
                maps = np.zeros((3, 2, 4))
                maps[range(3), picture[0, 0, 0] // 200, range(3)] = 1
                predictions.append(replace(prediction, evidence={"all": maps}))
            return predictions

    paths = [tmp_path / f"{red}.png" for red in (0, 100, 255)]
    for path in paths:
        Image.new("RGB", (20, 40), (int(path.stem), 0, 0)).save(path)
    true = np.full((3, 3, 4), math.nan)
    true[0, 1], true[2, 0], true[2, 2] = np.arange(12).reshape(3, 4)
    predictor = Seer()
    [(name, (places, boxes))] = located_evidence(predictor, paths, true).items()
    assert name == "all"
    assert places.tolist() == [[3 / 8, 1 / 4], [1 / 8, 3 / 4], [5 / 8, 3 / 4]]
    assert boxes.tolist() == [[1 / 4, 0, 2 / 4, 1 / 2], [0, 1 / 2, 1 / 4, 1], [2 / 4, 1 / 2, 3 / 4, 1]]
    assert predictor.batches == [2]  # the picture without a box is left out


def test_chance_is_what_a_draw_gives():
    random = np.random.default_rng(4)
    true = boxes_from(random, 30, 2)
    pointing = score({"3b": true}, np.zeros((1, 30, 2)), true, {})
    size = true[..., 2:] - true[..., :2]
    drawn = []
    for _ in range(2000):
        low = random.uniform(size=size.shape) * (1 - size)
        drawn.append(measures(np.concatenate([low, low + size], -1).reshape(-1, 4), true.reshape(-1, 4)))
    drawn = np.mean(drawn, axis=0).reshape(5, 30, 2).mean(axis=1)
    np.testing.assert_allclose(pointing.figures[CHANCE][[1, 3]], drawn[[1, 3]], atol=0.005)


def test_an_attribute_without_boxes_has_no_figures_and_is_left_out_of_the_means():
    true = np.array([[[0.1, 0.1, 0.3, 0.3], NONE], [[0.2, 0.2, 0.5, 0.5], NONE]])
    pointing = score({"3b": true}, np.zeros((1, 2, 2)), true, {})
    assert pointing.boxes.tolist() == [2, 0]
    assert all(np.isnan(values[:, 1]).all() for values in pointing.figures.values())
    np.testing.assert_allclose(pointing.means()["3b"][:4], 1)


def test_sentences_say_what_the_regions_beat():
    true = np.broadcast_to([0.0, 0.0, 0.5, 0.5], (2, 1, 4))
    evidence = {"3b": (np.array([[0.1, 0.1], [0.6, 0.1]]), true[:, 0])}
    lines = pointing_lines(score({"3b": true}, np.zeros((1, 2, 1)), true, evidence)).split("\n")
    assert lines[0] == "Regions and evidence against 2 true boxes, means of 1 attribute:"
    assert [line.split()[0] for line in lines[2:5]] == ["3b", "winning", "evidence"]
    assert "any point of the picture in 25 %, the picture's centre in 100 %" in lines[-5]
    assert lines[-4] == "The strongest place of each map of evidence: 50 % (evidence 3b)."
    assert lines[-3] == "The regions beat chance on both measures, pointing and IoU."
    assert lines[-2] == "The regions beat the whole picture on one of the two measures, pointing and IoU."
    assert lines[-1].startswith("The regions do not beat the average box (")
