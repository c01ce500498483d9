"""The report's words: probabilities, intervals, and how an epoch's figures may be quoted."""

import json
from dataclasses import replace

import pytest
from support.reports import report_of

from utils.report import text
from utils.runs.history import History


@pytest.mark.parametrize(
    ("logit", "expected"),
    [(0, "50 %"), (1000, "over 99 %"), (-1000, "under 1 %"), (float("inf"), "over 99 %"), (2, "88 %")],
)
def test_probabilities_are_never_certain(logit, expected):
    assert text.probability(logit) == expected


def test_few_pictures_have_no_intervals():
    few = {"units": 29, "resampled": "pictures", "draws": 1000, "ma_undefined_draws": 37}
    assert text.about_intervals(few).startswith("No intervals: 29 pictures")
    about = text.about_intervals(few | {"units": 30})
    assert "1,000 draws of the list's 30 pictures" in about
    assert "37 draws have no positives or no negatives of an attribute, and no part in mA's interval" in about


def test_unknown_labels_are_counted(tmp_path):
    report = report_of(tmp_path)
    report.pictures.labels[:3, 0] = 2
    lead = "2.pth.tar evaluated on test.txt: 40 pictures, 7 attributes. Unknown labels (3) are left out"
    assert text.lead(report).startswith(lead)


@pytest.mark.parametrize("experiment", ["peta", "synthetic", "custom"])
def test_a_test_list_is_called_one(tmp_path, experiment):
    notes = " ".join(text.epoch_notes(report_of(tmp_path, experiment=experiment)))
    assert ("its test list" in notes) == ("quote the last epoch" in notes) == (experiment == "peta")
    assert ("are drawn" in notes) == (experiment == "synthetic")


def test_evaluations_on_another_list_are_told(tmp_path):
    history = History([(1.0, 2.0)], {}, 3)
    (note,) = text.epoch_notes(report_of(tmp_path, history=history))
    assert note == "The course of the training leaves out 3 evaluations on another list than this one."


def test_thresholds_of_a_file_are_named(tmp_path):
    report = report_of(tmp_path)
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"list": str(report.pictures.label)}), encoding="utf-8")
    assert text.about_predictions(report.record).endswith(" if its probability is over 50 %.")
    record = report.record | {"thresholds": str(file)}
    assert text.about_predictions(record).endswith(f" if its probability is over its threshold in {file}.")
    assert "that is this list: quote none of these" in text.epoch_notes(replace(report, record=record))[0]


def test_the_best_epoch_is_not_to_be_quoted_and_the_last_one_is_named(tmp_path):
    later = History([], {2: {"ma": 0.7, "loss": 1.0}, 5: {"ma": 0.65, "loss": None}})
    notes = text.epoch_notes(report_of(tmp_path, evaluated="best.pth.tar", history=later))
    assert "This is best.pth.tar" in notes[0]
    assert notes[0].endswith("do not quote it.")
    assert "the run's last epoch: that is epoch 5, with an mA of 65.00 %" in notes[1]
