"""regions.json beside a list: read as what it is, refused if it is anything else."""

import json

import numpy as np
import pytest
from PIL import Image

from alm.errors import PictureError
from utils.data.catalog import EXPERIMENTS
from utils.data.dataset import MultiLabelDataset
from utils.data.true_boxes import find_true_boxes
from utils.errors import DataError
from utils.synthetic import ensure_dataset

NAMES = ("Hat", "Male")


@pytest.fixture
def folder(tmp_path):
    """A list of two pictures, 40 x 80 and 20 x 50."""
    Image.new("RGB", (40, 80)).save(tmp_path / "a.png")
    Image.new("RGB", (20, 50)).save(tmp_path / "b.png")
    (tmp_path / "test.txt").write_text("a.png 1 0\nb.png 1 1\n")
    return tmp_path


def boxes_of(folder, content, names=NAMES):
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (folder / "regions.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return find_true_boxes(MultiLabelDataset(folder, folder / "test.txt"), names)


def test_boxes_are_shares_of_their_own_picture_which_is_not_decoded(folder, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", None)
    boxes = boxes_of(folder, {"b.png": {"Hat": [5, 0, 20, 10.5]}, "a.png": {"Male": [0, 20, 10, 80]}})
    assert boxes.shape == (2, 2, 4)
    np.testing.assert_allclose(boxes[1, 0], [0.25, 0, 1, 0.21])
    np.testing.assert_allclose(boxes[0, 1], [0, 0.25, 0.25, 1])
    assert np.isnan(boxes[0, 0]).all()
    assert np.isnan(boxes[1, 1]).all()


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 10], "0123", [0, 0, 10, "10"], [False, False, True, True], [0, 0, 0, 10], [0, 10, 10, 5],
        [-1, 0, 10, 10], [0, 0, 41, 10], [0, 0, 10, 81], [0, 0, float("nan"), 10], [0, 0, 10**400, 10],
    ],
)  # fmt: skip
def test_a_box_that_is_none_is_named(folder, box):
    with pytest.raises(DataError, match=r"regions\.json: a\.png: Hat: .*no box .*40 x 80.*rename") as caught:
        boxes_of(folder, {"a.png": {"Hat": box}})
    assert len(str(caught.value)) < 300 + len(str(folder))


def test_what_is_not_of_this_list_is_passed_over(folder):
    assert find_true_boxes(MultiLabelDataset(folder, folder / "test.txt"), NAMES) is None
    assert boxes_of(folder, {"c.png": {"Hat": [0, 0, 1, 1]}, "a.png": {"Scarf": [0, 0, 1, 1]}}) is None


@pytest.mark.parametrize("content", ["", "[]", '{"a.png": [0, 0, 1, 1]}'])
def test_another_file_is_refused(folder, content):
    with pytest.raises(DataError, match=r"regions\.json is no JSON of the form \{path: .*rename"):
        boxes_of(folder, content)


def test_a_picture_with_boxes_that_cannot_be_opened_is_named(folder):
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"b\.png"):
        boxes_of(folder, {"b.png": {"Hat": [5, 0, 20, 25]}})


def test_the_drawn_set_has_boxes_of_what_its_pictures_show(tmp_path):
    ensure_dataset(tmp_path / "drawn", train=2, test=10)
    attributes = EXPERIMENTS["synthetic"].attributes
    pictures = MultiLabelDataset(tmp_path / "drawn", tmp_path / "drawn" / "PETA_test_list.txt")
    boxes = find_true_boxes(pictures, attributes)
    there = ~np.isnan(boxes).any(-1)
    assert there.sum() > 30
    assert (pictures.labels.numpy()[there] == 1).all()
    assert (boxes[there][:, :2] < boxes[there][:, 2:]).all()
    assert not there[:, attributes.index("Male")].any()
