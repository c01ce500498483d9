"""Thresholds: the best on a list, their file, and what predict.py makes of it."""

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.models import model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from alm.errors import AlmError
from alm.inference.thresholds import read_thresholds
from run_scripts import predict
from utils.data.catalog import EXPERIMENTS, Experiment
from utils.errors import DataError
from utils.evaluation.thresholds import best_thresholds, calibrate, write_thresholds

NAMES = ("Hat", "Bag")


def balanced(values, labels, threshold):
    positive, negative = labels == 1, labels == 0
    return ((values > threshold)[positive].mean() + (values <= threshold)[negative].mean()) / 2


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]), st.integers(0, 2)), min_size=1))
def test_no_other_threshold_is_better(rows):
    values, labels = (np.array(column) for column in zip(*rows, strict=True))
    choice = best_thresholds(values[:, None], labels[:, None])
    if not (labels == 1).any() or not (labels == 0).any():
        assert choice.thresholds.tolist() == [0.5]
        assert np.isnan(choice.accuracy[0])
        return
    best = max(balanced(values, labels, x) for x in np.linspace(0, 1, 101))
    assert choice.accuracy[0] == pytest.approx(best)
    assert balanced(values, labels, choice.thresholds[0]) == pytest.approx(best)
    assert choice.accuracy_at_half[0] == pytest.approx(balanced(values, labels, 0.5))


def test_no_threshold_is_the_probability_of_several_pictures():
    """Which another machine's rounding could bring above it."""
    values, labels = np.array([0.6, 0.6, 0.6, 0.9]), np.array([0, 0, 0, 1])
    assert best_thresholds(values[:, None], labels[:, None]).thresholds == pytest.approx([0.75])


def test_a_file_gives_back_what_was_written(tmp_path):
    choice = best_thresholds(np.array([[0.1, 0.7], [0.3, 0.9]]), np.array([[0, 0], [1, 1]]))
    write_thresholds(tmp_path / "t.json", NAMES, choice, {"list": "val.txt"})
    assert read_thresholds(tmp_path / "t.json", NAMES).tolist() == choice.thresholds.tolist()
    assert choice.thresholds == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no file of thresholds"),
        ("[1]", "is no file of thresholds"),
        ({"thresholds": {"Hat": 0.5, "Bag": 0.5}}, "is no file of thresholds"),
        ({"Hat": 0.5}, "no threshold for 'Bag'"),
        ({"Hat": 0.5, "Bag": 0.5, "Cap": 0.5}, "for other attributes too, such as 'Cap'"),
        ({"Hat": 0.5, "Bag": 1.5}, "'Bag' is no number from 0 to 1"),
    ],
)
def test_another_file_is_refused(tmp_path, content, words):
    if isinstance(content, dict) and "thresholds" not in content:
        content = {"format": "alm-thresholds-1", "thresholds": content}
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "t.json").write_text(text, encoding="utf-8")
    with pytest.raises(AlmError, match=words):
        read_thresholds(tmp_path / "t.json", NAMES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="absent"):
        read_thresholds(tmp_path / "absent.json", NAMES)


@pytest.mark.parametrize(
    ("labels", "trained", "gain", "undefined"),
    [
        (
            [[0, 0], [1, 1]],
            False,
            "mA 1.0000 there, 0.7500 at 0.5; on other pictures the gain is less; 2 of",
            "",
        ),
        (
            [[0, 0], [1, 1]],
            True,
            "mA 1.0000 there, 0.7500 at 0.5; .* or none: the network was trained on the",
            "",
        ),
        (
            [[0, 0], [1, 1]] * 29,
            False,
            "mA 1.0000 .* less; 2 of 2 attributes have fewer than 30 pictures",
            "",
        ),
        (
            [[0, 0], [1, 1]] * 30,
            False,
            "mA 1.0000 there, 0.7500 at 0.5; on other pictures the gain is less$",
            "",
        ),
        (
            [[0, 0], [1, 0]],
            False,
            "mA of 1 of 2 .* 0.5; on .*; 1 of 2 attributes have fewer",
            "0.5 for Bag: ",
        ),
        ([[1, 0], [1, 0]], False, "mA of 0 of 2 attributes is undefined there", "0.5 for Hat, Bag: "),
    ],
)
def test_the_gain_is_of_the_attributes_that_have_one(tmp_path, labels, trained, gain, undefined):
    of_list = {"label": "held_out.txt", "labels": torch.tensor(labels)}
    pictures = type("Pictures", (list,), of_list)(labels)
    experiment = Experiment("custom", tmp_path, NAMES)
    probabilities = np.array([[0.1, 0.1], [0.3, 0.9]] * (len(labels) // 2))
    lines = calibrate(tmp_path / "t.json", probabilities, pictures, experiment, "7.pth.tar", trained)
    assert re.search(f"on held_out.txt: {gain}", lines.partition("\n")[0])
    assert undefined in lines
    assert ("the list has them always or never" in lines) == bool(undefined)


@pytest.mark.slow
def test_predict_uses_the_thresholds_of_an_evaluation(run_here, start_here, four_pictures, tmp_path):
    attributes = EXPERIMENTS["peta"].attributes
    path = tmp_path / "7.pth.tar"
    content = own_checkpoint(model_of(35), attributes=attributes, experiment="peta")
    save_checkpoint(path, content | {"options": {"experiment": "peta", "approach": "inception_iccv"}})
    options = ("--data_root", four_pictures, "--device", "cpu")
    thresholds_file, held_out = tmp_path / "t.json", four_pictures / "PETA_train_list.txt"
    evaluate = ("-e", "--resume", path, "--val_list", held_out, "--calibrate")
    calibrated, _ = run_here(*evaluate, thresholds_file, "--workers", 0, *options)
    assert "is the test list" not in calibrated
    assert "the network was trained on these" in calibrated
    thresholds = json.loads(thresholds_file.read_text())["thresholds"]
    assert set(thresholds.values()) != {0.5}
    options = ("--checkpoint", path, "--threshold", thresholds_file, "--as_trained", "--json", "-", *options)
    output, _ = start_here(predict, *options, held_out)
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == 4
    labels = np.array([line.split()[-35:] for line in held_out.read_text().splitlines()], dtype=int)
    accuracies = []
    for k, name in enumerate(attributes):
        about = [line["attributes"][name] for line in lines]
        assert all(a["positive"] == (a["probability"] > thresholds[name]) for a in about)
        positive, there = np.array([a["positive"] for a in about]), labels[:, k] == 1
        if there.any() and not there.all():
            accuracies.append((positive[there].mean() + (~positive[~there]).mean()) / 2)
    title = f"mA of {len(accuracies)} of 35 attributes"
    assert f"on {held_out}: {title} {np.mean(accuracies):.4f} there" in calibrated
    figures = tmp_path / "figures.json"
    evaluate_at = (*evaluate[:-1], "--threshold", thresholds_file, "--json", figures)
    evaluated, _ = run_here(*evaluate_at, "--workers", 0, "--data_root", four_pictures, "--device", "cpu")
    record = json.loads(figures.read_text())
    assert record["ma"] == pytest.approx(np.mean(accuracies))
    assert record["thresholds"] == str(thresholds_file)
    assert f"chosen on {held_out}; that is this list: quote none of these figures" in evaluated
    other = tmp_path / "list.txt"
    other.write_text("something else")
    _, errors = run_here(*evaluate, other, "--data_root", four_pictures, status=2)
    assert f"--calibrate {other}" in errors
    assert other.read_text() == "something else"
