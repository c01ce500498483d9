"""The curves of a run, from what its directory holds."""

import json

import numpy as np
import pytest
from support.logs import line

from utils.runs.history import History, read_history

RECORD = {"experiment": "peta", "list_digest": "1f"}  # of an evaluation


def test_the_history_is_the_logs(tmp_path):
    lines = [line(i, 4 - epoch - i / 10, epoch) for epoch in range(2) for i in range(3)]
    (tmp_path / "train.log").write_text("".join(lines))
    records = [{"epoch": 1, "ma": 0.5, "loss": 2}, {"epoch": 2, "ma": None, "loss": 1.5, "other": []}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    history = read_history(tmp_path, RECORD)
    expected = [(1 / 3, 4), (2 / 3, 3.9), (1, 3.8), (4 / 3, 3), (5 / 3, 2.9), (2, 2.8)]
    np.testing.assert_allclose(history.training, expected)
    assert history.evaluations == {1: {"ma": 0.5, "loss": 2.0}, 2: {"ma": None, "loss": 1.5}}


def test_a_long_log_becomes_a_short_curve(tmp_path):
    (tmp_path / "train.log").write_text("".join(line(i, i % 2) for i in range(1000)))
    assert read_history(tmp_path, RECORD).training[:2] == [
        (0.003, pytest.approx(0.4)),
        (0.008, pytest.approx(0.6)),
    ]
    assert len(read_history(tmp_path, RECORD).training) == 200


@pytest.mark.parametrize(
    "metrics",
    ["", "{", "[]\n7\nnull\n", '{"epoch": true, "ma": 1}\n', '{"epoch": -1}\n', "[" * 100_000, "\0"],
)
def test_missing_and_damaged_files_of_a_run_are_left_out(tmp_path, metrics):
    assert read_history(tmp_path, RECORD) == History([], {})
    (tmp_path / "train.log").write_bytes(b"\xff\xfe\0\0nothing")
    (tmp_path / "metrics.jsonl").write_text(metrics)
    assert read_history(tmp_path, RECORD) == History([], {})


def test_infinite_figures_are_no_points(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "ma": Infinity, "loss": NaN}\n')
    (tmp_path / "train.log").write_text(line(0, "nan"))
    assert read_history(tmp_path, RECORD) == History([], {1: {"ma": None, "loss": None}})


def test_evaluations_on_another_list_are_left_out_and_counted(tmp_path):
    earlier = ({}, RECORD, RECORD | {"list_digest": "2e"}, {"experiment": "synthetic"}, {"list_digest": [1]})
    records = [{"epoch": n, "ma": 0.5, "loss": 2, **about} for n, about in enumerate(earlier, start=1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    same = {"ma": 0.5, "loss": 2.0}
    assert read_history(tmp_path, RECORD) == History([], {1: same, 2: same}, 3)
