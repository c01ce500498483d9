"""run_ALM.py on several ranks, as torchrun starts it: signals, failures, restarts, and the figures."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from support.commands import LOSS, TABLE
from support.ranks import finished, torchrun

from alm.checkpoint.restore import load_checkpoint
from utils.evaluation.significance import FIGURES
from utils.runs.log_reader import read_losses

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")]
PROGRAM = "run_scripts/run_ALM.py"


@pytest.fixture
def start(pictures, tmp_path):
    """Return a function that trains the baseline on several ranks, four steps an epoch."""

    def start(ranks, *words, options=()):
        return torchrun(
            ranks, PROGRAM, "--approach", "bn_inception", "--experiment", "peta", "--data_root", pictures,
            "--batch_size", 3, "--workers", 0, "--device", "cpu", "--output_dir", tmp_path / "run", *words,
            options=options,
        )  # fmt: skip

    return start


def ranks_of(process):
    """Return the process ids of torchrun's ranks, in their order."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    programs = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, words in sorted(programs.items()) if b"run_ALM.py" in words]


def wait_for_lines(process, log, count, seconds=120):
    """Wait until a log has so many iterations' lines."""
    end = time.monotonic() + seconds
    while not log.exists() or len(LOSS.findall(log.read_text())) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_signal_ends_all_ranks_after_the_same_step_and_any_number_goes_on(start, run_here, tmp_path):
    log, last = tmp_path / "run" / "train.log", tmp_path / "run" / "last.pth.tar"
    done = 0
    for ranks, resume, target in ((2, (), 1), (3, ("--resume", "auto"), None)):
        training = start(ranks, "--epochs", 50, *resume)
        wait_for_lines(training, log, done + 2)
        pids = ranks_of(training)
        os.kill(training.pid if target is None else pids[target], signal.SIGTERM)
        status, output, errors = finished(training)
        assert status != 0
        assert output.count("Stopped: SIGTERM; saved") == 1, output + errors
        assert not any(map(is_running, pids))
        done = len(LOSS.findall(log.read_text()))
        assert load_checkpoint(last)["iterations"] == done
    output, _ = run_here("--resume", "auto", "--output_dir", tmp_path / "run", "--epochs", 1 + done // 4)
    steps = [(int(epoch), int(iteration)) for epoch, iteration, _ in LOSS.findall(log.read_text())]
    assert steps == [divmod(number, 4) for number in range(len(steps))]
    assert len(steps) > done


def test_a_killed_rank_is_started_again_and_the_group_goes_on_by_itself(start, tmp_path):
    log = tmp_path / "run" / "train.log"
    training = start(2, "--epochs", 2, "--save_every_iters", 2, "--sync_bn", options=("--max-restarts", 3))
    for place, lines in ((1, 3), (0, 6)):
        wait_for_lines(training, log, lines)
        os.kill(ranks_of(training)[place], signal.SIGKILL)
    status, output, errors = finished(training)
    assert status == 0, output + errors
    found = {}
    for epoch, iteration, loss in LOSS.findall(log.read_text()):
        assert found.setdefault((int(epoch), int(iteration)), loss) == loss
    assert list(found) == [divmod(number, 4) for number in range(8)]
    assert load_checkpoint(tmp_path / "run" / "2.pth.tar")["iterations"] == 8
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_an_evaluation_is_that_of_one_process_to_the_last_digit(trained, run_here, tmp_path):
    """Three batches on two ranks: one of them has no third one."""
    common = (
        "-e",
        "--resume",
        trained[0] / "2.pth.tar",
        "--batch_size",
        2,
        "--workers",
        0,
        "--device",
        "cpu",
    )

    def files(name):
        return ("--json", tmp_path / f"{name}.json", "--predictions", tmp_path / f"{name}.csv",
                "--report", tmp_path / f"{name}.html")  # fmt: skip

    torch.set_num_threads(1)
    expected, _ = run_here(*common, *files("one"))
    status, output, errors = finished(torchrun(2, PROGRAM, *common, *files("two")))
    assert status == 0, output + errors
    for kind in ("json", "csv"):
        assert (tmp_path / f"two.{kind}").read_bytes() == (tmp_path / f"one.{kind}").read_bytes()
    assert (tmp_path / "two.html").exists()
    assert TABLE.findall(output) == TABLE.findall(expected)
    assert re.findall(r"Loss .*| \* Accu .*", output) == re.findall(r"Loss .*| \* Accu .*", expected)


def test_a_rank_that_fails_says_why_once_and_what_was_trained_is_saved(start, data, tmp_path):
    names = sorted((data / "synthetic" / "train").iterdir())
    training = start(2, "--epochs", 20, "--data_root", data)
    wait_for_lines(training, tmp_path / "run" / "train.log", 1)
    for name in names:
        name.write_bytes(b"no picture")
    status, output, errors = finished(training, 60)
    assert status == 1
    assert len(re.findall(r"^error: rank \d: cannot read picture", errors, re.M)) == 1, errors
    assert "Ended: rank" in (tmp_path / "run" / "train.log").read_text()
    done = len(LOSS.findall(output))
    assert load_checkpoint(tmp_path / "run" / "last.pth.tar")["iterations"] == done


def test_no_rank_waits_for_ever_for_one_that_hangs(start, tmp_path):
    log = tmp_path / "run" / "train.log"
    training = start(2, "--epochs", 50, "--timeout", 0.1)
    wait_for_lines(training, log, 1)
    pids = ranks_of(training)
    os.kill(pids[1], signal.SIGSTOP)
    since = time.monotonic()
    while is_running(pids[0]):
        assert time.monotonic() - since < 30
        time.sleep(0.1)
    os.kill(pids[1], signal.SIGKILL)  # as torchrun does, after 30 seconds
    status, _, errors = finished(training, 60)
    assert status == 1
    line = "another rank has ended, or did not answer within 0.1 minutes (--timeout)"
    assert errors.count(f"error: {line}") == 1, errors
    assert f"Ended: {line}" in log.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--lr", "much"], "error: argument"),
        (["--batch_size", "1"], "error: --batch_size 1 is cut into 2 parts"),
    ],
)
def test_what_is_wrong_on_all_ranks_is_told_once(start, words, line):
    status, output, errors = finished(start(2, *words), 120)
    assert (status, output) == (1, "")
    assert errors.count(line) == 1, errors


def test_each_rank_may_log_and_the_figures_of_an_epoch_are_those_of_what_is_saved(start, run_here, tmp_path):
    run = tmp_path / "run"
    status, output, errors = finished(start(2, "--epochs", 1, "--log_ranks"))
    assert status == 0, output + errors
    first, second = (
        read_losses(run / name, rank=rank) for rank, name in enumerate(("train.log", "train.1.log"))
    )
    assert len(first.losses) == 4
    assert first.losses == second.losses
    torch.set_num_threads(1)
    run_here("-e", "--resume", run / "1.pth.tar", "--json", tmp_path / "e.json")
    trained, evaluated = (
        json.loads(path.read_text()) for path in (run / "metrics.jsonl", tmp_path / "e.json")
    )
    for name in (*FIGURES, "loss", "accu"):
        assert evaluated[name] == pytest.approx(trained[name], rel=1e-6, nan_ok=True), name


def test_if_torchrun_is_killed_its_ranks_save_and_end(start, tmp_path):
    log = tmp_path / "run" / "train.log"
    training = start(2, "--epochs", 50)
    wait_for_lines(training, log, 1)
    pids = ranks_of(training)
    training.kill()
    end = time.monotonic() + 60
    try:
        while any(map(is_running, pids)):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        for pid in filter(is_running, pids):
            os.kill(pid, signal.SIGKILL)
    text = log.read_text()
    assert text.splitlines()[-1].startswith("Ended: torchrun is gone"), text[-500:]
    assert load_checkpoint(tmp_path / "run" / "last.pth.tar")["iterations"] == len(LOSS.findall(text))
