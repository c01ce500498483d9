"""Predictions as a table, as CSV and as JSON."""

import csv
import io
import json

import numpy as np
import pytest
from support.known import BOXES, NAMES, prediction_of

from alm.inference.prediction import Prediction
from utils.data.attributes import BODY_PARTS, PETA, RAP
from utils.prediction.sources import Source
from utils.prediction.writers import Csv, JsonLines, table_lines


def test_the_table_sorts_what_is_found_by_part_of_the_body():
    """A threshold that is not 0.5 stands beside what is above it."""
    prediction = prediction_of()
    lines = table_lines(Source("folder/\x1b[2J" + "x" * 200 + ".jpg"), prediction, 80)
    assert lines == [
        "folder/\\x1b[2J" + "x" * 200 + ".jpg  40 x 120",  # whole: it is to be found again
        "  head        Hat 0.90",
        "  other       Riding a bicycle in the rain 0.75",
    ]
    nothing = table_lines(Source("a"), prediction_of(thresholds=0.99), 80)
    assert nothing == ["a  40 x 120", "  nothing found"]
    lines = table_lines(Source("a"), prediction_of(thresholds=(0.95, 0.124, 0.5)), 80)
    assert lines[1:] == [
        "  lower body  Jeans 0.20 (threshold 0.12)",
        "  other       Riding a bicycle in the rain 0.75",
    ]


@pytest.mark.parametrize("width", [1, 40, 120])
@pytest.mark.parametrize("attributes", [PETA, RAP])
def test_the_table_is_no_wider_than_the_terminal(attributes, width):
    names = tuple(attribute.name for attribute in attributes)
    probabilities = np.linspace(0.5, 1, len(names))
    prediction = Prediction(
        names, probabilities, np.full(len(names), 0.5), ("main",) * len(names), {}, (40, 120)
    )
    _, *lines = table_lines(Source("a"), prediction, width)
    for line in lines:
        assert len(line) <= width or "," not in line[:-1]  # one that does not fit is alone
    shown = " ".join(line[len("  lower body  ") :] for line in lines)
    assert all(f"{name} {probabilities[k]:.2f}" in shown for k, name in enumerate(names) if k)
    parts = [line[2:14].strip() for line in lines if line[2] != " "]
    assert parts == list(BODY_PARTS)


def test_csv_and_json_say_what_was_predicted():
    prediction, files = prediction_of(), (io.StringIO(), io.StringIO())
    for writer in (Csv(files[0], NAMES, tuple(BOXES)), JsonLines(files[1])):
        writer.write(Source('a, "b"\x7f\udcff.jpg', "", ""), prediction)
    (row,) = csv.DictReader(io.StringIO(files[0].getvalue()))
    line = json.loads(files[1].getvalue())
    assert row.pop("path") == 'a, "b"\x7f\\udcff.jpg'
    assert line["path"] == 'a, "b"\x7f\udcff.jpg'
    assert files[1].getvalue()[:-1].isprintable()
    assert (line["width"], line["height"]) == (40, 120)
    for k, name in enumerate(NAMES):
        found = line["attributes"][name]
        assert np.float32(row.pop(name)) == np.float32(found["probability"]) == prediction.probabilities[k]
        assert found["positive"] == (prediction.probabilities[k] > 0.5)
        assert found["threshold"] == 0.5
        assert row.pop(f"{name} found") == ("yes" if found["positive"] else "no")
        assert row.pop(f"{name} level") == found["level"] == prediction.level[k]
        for level, box in BOXES.items():
            assert found["regions"][level] == [round(side, 2) for side in box]
            sides = [float(row.pop(f"{name} {level} {side}")) for side in ("left", "top", "right", "bottom")]
            assert sides == found["regions"][level]
        assert list(found["evidence"]) == ["3b", "4d", "main", "all"]
        assert found["evidence"]["3b"] == {"place": [5.0, 7.5], "box": [0.0, 0.0, 40.0, 60.0]}
        assert found["evidence"]["all"] == {"place": [35.0, 67.5], "box": [0.0, 60.0, 40.0, 120.0]}
    assert row == {}


def test_without_regions_the_level_is_the_global_branch():
    file, prediction = (
        io.StringIO(),
        Prediction(("Hat",), np.array([0.5]), np.array([0.5]), ("main",), {}, (4, 4)),
    )
    Csv(file, ("Hat",), ()).write(Source("a", "a", "a"), prediction)
    assert file.getvalue() == "path,Hat,Hat found,Hat level\na,0.5,no,main\n"
