"""Maps of evidence: their sum, the strongest place, the box around what is strong."""

import numpy as np
import pytest
import torch
from support.models import ATTRIBUTES, model_of

import alm
from alm.inference.evidence import strongest_box, strongest_place, with_sum
from alm.inference.prediction import read_input

MAP = np.array([[0, 1, 8, 2], [0, 9, 10, 0]])  # two rows, four columns


def test_the_strongest_place_is_the_centre_of_its_cell():
    assert strongest_place(MAP).tolist() == [2.5 / 4, 1.5 / 2]
    assert strongest_place(np.stack([MAP, -MAP])).tolist() == [[2.5 / 4, 1.5 / 2], [0.5 / 4, 0.5 / 2]]


@pytest.mark.parametrize(
    ("share", "box"),
    [(0.7, [1 / 4, 0, 3 / 4, 1]), (0.85, [1 / 4, 1 / 2, 3 / 4, 1]), (1, [2 / 4, 1 / 2, 3 / 4, 1])],
)
def test_the_box_holds_what_is_above_a_share_of_the_range(share, box):
    assert strongest_box(MAP, share).tolist() == box
    assert strongest_box(7 * MAP - 20, share).tolist() == box
    assert strongest_box(0 * MAP, share).tolist() == [0, 0, 1, 1]


def test_the_sum_is_as_fine_as_the_finest():
    random = np.random.default_rng(0)
    maps = {name: random.normal(size=(2, 3, *size)) for name, size in (("a", (8, 4)), ("b", (2, 1)))}
    coarse = torch.nn.functional.interpolate(torch.from_numpy(maps["b"]), (8, 4), mode="bilinear")
    together = with_sum(maps)
    assert list(together) == ["a", "b", "all"]
    np.testing.assert_allclose(together["all"], maps["a"] + coarse.numpy(), atol=1e-6)


@pytest.mark.parametrize("approach", ["inception_iccv", "bn_inception"])
def test_a_prediction_has_the_networks_evidence_if_it_is_asked_for(approach):
    picture = np.random.default_rng(0).integers(0, 256, (300, 100, 3), np.uint8)
    model = model_of(approach=approach).eval()
    [prediction] = alm.Predictor(model, ATTRIBUTES, "cpu", evidence=True)(picture)
    [plain] = alm.Predictor(model, ATTRIBUTES, "cpu")(picture)
    assert plain.evidence == plain.strongest_places() == {}
    np.testing.assert_allclose(plain.probabilities, prediction.probabilities, atol=1e-6)
    pixels = torch.tensor(read_input(picture)[0])
    with torch.inference_mode():
        expected = model.evidence(alm.preprocess(pixels.permute(2, 0, 1)[None]))
    assert list(prediction.evidence) == [*expected, "all"]
    for branch, maps in expected.items():
        np.testing.assert_allclose(prediction.evidence[branch], maps[0], atol=1e-4)
    places, boxes = prediction.strongest_places()["main"], prediction.strongest_boxes()["main"]
    for k, evidence in enumerate(prediction.evidence["main"]):
        row, column = np.unravel_index(evidence.argmax(), (8, 4))
        assert places[k] == pytest.approx([(column + 0.5) * 100 / 4, (row + 0.5) * 300 / 8])
        assert (boxes[k, :2] < places[k]).all()
        assert (places[k] < boxes[k, 2:]).all()
