"""benchmark.py: the comparison it rests on, its table, and the command on a size that takes seconds."""

import json
import os
import signal
import threading
import time
from argparse import Namespace
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from support import REPOSITORY

import alm
from alm import AlmError
from run_scripts import benchmark
from run_scripts.benchmark import GOALS, Goal, figure_of, gigabytes_of_training, in_own_process, ratios, row
from run_scripts.cli.main import exit_on_signals

ALL_GOALS = [goal for goals in GOALS.values() for goal in goals]


@pytest.mark.slow
def test_command_prints_and_writes_every_figure(start_here, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "in_own_process", lambda measurement, options: measurement(options))
    options = ("--batch_size", 2, "--attributes", 3, "--rounds", 1, "--json", tmp_path / "x.json")
    output, errors = start_here(benchmark, *options)
    record = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    lines = output.splitlines()
    assert "batch 2, 3 attributes, amp off" in lines[0] == record["machine"]
    assert lines[3:] == [row(figure) for figure in record["figures"]]
    assert [figure["goal"] for figure in record["figures"]] == [str(goal) for goal in ALL_GOALS]
    assert "training: 30 attributes / 3 " in output
    for figure, goal in zip(record["figures"], ALL_GOALS, strict=True):
        if "bf16" in figure["what"] and not figure["rounds"]:
            continue
        assert figure["rounds"] == 1
        assert 0 < figure["lower"] == figure["median"] == figure["upper"]
        assert figure["met"] == goal.met(figure["median"])
    assert errors == ""


@pytest.mark.slow
def test_ranks_are_started_and_their_exchange_is_measured(start_here, tmp_path):
    """All gradients are exchanged, once; the backbone's classes of ImageNet are not among them."""
    options = ("--batch_size", 3, "--attributes", 3, "--rounds", 2, "--json", tmp_path / "x.json")
    output, errors = start_here(benchmark, "--ranks", 2, *options)
    record = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert output.splitlines()[0] == record["machine"]
    assert record["machine"].endswith("batch 3, 3 attributes, amp off, 2 ranks")
    assert output.splitlines()[3:] == [row(figure) for figure in record["figures"]]
    without, growth, megabytes, alone, hidden = (figure["median"] for figure in record["figures"])
    parameters = alm.build_model("alm", 3).parameters()
    assert megabytes == pytest.approx(sum(4 * parameter.numel() for parameter in parameters) / 1e6)
    assert min(without, growth, alone) > 0
    assert np.isfinite(hidden)
    assert errors == ""


def test_forms_of_a_trained_network_are_timed_instead(start_here, monkeypatch):
    """As predict.py --benchmark times them: tests/deployment/test_benchmark.py."""
    calls = []
    monkeypatch.setattr(benchmark, "benchmark", lambda *paths, **options: calls.append((paths, options)))
    output, errors = start_here(benchmark, "--deploy", "60.pth.tar", "--threads", 1)
    assert (output, errors) == ("", "")
    assert calls == [(("60.pth.tar",), {"device": "cpu", "threads": 1})]


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

    monkeypatch.setattr(benchmark, "clock", lambda options: now)
    slow, fast, shared = step("slow", 6), step("fast", 1), step("shared", 2)
    by_shared, of_shared = ratios(Namespace(rounds=3), (slow, shared), (shared, fast))
    assert by_shared.tolist() == [3, 3, 3]
    assert of_shared.tolist() == [2, 2, 2]
    assert order[:6] == ["slow", "shared", "fast", "fast", "shared", "slow"]
    assert len(order) == 3 * (1 + 3)


@pytest.mark.parametrize(
    ("goal", "values", "expected"),
    [
        (Goal("a: {many} / {few}", 1.25), [1.2, 1.3, 1.4], "1.3 (1.25 to 1.35)        <= 1.25 missed"),
        (Goal("a: {many} / {few}", 1.3), [1.2, 1.3, 1.4], "1.3 (1.25 to 1.35)        <= 1.3"),
        (Goal("a: {many} / {few}", 20, at_least=True), [19.0], "19                        >= 20 missed"),
        (Goal("a: {many} / {few}"), [-1.2, -1.1, -1.0], "-1.1 (-1.15 to -1.05)"),
        (Goal("a: {many} / {few}", 0.6), [], "not on this device        <= 0.6"),
    ],
)
def test_a_row_has_the_spread_and_says_if_the_goal_is_missed(goal, values, expected):
    figure = figure_of(goal, np.array(values), Namespace(attributes=5))
    assert row(figure).split(maxsplit=4)[:4] == ["a:", "50", "/", "5"]
    assert row(figure).endswith(f" {expected}")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--rounds", 0), "--rounds: '0'"),
        (("--json", "nowhere/x.json"), "no such directory"),
        (("--json", REPOSITORY), "is a directory"),
        (("--amp", "int8"), "--amp: invalid choice"),
        (("--deploy", "a.pth.tar", "--rounds", 3), "--rounds has no meaning for --deploy"),
        (("--deploy", "a.pth.tar", "--ranks", 2), "--ranks has no meaning for --deploy"),
        (("--ranks", 1), "--ranks: '1' is not a whole number from 2"),
        (("--ranks", 5, "--batch_size", 4), "--ranks 5: --batch_size 4 is of all of them together"),
    ],
)
def test_bad_option_is_a_clear_error(start_here, options, word):
    output, errors = start_here(benchmark, *options, status=2)
    assert word in errors
    assert (output, errors.count("\n")) == ("", 1)


def sleep(_options, _rank):
    time.sleep(100)


@pytest.mark.slow
def test_a_signal_ends_the_processes_of_all_ranks():
    since = time.monotonic()
    threading.Timer(2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(SystemExit), exit_on_signals():
        in_own_process(sleep, Namespace(threads=1, ranks=2))
    assert not active_children()
    assert time.monotonic() - since < 50


def die(_options):
    os._exit(9)


@pytest.mark.slow
def test_a_measurement_has_a_process_of_its_own():
    options = Namespace(
        threads=1,
        ranks=None,
        device=torch.device("cpu"),
        amp="off",
        attributes=3,
        batch_size=2,
        backbone="bn_inception",
    )
    [gigabytes] = in_own_process(gigabytes_of_training, options)
    assert 0 < gigabytes[0] < 2
    with pytest.raises(AlmError, match=r"a measuring process died.*lower --batch_size"):
        in_own_process(die, options)
