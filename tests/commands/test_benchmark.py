"""benchmark.py: the comparison it rests on, its table, and the command on a size that takes seconds."""

import json
import os
import re
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
from support import REPOSITORY

from alm import AlmError
from run_scripts import measure
from run_scripts.benchmark import GOALS, Goal, figure_of, in_own_process, row

COMMAND = REPOSITORY / "run_scripts" / "benchmark.py"
ALL_GOALS = [goal for goals in GOALS.values() for goal in goals]


def run(*options, status=0):
    command = [sys.executable, str(COMMAND), *map(str, options)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == status, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    return process.stdout, process.stderr


@pytest.mark.slow
def test_command_prints_and_writes_every_figure(tmp_path):
    output, errors = run("--batch_size", 2, "--attributes", 3, "--rounds", 2, "--json", tmp_path / "x.json")
    record = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    lines = output.splitlines()
    assert "batch 2, 3 attributes, amp off" in lines[0] == record["machine"]
    assert lines[3:] == [row(figure) for figure in record["figures"]]
    assert [figure["goal"] for figure in record["figures"]] == [str(goal) for goal in ALL_GOALS]
    assert "training: 30 attributes / 3 " in output
    for figure, goal in zip(record["figures"], ALL_GOALS, strict=True):
        if "bf16" in figure["what"] and not figure["rounds"]:
            continue
        assert figure["rounds"] == (1 if "memory" in figure["what"] else 2)
        assert 0 < figure["lower"] <= figure["median"] <= figure["upper"]
        assert figure["met"] == goal.met(figure["median"])
    assert errors == ""


def test_ratios_time_in_turn(monkeypatch):
    """On a clock that only the steps move, and that runs slower every round."""
    now, order, pace = 0.0, [], 1.0

    def step(name, seconds):
        def run():
            nonlocal now, pace
            now += seconds * pace
            order.append(name)
            if len(order) % 3 == 0:
                pace *= 2

        return run

    monkeypatch.setattr(measure, "clock", lambda options: now)
    slow, fast, shared = step("slow", 6), step("fast", 1), step("shared", 2)
    by_shared, of_shared = measure.ratios(Namespace(rounds=3), (slow, shared), (shared, fast))
    assert by_shared.tolist() == [3, 3, 3]
    assert of_shared.tolist() == [2, 2, 2]
    assert order[:6] == ["slow", "shared", "fast", "fast", "shared", "slow"]
    assert len(order) == 3 * (1 + 3)


@pytest.mark.parametrize(
    ("goal", "values", "expected"),
    [
        (Goal("a: {many} / {few}", 1.25), [1.2, 1.3, 1.4], "1.3 (1.25-1.35)       <= 1.25 missed"),
        (Goal("a: {many} / {few}", 1.3), [1.2, 1.3, 1.4], "1.3 (1.25-1.35)       <= 1.3"),
        (Goal("a: {many} / {few}", 20, at_least=True), [19.0], "19                    >= 20 missed"),
        (Goal("a: {many} / {few}", 0.6), [], "not on this device    <= 0.6"),
    ],
)
def test_rows(goal, values, expected):
    figure = figure_of(goal, np.array(values), Namespace(attributes=5))
    assert row(figure).split(maxsplit=4)[:4] == ["a:", "50", "/", "5"]
    assert row(figure).endswith(f" {expected}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rounds", 0), r"--rounds: '0' is not a whole number from 1 to"),
        (("--batch_size", "many"), r"--batch_size: 'many' is not a whole number from 1"),
        (("--json", "nowhere/x.json"), r"--json nowhere.x\.json: there is no such directory"),
        (("--json", REPOSITORY), r"--json .*: that is a directory; name a file"),
        (("--json", ""), r"--json .*: that is a directory; name a file"),
        (("--amp", "int8"), r"--amp: invalid choice"),
    ],
)
def test_bad_option_is_a_clear_error(options, message):
    output, errors = run(*options, status=2)
    assert re.search(message, errors)
    assert output == ""


def die(_options):
    os._exit(9)


@pytest.mark.slow
def test_a_process_that_dies_is_a_clear_error():
    with pytest.raises(AlmError, match=r"a measuring process died.*lower --batch_size"):
        in_own_process(die, Namespace(threads=1))


@pytest.mark.slow
def test_absent_device_is_a_clear_error():
    output, errors = run("--device", "sdaa", status=1)
    assert errors.startswith("error: --device sdaa: torch_sdaa is not installed")
    assert output == ""
