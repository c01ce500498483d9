"""run_ALM.py --resume: what goes on, and from which checkpoints nothing does; what an ended run leaves."""

import json
import re
import shutil
import sys
import weakref
from argparse import Namespace

import pytest
import torch
from support.commands import TABLE, damaged, losses
from support.models import same
from support.tiny import run_of, spoil

from alm import AlmError
from alm.checkpoint import restore
from alm.checkpoint.restore import load_checkpoint
from alm.training.run import TrainingRun
from run_scripts.training import resume
from utils.runs import sinks as log_sinks
from utils.runs.log_reader import read_losses


@pytest.mark.slow
def test_nothing_but_resume_goes_on_bit_for_bit(trained, run_here, tmp_path):
    """Every option comes from the checkpoint; what a machine reads with changes no number."""
    directory, (output, _) = trained
    options = ("--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--workers", 2)
    resumed, errors = run_here(*options)
    assert losses(resumed) == losses(output)[3:]
    assert TABLE.findall(resumed) == TABLE.findall(output)[1:]
    assert f"Learning Rate: {0.0002 * 0.1}" in resumed
    assert [line for line in resumed.split("\n") if line.startswith("Opti")] == [
        f"Option: --workers 2, 0 in {directory / '1.pth.tar'}",
        f"Optimizer: adam with its state in {directory / '1.pth.tar'}",
    ]
    assert errors == ""
    first, second = (load_checkpoint(path / "2.pth.tar") for path in (directory, tmp_path / "run"))
    assert all(
        torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in first["state_dict"]
    )
    assert (first["best_ma"], first["iterations"]) == (second["best_ma"], second["iterations"])


@pytest.mark.slow
def test_a_modern_run_goes_on_bit_for_bit(train, run_here, tmp_path):
    """With all that a recipe may have: its schedule, crops, average, and a head apart."""
    recipe = ("--recipe", "modern", "--ema", 0.9, "--head_lr", 0.002)
    output, _ = train("--epochs", 2, "--save_every_iters", 1, "--keep", "all", *recipe)
    run, other = tmp_path / "run", tmp_path / "other"
    resumed, _ = run_here("--resume", run / "0+1.pth.tar", "--output_dir", other)
    assert losses(resumed) == losses(output)[1:]
    assert TABLE.findall(resumed) == TABLE.findall(output)
    first, second = (load_checkpoint(directory / "2.pth.tar") for directory in (run, other))
    for part in ("state_dict", "raw_weights"):
        assert same(first[part], second[part])
    assert not same(first["state_dict"], first["raw_weights"])
    moments = [str(checkpoint["optimizer"]) for checkpoint in (first, second)]
    assert moments[0] == moments[1]


@pytest.mark.slow
def test_an_option_that_is_named_is_used_and_told(trained, run_here, tmp_path):
    directory, (output, _) = trained
    resumed, _ = run_here(
        "--resume", directory / "1.pth.tar", "--weight_decay", "0.5", "--ratios", "list", "--start-epoch",
        "0", "--output_dir", tmp_path / "run", "--max_iters", "2", "--epochs", "1",
    )  # fmt: skip
    path = directory / "1.pth.tar"
    for line in (f"--weight_decay 0.5, 0.01 in {path}", f"--ratios list, published in {path}",
                 f"--epochs 1, 2 in {path}"):  # fmt: skip
        assert f"Option: {line}\n" in resumed
    assert [key[:2] for key in losses(resumed)] == [(0, 0), (0, 1)]
    assert losses(resumed)[0][2] != losses(output)[0][2]
    saved = load_checkpoint(tmp_path / "run" / "1.pth.tar")
    assert saved["optimizer"]["param_groups"][0]["weight_decay"] == saved["options"]["weight_decay"] == 0.5
    assert saved["positive_ratio"] != load_checkpoint(path)["positive_ratio"]


@pytest.mark.slow
def test_published_checkpoint_is_evaluated_and_gone_on_from(untrained, pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--resume", untrained)
    assert "Sampling: align_corners True (auto)" in run_here(*common, "-e")[0]
    assert "Sampling: align_corners False (false)" in run_here(*common, "-e", "--align_corners", "false")[0]
    output, _ = run_here(*common, "--epochs", 41, "--max_iters", 1, "--output_dir", tmp_path / "run")
    assert losses(output)[0][:2] == (40, 0)
    assert load_checkpoint(tmp_path / "run" / "41.pth.tar")["align_corners"] is True
    _, errors = run_here(*common, "--epochs", 40, status=1)
    assert re.search(r"40 of 40 are done\. .*-e.*--init_from instead of --resume.*--epochs", errors)


@pytest.mark.slow
def test_baseline_warms_alm_up(pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--max_iters", 1,
              "--batch_size", 4)  # fmt: skip
    run_here(*common, "--approach", "bn_inception", "--output_dir", tmp_path / "baseline")
    checkpoint = tmp_path / "baseline" / "1.pth.tar"
    output, _ = run_here(*common, "--init_from", checkpoint, "--output_dir", tmp_path / "alm")
    assert f"Weights: backbone and global classifier from {checkpoint}, the rest from scratch" in output


@pytest.mark.slow
def test_a_checkpoint_that_is_wrong_inside_is_one_line_and_leaves_nothing(trained, tmp_path, run_here):
    """Its optimizer's state, which is looked at last; the other parts have their tests in checkpoint/."""
    directory, _ = trained
    good = torch.load(directory / "1.pth.tar", weights_only=True)
    state = {**good["optimizer"]["state"], 0: {"exp_avg": torch.zeros(2)}}
    parts = {"optimizer": {**good["optimizer"], "state": state}}
    path = damaged(directory / "1.pth.tar", tmp_path / "1.pth.tar", **parts)
    _, errors = run_here("--resume", path, "--output_dir", tmp_path / "run", status=1)
    assert errors.startswith(f"error: {path}: the optimizer's state does not fit this model: parameter 0 has")
    assert len(errors.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["1.pth.tar"]


@pytest.mark.slow
def test_another_runs_directory_is_refused(trained, pictures, run_here):
    directory, _ = trained
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 3, "--output_dir", directory)
    assert "--resume" in run_here(*common, status=1)[1]
    assert "2.pth.tar" in run_here(*common, "--resume", directory / "1.pth.tar", status=1)[1]
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


@pytest.mark.slow
def test_the_checkpoint_is_read_once_and_dropped_when_it_is_restored(train, tmp_path, monkeypatch):
    """ALM's has 180 MB, which would lie beside the weights and moments for the whole run."""
    train("--epochs", 2, "--save_freq", 1)
    whole, read, left = [], [], []
    load, fit = restore.safe_load, TrainingRun.fit

    def loaded(path, tensors=True):
        content = load(path, tensors)
        if tensors:
            whole.append(path.name)
            read.extend(map(weakref.ref, content["state_dict"].values()))
        return content

    def fitted(*arguments):
        left.append(sum(tensor() is not None for tensor in read))
        return fit(*arguments)

    monkeypatch.setattr(restore, "safe_load", loaded)
    monkeypatch.setattr(TrainingRun, "fit", fitted)
    train("--resume", "auto", "--epochs", 3)
    assert whole == ["last.pth.tar"]
    train("--resume", tmp_path / "run" / "last.pth.tar", "--epochs", 4)
    assert whole == ["last.pth.tar"] * 2
    assert left == [0, 0]
    assert len(read) > 900


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"optimizer": "sgd", "freeze": 3}, "with its state in 4.pth.tar"),
        ({"optimizer": "sgd"}, "starts anew; the checkpoint's is sgd, with --freeze 0"),
        ({"optimizer": "adam", "freeze": 3}, "starts anew; the checkpoint's is adam, with --freeze 3"),
        ({}, "starts anew; a published checkpoint holds no state of it"),
    ],
)
def test_moments_go_on_if_the_optimizer_moves_the_same_weights(tmp_path, theirs, words):
    run = run_of(tmp_path, 5)
    checkpoint = run.state_dict() | {"options": theirs}
    options = Namespace(optimizer="sgd", freeze=3, resume="4.pth.tar")
    assert resume.restore(run, options, checkpoint, resume.position(checkpoint)) == f"Optimizer: sgd {words}"


# --resume auto.


@pytest.mark.slow
def test_one_command_starts_goes_on_and_is_done(train, tmp_path):
    run = tmp_path / "run"
    output, _ = train("--resume", "auto", "--epochs", 1)
    assert f"Resume: nothing in {run} yet; a new run\n" in output
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert "Weights: from" in output
    assert {"options.json", "options.jsonl"} < {path.name for path in run.iterdir()}
    steps = read_losses(run / "train.log").losses
    assert sorted(steps) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    before = (run / "last.pth.tar").read_bytes()
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert "Resume: all 2 epochs are done\n" in output
    assert (run / "last.pth.tar").read_bytes() == before
    assert read_losses(run / "train.log").losses == steps


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_passed_over(train, tmp_path):
    """Only reading all of it shows the damage; it must not count as a later one, which forbids to go on."""
    run = tmp_path / "run"
    train("--resume", "auto", "--epochs", 2, "--save_freq", 1)
    steps = read_losses(run / "train.log").losses
    (run / "best.pth.tar").unlink(missing_ok=True)
    spoil(run / "last.pth.tar", "classifier.weight")  # which 2.pth.tar is, too
    output, _ = train("--resume", "auto", "--epochs", 2)
    assert f"Resume: passed over {run / 'last.pth.tar'}: " in output
    assert f"Weights: from {run / '1.pth.tar'}" in output
    assert read_losses(run / "train.log").losses == steps


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e", "--output_dir", "a"), "name the checkpoint that -e is to evaluate"),
        (("--start-epoch", "3", "--output_dir", "a"), "leave out --start-epoch"),
        ((), "looks for checkpoints in --output_dir; name it"),
    ],
)
def test_what_makes_no_sense_with_auto_is_refused(run_here, options, words):
    _, errors = run_here("--experiment", "peta", "--resume", "auto", *options, status=2)
    assert errors.startswith("error: --resume auto")
    assert words in errors


# What a run that was interrupted left.


@pytest.mark.slow
def test_a_best_that_a_killed_run_left_is_not_written_over(train, run_here, tmp_path):
    run = tmp_path / "run"
    train("--epochs", 2, "--save_freq", 1)
    damaged(run / "2.pth.tar", run / "best.pth.tar", epoch=3, best_ma=0.9)  # then it was killed
    before = (run / "best.pth.tar").read_bytes()
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 3}\n')
    output, _ = run_here("--resume", run / "2.pth.tar", "--epochs", 4)
    assert f"Best: {run / 'best.pth.tar'} is of epoch 3, later than 2; kept as best.3.pth.tar\n" in output
    assert output.endswith(f"Run: {run}\n")
    assert (run / "best.3.pth.tar").read_bytes() == before
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]


@pytest.mark.slow
def test_scalars_go_on_where_the_checkpoint_was(train, run_here, tmp_path, monkeypatch):
    told = []

    class Scalars:
        def __init__(self, folder, first):
            told.append(("first", first))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add(self, metrics, step):
            if "train.loss" in metrics:
                told.append(step)

    monkeypatch.setattr("utils.runs.training_log.Scalars", Scalars)
    train("--epochs", 2, "--save_freq", 1, "--tensorboard", tmp_path / "scalars")
    checkpoint = tmp_path / "run" / "1.pth.tar"
    run_here("--resume", checkpoint, "--tensorboard", tmp_path / "scalars", "--output_dir", tmp_path / "b")
    assert told == [("first", 0), 0, 1, 2, 3, ("first", 2), 2, 3]
    told.clear()
    run_here("-e", "--resume", checkpoint, "--tensorboard", tmp_path / "scalars")
    assert told == [("first", 0)]  # an evaluation hides nothing of what was trained


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--json", "--report"])
def test_figures_that_cannot_be_written_cost_no_training(train, tmp_path, monkeypatch, option):
    """They are written when there is room. If there is none to the end, the exit status says so."""

    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("utils.runs.training_log.write_text", full)
    with pytest.warns(UserWarning, match=r"figures: No space left on device; the next evaluation"):
        output, errors = train("--epochs", 2, option, tmp_path / "figures", status=1)
    assert "Report:" not in output
    assert errors.endswith("figures: No space left on device; make room, or name another place\n")
    assert load_checkpoint(tmp_path / "run" / "last.pth.tar")["epoch"] == 2


@pytest.mark.slow
def test_a_run_that_was_stopped_has_the_report_of_all_of_it(train, tmp_path):
    report = tmp_path / "report.html"
    train("--epochs", 1, "--report", report)
    train("--epochs", 2, "--report", report, "--resume", "auto")
    page = report.read_text(encoding="utf-8")
    assert "<title>peta: bn_inception, epoch 2</title>" in page
    assert re.findall(r'<th scope="row">(\d)</th>', page) == ["1", "2"]
    training = re.search(r'<path class="curve c0" d="M([^"H]+)"', page)[1]
    assert len(training.split("L")) == 4  # steps, of both epochs


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--report", "report.html"), ("--runs", 2)])
def test_what_is_about_evaluations_is_refused_without_a_list(
    train, four_pictures, tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    shutil.copytree(four_pictures, data, ignore=shutil.ignore_patterns("PETA_test_list.txt"))
    with pytest.warns(UserWarning, match="no evaluation list"):
        _, errors = train("--data_root", data, *words, status=1)
    assert re.fullmatch(rf"error: {words[0]} .*--val_list\n", errors)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
def test_the_log_ends_with_the_reason(train, tmp_path, monkeypatch):
    def evaluate(*_):
        raise AlmError("predictions are NaN")

    monkeypatch.setattr("alm.training.trainer.Trainer.evaluate", evaluate)
    train("--epochs", 1, status=1)
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == "Ended: predictions are NaN"


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--tensorboard", "--log_json"])
def test_a_place_that_cannot_be_written_leaves_nothing(train, tmp_path, monkeypatch, option):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    monkeypatch.setattr(log_sinks.EventStream, "write", full)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", log_sinks)  # whether it is installed or not
    monkeypatch.setattr(log_sinks, "SummaryWriter", None, raising=False)
    place = tmp_path / "file" / "scalars" if option == "--tensorboard" else tmp_path / "log.json"
    _, errors = train("--epochs", 1, option, place, status=1)
    assert errors.startswith("error: cannot write ")
    assert str(place) in errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def with_options(checkpoint, path, **options):
    """Write a copy of a checkpoint with some of its options replaced."""
    return damaged(checkpoint, path, options=load_checkpoint(checkpoint)["options"] | options)


@pytest.mark.slow
def test_a_checkpoint_names_no_file_to_write(train, run_here, tmp_path):
    """Neither that of another's, nor of one's own first run, whose figures a second one would write over."""
    (tmp_path / "figures.json").write_text("precious", encoding="utf-8")
    train("--epochs", 1)
    figures = str(tmp_path / "figures.json")
    path = with_options(
        tmp_path / "run" / "1.pth.tar", tmp_path / "hostile.pth.tar", json=figures, log_json=figures,
        predictions=figures, tensorboard=str(tmp_path / "tb"), cache="auto",
    )  # fmt: skip
    before = {path.name for path in tmp_path.iterdir()}
    run_here("-e", "--resume", path)
    run_here("--resume", path, "--epochs", 2, "--output_dir", tmp_path / "next")
    assert (tmp_path / "figures.json").read_text(encoding="utf-8") == "precious"
    assert {path.name for path in tmp_path.iterdir()} == before | {"next"}
    assert load_checkpoint(tmp_path / "next" / "2.pth.tar")["options"]["cache"] == "none"


@pytest.mark.slow
def test_a_checkpoint_of_another_machine_says_which_option_to_name(train, run_here, tmp_path):
    train("--epochs", 1)
    path = tmp_path / "sdaa.pth.tar"
    with_options(tmp_path / "run" / "1.pth.tar", path, device="sdaa", lr=float("nan"))
    common = ("--resume", path, "--epochs", 2, "--output_dir", tmp_path / "next")
    _, errors = run_here(*common, status=1)
    assert re.search(r"its option --lr is nan, not a number above 0; .*--lr", errors)
    _, errors = run_here(*common, "--lr", "1e-4", status=1)
    assert errors.startswith("error: --device sdaa: ")
    assert errors.endswith(f". {path} was trained with --device sdaa\n")
    run_here(*common, "--lr", "1e-4", "--device", "cpu")


@pytest.mark.slow
def test_the_pictures_of_a_step_that_is_not_finite_are_named(train, four_pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("alm.WeightedBCELoss.forward", lambda self, logits, targets: logits.sum() * torch.nan)
    _, errors = train("--epochs", 1, status=1)
    assert "the loss is nan at epoch 0 iteration 0; start again with a lower --lr" in errors
    names = {line.split()[0] for line in (four_pictures / "PETA_train_list.txt").read_text().splitlines()}
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    ((first, second),) = re.findall(r"^The pictures of that step: (\S+) (\S+)$", log, re.MULTILINE)
    assert {first, second} <= names


@pytest.mark.slow
def test_one_command_that_starts_from_other_weights_goes_on(train, tmp_path):
    train("--epochs", 1, "--max_iters", 1)
    words = (
        "--resume",
        "auto",
        "--init_from",
        tmp_path / "run" / "1.pth.tar",
        "--output_dir",
        tmp_path / "b",
    )
    assert "Weights: backbone and global classifier from" in train(*words, "--epochs", 1)[0]
    assert f"Weights: from {tmp_path / 'b' / 'last.pth.tar'}" in train(*words, "--epochs", 2)[0]
