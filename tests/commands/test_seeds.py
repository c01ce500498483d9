"""run_ALM.py --runs: several seeds of one command, what ends them, and their table."""

import json
import os
import signal

import pytest
from support.models import same

from alm import AlmError
from alm.checkpoint.restore import load_checkpoint
from utils.evaluation.seeds import read_seeds
from utils.runs.training_log import TrainingLog


@pytest.fixture
def signal_at(monkeypatch):
    """Return a function: the next run of a seed gets a signal in its first iteration."""
    iteration = TrainingLog.iteration

    def signal_at(directory, number):
        def signalled(log, *arguments, **options):
            iteration(log, *arguments, **options)
            if (directory / ".lock").exists() and not (directory / "last.pth.tar").exists():
                os.kill(os.getpid(), number)

        monkeypatch.setattr(TrainingLog, "iteration", signalled)

    return signal_at


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX")
def test_one_signal_ends_all_runs_and_they_go_on_to_a_table(train, tmp_path, signal_at):
    """A signal whose status is 0 as well. A seed's run is that of a command of its own, bit for bit."""
    runs, figures = tmp_path / "runs", tmp_path / "runs" / "figures.json"
    words = ("--runs", 2, "--resume", "auto", "--epochs", 1, "--output_dir", runs, "--json", figures)
    first, second = runs / "seed1", runs / "seed2"
    signal_at(first, signal.SIGUSR1)
    output, _ = train(*words)
    assert output.startswith(f"Run 1 of 2: seed 1, in {first}\n")
    assert output.endswith(f"; the same command with --resume auto --output_dir {runs} goes on\n")
    assert [path.name for path in runs.iterdir()] == ["seed1"]

    signal_at(second, signal.SIGINT)
    train(*words, status=130)
    assert load_checkpoint(second / "last.pth.tar")["iterations"] == 1
    assert not figures.exists()

    done = (first / "last.pth.tar").read_bytes()
    output, _ = train(*words)
    assert "Resume: all 1 epochs are done" in output
    assert (first / "last.pth.tar").read_bytes() == done
    table = f"{runs}, epoch 1 of the seeds 1, 2\n   mA          0."
    assert table in output
    record, seeds = json.loads(figures.read_text(encoding="utf-8")), read_seeds(runs)
    assert (record["seeds"], record["figures"]["f1"]["runs"]) == ([1, 2], seeds.figures["f1"])
    assert (record["figures"]["f1"]["mean"], record["figures"]["f1"]["spread"]) == seeds.summary("f1")

    train("--seed", 2, "--epochs", 1, "--output_dir", tmp_path / "alone")
    alone, together = (load_checkpoint(path / "1.pth.tar") for path in (tmp_path / "alone", second))
    assert same(alone["state_dict"], together["state_dict"])
    assert alone["best_accu"] == together["best_accu"]


@pytest.mark.slow
def test_a_run_that_fails_ends_all(train, tmp_path, monkeypatch):
    def evaluate(*_):
        raise AlmError("predictions are NaN")

    monkeypatch.setattr("alm.training.trainer.Trainer.evaluate", evaluate)
    _, errors = train("--runs", 3, "--seed", 7, "--epochs", 1, status=1)
    assert errors == "error: predictions are NaN\n"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["seed7"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--resume", "60.pth.tar"), "--resume 60.pth.tar: a checkpoint is of one run; leave out --runs"),
        (("-e", "--resume", "60.pth.tar"), "leave out --runs"),
        (("--resume", "auto"), "--resume auto looks for checkpoints in --output_dir; name it"),
        (("--report", "a.html"), "--report is a file of one run, and --runs 3 are several; leave one out"),
        (("--fingerprint", "a.json"), "--fingerprint is a file of one run"),
        (("--log_json", "a.json"), "--log_json is a file of one run"),
        (("--seed", 2**63 - 2), f"goes up to {2**63}; lower it, {2**63 - 1} is the largest"),
        (("--runs", 1), "'1' is not a whole number from 2 to"),
        (("--json", "no/a.json"), "a.json: there is no such directory"),
        (("--data_root", "PETA", "--train_list", "a", "--json", "a"), "a: the command reads it"),
    ],
)
def test_what_makes_no_sense_for_several_runs_is_refused(run_here, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    output, errors = run_here("--experiment", "peta", "--runs", 3, *options, status=2)
    assert (output, words in errors) == ("", True)
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
