"""models/peta.onnx, which predict.py uses if no checkpoint is named, and its card."""

import hashlib
import re

import numpy as np
import pytest
from support import REPOSITORY

from alm.inference.onnx_predictor import OnnxPredictor
from run_scripts import predict
from utils.data.catalog import EXPERIMENTS
from utils.data.dataset import MultiLabelDataset
from utils.prediction.load import COMES_ALONG
from utils.synthetic import LISTS, ensure_dataset

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

CARD = COMES_ALONG.with_suffix(".md")


def test_the_card_is_the_files():
    assert COMES_ALONG.parent == REPOSITORY / "run_scripts" / "models"
    content = COMES_ALONG.read_bytes()
    assert len(content) <= 6_000_000
    assert hashlib.sha256(content).hexdigest() in CARD.read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_tells_drawn_people_apart(tmp_path):
    """It has seen photographs alone; a person without any knowledge is right in half of the cases."""
    ensure_dataset(tmp_path, train=1, test=200)
    people = MultiLabelDataset(tmp_path, tmp_path / LISTS["test"])
    pixels = people.images(list(range(200))).permute(0, 2, 3, 1).numpy()
    probabilities = OnnxPredictor(COMES_ALONG).outputs(pixels)["probabilities"]
    for name in ("Male", "Hat"):
        column = EXPERIMENTS["peta"].attributes.index(name)
        found, label = probabilities[:, column] > 0.5, people.labels[:, column].numpy() == 1
        assert np.mean([found[label].mean(), (~found[~label]).mean()]) > 0.65, name


@pytest.mark.slow
def test_predict_uses_it_and_says_what_it_is_for(tmp_path, start_here):
    ensure_dataset(tmp_path, train=1, test=1)
    (picture,) = MultiLabelDataset(tmp_path, tmp_path / LISTS["test"]).paths
    output, errors = start_here(predict, picture, "--regions", tmp_path / "sheets")
    assert re.search("person .*Age", output)
    assert errors.startswith("note: peta.onnx was trained on PETA, so it is for research only: ")
    assert errors.count("\n") == 1
    assert list((tmp_path / "sheets").rglob("*.png"))
