"""--resume auto: one command that starts, goes on, and finds that all is done; and signals that end a run."""

import os
import signal

import pytest
import torch

from run_scripts.cli.main import Interruption
from utils.runs.log_reader import read_losses


@pytest.mark.slow
def test_one_command_starts_goes_on_and_is_done(train, tmp_path):
    run = tmp_path / "run"
    output, _ = train("--resume", "auto", "--epochs", 1)
    assert f"Resume: nothing in {run} yet; a new run\n" in output
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert "Weights: from" in output
    losses = read_losses(run / "train.log").losses
    assert sorted(losses) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    before = (run / "last.pth.tar").read_bytes()
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert "Resume: all 2 epochs are done\n" in output
    assert (run / "last.pth.tar").read_bytes() == before
    assert read_losses(run / "train.log").losses == losses


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_passed_over(train, tmp_path):
    run = tmp_path / "run"
    train("--resume", "auto", "--epochs", 2, "--save_freq", 1)
    losses = read_losses(run / "train.log").losses
    for name in ("last.pth.tar", "2.pth.tar"):
        path = run / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-100])
    (run / "best.pth.tar").unlink(missing_ok=True)
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert f"Resume: passed over {run / 'last.pth.tar'}: " in output
    assert f"Weights: from {run / '1.pth.tar'}" in output
    assert read_losses(run / "train.log").losses == losses


@pytest.mark.slow
def test_lists_that_have_changed_are_refused(train, four_pictures, tmp_path):
    train("--epochs", 1)
    changed = tmp_path / "changed.txt"
    text = (four_pictures / "PETA_train_list.txt").read_text(encoding="utf-8")
    changed.write_text(text.replace(" 1 ", " 0 ", 1), encoding="utf-8")
    options = ("--resume", "auto", "--epochs", 2, "--train_list", changed)
    _, errors = train(*options, status=1)
    assert errors.startswith(f"error: {changed}: its pictures or labels are not those that ")
    assert "--force" in errors
    train(*options, "--force")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e",), "name the checkpoint that -e is to evaluate"),
        (("--start-epoch", "3"), "leave out --start-epoch"),
    ],
)
def test_what_makes_no_sense_with_auto_is_refused(train, options, words):
    _, errors = train("--resume", "auto", *options, status=2)
    assert errors.startswith("error: --resume auto: ")
    assert words in errors


def test_auto_needs_a_place_to_look(run_here):
    _, errors = run_here("--experiment", "peta", "--resume", "auto", status=2)
    assert "--resume auto looks for checkpoints in --output_dir; name it" in errors


@pytest.mark.slow
def test_the_pictures_of_a_step_that_is_not_finite_are_named(train, four_pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("alm.WeightedBCELoss.forward", lambda self, logits, targets: logits.sum() * torch.nan)
    _, errors = train("--epochs", 1, status=1)
    assert "the loss is nan at epoch 0 iteration 0; start again with a lower --lr" in errors
    names = [line.split()[0] for line in (four_pictures / "PETA_train_list.txt").read_text().splitlines()]
    (line,) = [
        line
        for line in (tmp_path / "run" / "train.log").read_text(encoding="utf-8").splitlines()
        if line.startswith("The pictures of that step: ")
    ]
    named = line.removeprefix("The pictures of that step: ").split()
    assert len(named) == 2
    assert set(named) <= set(names)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX")
@pytest.mark.parametrize(
    ("number", "status"), [("SIGUSR1", 0), ("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)]
)
def test_a_first_signal_is_taken_note_of_and_a_second_one_ends_the_process(number, status, capfd):
    number = getattr(signal, number)
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption()
        os.kill(os.getpid(), number)
        assert interruption()
        assert interruption.status == status
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before
    assert f"{signal.Signals(number).name}: ending after this iteration" in capfd.readouterr().err
