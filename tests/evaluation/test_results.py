"""An evaluation in words: the published table to the letter, intervals, and the same for JSON."""

import numpy as np
import pytest
import torch
from support.tiny import evaluation

from utils.evaluation.results import (
    COUNTS,
    evaluation_record,
    evaluation_table,
    interval_lines,
    interval_record,
)
from utils.evaluation.significance import intervals, tally


def test_the_table_is_the_published_one():
    counts = torch.tensor([3364, 3309, 3831, 3769, 3824, 3776])
    figures = {name: value[None] for name, value in zip(COUNTS, counts, strict=True)}
    figures |= {"attribute_ma": torch.tensor([0.878026]), "ma": 0.8634, "ma_attributes": 1}
    figures |= {"accuracy": 0.5, "precision": 0.25, "recall": 0.125, "f1": 1 / 3}
    lines = [
        "=" * 100,
        "\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA",
        "\t# 0: Age16-30          \t3364\\3309\t3831\\3769\t3824\\3776\t0.87803",
        "\tmA:        0.8634",
        "\tAccuracy:  0.5",
        "\tPrecision: 0.25",
        "\tRecall:    0.125",
        "\tF1_Score:  0.3333333333333333",
        "=" * 100,
    ]
    assert evaluation_table(evaluation(**figures), ("Age16-30",), 7600, 7600).split("\n") == lines
    lines.insert(-1, "\tPictures:  7599 of 7600")
    assert evaluation_table(evaluation(**figures), ("Age16-30",), 7599, 7600).split("\n") == lines


@pytest.mark.parametrize(
    ("both", "undefined", "of"),
    [(0, "1 attribute (Only)", "1 of 2 attributes"), (1, "2 attributes (Only, Both)", "0 of 2 attributes")],
)
def test_an_undefined_ma_is_said(both, undefined, of):
    partly = evaluation([[1.0, 1.0], [1.0, -1.0]], torch.tensor([[1, 1], [1, both]]))
    *table, line = evaluation_table(partly, ("Only", "Both"), 2, 2).split("\n")
    assert "\t# 0: Only              \t   2\\   0\t   2\\   0\t   2\\   0\tn/a" in table
    assert line == (
        f"Undefined: this is the mA of {of}; the list has no positives or no negatives of {undefined}"
    )
    record = evaluation_record(partly, ("Only", "Both"), 2, 2)
    assert record["attributes"][0]["ma"] is None
    assert f"{record['ma_attributes']} of 2 attributes" == of


def test_the_record_has_each_figure_by_name():
    record = evaluation_record(evaluation([[1.0], [-1.0]], torch.tensor([[1], [0]])), ("Hat",), 2, 5)
    assert record == {
        "pictures": 2, "listed": 5,
        "ma": 1.0, "ma_attributes": 1, "accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5,
        "loss": 0.0, "accu": 0.0,
        "attributes": [{"name": "Hat", "ma": 1.0} | dict.fromkeys(COUNTS, 1)],
    }  # fmt: skip


def test_intervals_stand_below_the_table_and_cannot_be_taken_for_it():
    labels = np.random.default_rng(0).integers(0, 2, (200, 3))
    first, *lines = interval_lines(intervals(tally(labels == 1, labels)), 200, "pictures").split("\n")
    assert first == "95 % intervals, from 1,000 draws of the list's 200 pictures with replacement:"
    assert [line.split()[0] for line in lines] == ["mA", "Accuracy", "Precision", "Recall", "F1_Score"]
    assert ":" not in "".join(lines)  # where the published lines have one


def test_undefined_intervals_and_too_few_pictures_are_said():
    labels = np.ones((40, 2), np.uint8)
    spans = intervals(tally(labels == 1, labels))
    assert "\tmA         n/a; 1,000 of 1,000 draws have no pos" in interval_lines(spans, 40, "pictures")
    assert interval_record(spans, 40, "pictures")["ma"] is None
    assert interval_record(spans, 40, "pictures")["recall"] == [1, 1]
    assert "none; 29 pictures are too few, 30" in interval_lines(None, 29, "pictures")
    assert interval_record(None, 29, "pictures")["f1"] is None
