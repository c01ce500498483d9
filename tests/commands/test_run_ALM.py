"""run_ALM.py as a user starts it: what a run prints and leaves, bad input, and a machine that fails it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.cli import SCRIPTS, process
from support.commands import TABLE, custom_lists, damaged, losses
from support.toy import Toy, toy_checkpoint

import alm
from alm.checkpoint.restore import load_checkpoint
from alm.models.backbones import BACKBONES
from alm.training.run import TrainingRun
from run_scripts import run_ALM
from run_scripts.training import evaluation
from utils.data.catalog import EXPERIMENTS

# A run.


@pytest.mark.slow
def test_training_prints_the_published_log(trained):
    output, errors = trained[1]
    lines = output.split("\n")
    assert lines[:4] == ["=" * 100, "Arguments = ", "\texperiment: peta", "\tapproach: inception_iccv"]
    assert "\tdecay_epoch: (1,)" in lines
    assert "Number of model parameters: 15147120" in lines
    assert [line for line in lines if line.startswith("Learning Rate: ")] == [
        "Learning Rate: 0.0002", f"Learning Rate: {0.0002 * 0.1}",
    ]  # fmt: skip
    assert "Precision: float32" in lines
    assert [key[:2] for key in losses(output)] == [(epoch, i) for epoch in range(2) for i in range(3)]
    assert sum(line.startswith("Epoch: [0][0/3]\tTime ") for line in lines) == 1
    assert sum(line.startswith("Test: [0/2]\tTime ") for line in lines) == 2
    assert sum(bool(re.fullmatch(r" \* Accu \d\.\d{3}", line)) for line in lines) == 2
    assert lines.count("\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA") == 2
    assert errors == ""


@pytest.mark.slow
def test_run_directory_has_log_options_metrics_and_checkpoints(trained):
    directory, (output, _) = trained
    names = {path.name for path in directory.iterdir()} - {".lock"}
    checkpoints = {"1.pth.tar", "2.pth.tar", "best.pth.tar", "last.pth.tar"}
    assert names == {"train.log", "options.json", "metrics.jsonl"} | checkpoints
    assert (directory / "train.log").read_text(encoding="utf-8") == output
    assert json.loads((directory / "options.json").read_text(encoding="utf-8"))["batch_size"] == 4
    checkpoint = load_checkpoint(directory / "2.pth.tar")
    assert (checkpoint["epoch"], checkpoint["iterations"]) == (2, 6)
    assert checkpoint["attributes"][10] == "Hat"
    assert checkpoint["options"]["experiment"] == "peta"


@pytest.mark.slow
def test_epochs_are_counted_one_way(trained, run_here, pictures, tmp_path):
    """One after one epoch: in metrics.jsonl, --json, -e and the stream of events."""
    directory, (output, _) = trained
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == [1, 2]
    evaluated, _ = run_here(
        "-e", "--resume", directory / "2.pth.tar", "--json", tmp_path / "figures.json", "--log_json",
        tmp_path / "log.json",
    )  # fmt: skip
    assert TABLE.findall(evaluated) == TABLE.findall(output)[-1:]
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert f"\tmA:        {figures['ma']}" in evaluated
    assert (figures["epoch"], figures["pictures"], len(figures["attributes"])) == (2, 6, 35)
    assert figures["attributes"][0]["name"] == "Age16-30"
    assert evaluated.endswith(f"Events: {tmp_path / 'log.json'}\n")
    (event,) = [line for line in (tmp_path / "log.json").read_text().splitlines() if '"LOG"' in line]
    assert json.loads(event.removeprefix("TCAPPDLL "))["step"] == [2]


@pytest.mark.slow
def test_predictions_and_intervals_of_an_evaluation(trained, run_here, pictures, tmp_path):
    """A line behind the table; in the files the same figures, and the logits that they are from."""
    directory, (output, _) = trained
    of_fewer = r"Undefined: this is the mA of \d+ of 35 attributes; .*"
    few = "95 % intervals: none; 6 pictures are too few, 30 are needed"
    assert len(re.findall(f"{'=' * 100}\n{of_fewer}\n{few}\n", output)) == 2
    (tmp_path / "list.txt").write_text((pictures / "PETA_test_list.txt").read_text() * 6)
    printed, _ = run_here(
        "-e", "--resume", directory / "2.pth.tar", "--val_list", tmp_path / "list.txt", "--json",
        tmp_path / "figures.json", "--predictions", tmp_path / "a.csv",
    )  # fmt: skip
    table, *lines = printed.split(
        "95 % intervals, from 1,000 draws of the list's 36 pictures with replacement:"
    )
    assert re.search(f"{'=' * 100}\n{of_fewer}\n$", table)
    assert len(lines) == 1
    assert f"Figures: {tmp_path / 'figures.json'}\n" in lines[0]
    assert f"Predictions: {tmp_path / 'a.csv'}, the logits of 36 pictures\n" in lines[0]
    record = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    low, high = record["intervals"]["accuracy"]
    assert low < record["accuracy"] < high
    assert f"\tAccuracy   {low:.4f} to {high:.4f}\n" in lines[0]
    header, *rows = (row.split(",") for row in (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines())
    assert header == ["path", *(attribute["name"] for attribute in record["attributes"])]
    assert [row[0] for row in rows] == [
        line.split()[0] for line in (tmp_path / "list.txt").read_text().splitlines()
    ]
    for k, attribute in enumerate(record["attributes"], start=1):
        assert sum(float(row[k]) > 0 for row in rows) == attribute["predicted_positive"]


@pytest.mark.slow
def test_custom_attributes_train_evaluate_and_move_on(pictures, tmp_path, run_here):
    common = (
        "--approach",
        "bn_inception",
        "--workers",
        0,
        "--epochs",
        1,
        "--max_iters",
        1,
        "--batch_size",
        2,
    )
    options = custom_lists(pictures, tmp_path, ["Hat", "始终"])
    with pytest.warns(UserWarning, match="始终 is always 1 in "):
        output, _ = run_here(
            *options, *common, "--attributes", tmp_path / "names.txt", "--output_dir", tmp_path / "run"
        )  # fmt: skip
    assert "n/a" in output
    assert "\t# 1: 始终" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    checkpoint = tmp_path / "run" / "1.pth.tar"
    assert load_checkpoint(checkpoint)["positive_ratio"][1] == 1.0

    evaluated, _ = run_here("-e", "--resume", checkpoint)  # names and lists are the checkpoint's
    assert "\t# 1: 始终" in evaluated
    (tmp_path / "other.txt").write_text("始终\nHat\n", encoding="utf-8")
    _, errors = run_here("-e", "--resume", checkpoint, "--attributes", tmp_path / "other.txt", status=1)
    assert re.search(r"its attribute 1 is 'Hat', and the experiment's is '始终'; .*--init_from", errors)

    output, _ = run_here(
        *custom_lists(pictures, tmp_path, ["Male", "Hat"]), *common, "--attributes", tmp_path / "names.txt",
        "--init_from", checkpoint, "--output_dir", tmp_path / "next",
    )  # fmt: skip
    assert f" of 1 of 2 attributes from {checkpoint}, the rest from scratch" in output


@pytest.mark.slow
def test_training_goes_on_without_evaluation_list(data, tmp_path, run_here):
    (data / "PETA_test_list.txt").unlink()
    with pytest.warns(UserWarning, match="training goes on without evaluation"):
        output, _ = run_here(
            "--approach", "bn_inception", "--experiment", "peta", "--data_root", data, "--epochs", 1,
            "--batch_size", 2, "--max_iters", 1, "--workers", 0, "--output_dir", tmp_path / "run",
        )  # fmt: skip
    assert "Test:" not in output


@pytest.mark.slow
def test_max_iters_and_the_zoos_environment_variable(four_pictures, tmp_path, monkeypatch, run_here):
    monkeypatch.setenv("ALM_DATA_ROOT", str(four_pictures.parent))
    monkeypatch.chdir(SCRIPTS)
    output, _ = run_here(
        "--experiment", "peta", "--approach", "bn_inception", "--epochs", 1, "--batch_size", 1, "--workers",
        0, "--max_iters", 2, "--output_dir", tmp_path / "run",
    )  # fmt: skip
    assert len(losses(output)) == 2
    assert "\n\nEpoch 0 ends after 2 of 4 iterations, for --max_iters\n" in output


# Bad input: one line, and nothing is lost.

BAD_DATA = {
    "too few labels": (
        lambda data: shorten_third_line(data / "PETA_train_list.txt"),
        r"PETA_train_list.txt:3\b.*35",
    ),
    "no list": (lambda data: (data / "PETA_train_list.txt").unlink(), r"--train_list"),
    "all pictures missing": (lambda data: shutil.rmtree(data / "synthetic"), r"pictures .* not found"),
}


def shorten_third_line(path):
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[2] = rows[2].rpartition(" ")[0]
    path.write_text("\n".join(rows), encoding="utf-8")


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_clear_line(data, tmp_path, case, run_here):
    change, message = BAD_DATA[case]
    change(data)
    _, errors = run_here(
        "--experiment", "peta", "--data_root", data, "--epochs", 1, "--output_dir", tmp_path / "run", status=1
    )
    assert re.search(message, errors), errors
    assert errors.startswith("error: ")
    assert len(errors.strip().split("\n")) == 1
    assert not (tmp_path / "run").exists()


BAD_OPTIONS = {
    "unknown experiment": (("--experiment", "market"), 2, r"peta.*rap.*pa100k.*synthetic"),
    "missing root": (
        ("--experiment", "peta", "--data_root", "absent"),
        1,
        r"absent.*--data_root.*--experiment synthetic",
    ),
    "no such accelerator": (("--experiment", "peta", "--device", "sdaa"), 1, r"--device sdaa.*here: "),
    "json at a directory": (("--experiment", "peta", "--json", "."), 2, r"--json .*: that is a directory"),
    "no epoch to train": (("--experiment", "peta", "--start-epoch", "60"), 1, r"--start-epoch 60.*--epochs"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option_is_a_clear_error(tmp_path, monkeypatch, case, run_here):
    monkeypatch.chdir(tmp_path)
    options, status, message = BAD_OPTIONS[case]
    output, errors = run_here(*options, status=status)
    assert re.search(message, errors), errors
    assert output == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_evaluation_without_some_pictures_has_to_be_allowed(data, tmp_path, run_here):
    lists = {
        name: (data / f"PETA_{name}_list.txt").read_text(encoding="utf-8").split("\n")
        for name in ("train", "test")
    }
    for rows in lists.values():
        for row in rows[:2]:
            (data / row.split()[0]).unlink()
    common = ("--approach", "bn_inception", "--experiment", "peta", "--data_root", data, "--epochs", 1,
              "--max_iters", 1, "--workers", 0)  # fmt: skip
    _, errors = run_here(*common, "--output_dir", tmp_path / "a", status=1)
    assert re.search(r"2 of 6 pictures .*--allow_missing", errors)
    assert not (tmp_path / "a").exists()
    with pytest.warns(UserWarning, match=r"2 of 10 pictures .*training goes on without them") as warned:
        output, _ = run_here(*common, "--output_dir", tmp_path / "b", "--allow_missing")
    assert lists["train"][0].split()[0] in str(warned[0].message)
    assert "\tPictures:  4 of 6" in output


@pytest.mark.slow
def test_a_damaged_evaluation_picture_does_not_cost_the_epoch(data, tmp_path, run_here):
    row = (data / "PETA_test_list.txt").read_text(encoding="utf-8").split()[0]
    before = (data / row).read_bytes()
    (data / row).write_bytes(before[: len(before) // 2])  # its head, with its size, is whole
    common = ("--approach", "bn_inception", "--experiment", "peta", "--data_root", data, "--max_iters", 1,
              "--batch_size", 2, "--workers", 0, "--output_dir", tmp_path / "run")  # fmt: skip
    output, errors = run_here(*common, "--epochs", 20, status=1)
    assert errors.startswith(f"error: cannot read picture {data / row} (")
    assert len(losses(output)) == 1
    assert [path.name for path in (tmp_path / "run").glob("*.pth.tar")] == ["last.pth.tar"]
    (data / row).write_bytes(before)
    output, _ = run_here("--resume", tmp_path / "run" / "last.pth.tar", "--epochs", 2)
    assert output.index("mA:") < output.index("train.loss")  # the evaluation that was missing comes first
    assert losses(output)[0][:2] == (1, 0)


@pytest.mark.slow
def test_a_start_that_fails_leaves_nothing_and_a_later_picture_costs_no_step(data, tmp_path, run_here):
    rows = (data / "PETA_train_list.txt").read_text(encoding="utf-8").splitlines()
    before = {row.split()[0]: (data / row.split()[0]).read_bytes() for row in rows}
    for name in before:
        (data / name).write_bytes(b"no picture")
    command = ("--approach", "bn_inception", "--experiment", "peta", "--data_root", data, "--epochs", 1,
               "--batch_size", 4, "--workers", 0, "--output_dir", tmp_path / "run", "--log_json",
               tmp_path / "log.json")  # fmt: skip
    _, errors = run_here(*command, status=1)
    assert re.fullmatch(r"error: cannot read picture .*synthetic.*\n", errors)
    assert {path.name for path in tmp_path.iterdir()} == {"peta"}
    for name, content in before.items():
        (data / name).write_bytes(content)
    (data / rows[0].split()[0]).write_bytes(b"no picture")  # now one of the last epoch's pictures
    output, _ = run_here(*command, status=1)
    assert 0 < len(losses(output)) < 3
    assert "train.log" in {path.name for path in (tmp_path / "run").iterdir()}
    (data / rows[0].split()[0]).write_bytes(before[rows[0].split()[0]])
    run_here(*command, "--resume", "auto")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"train.log", "options.json", "options.jsonl", "1.pth.tar"} < names


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_and_saves_nothing(train, tmp_path):
    output, errors = train("--optimizer", "sgd", "--lr", 1e30, "--epochs", 3, "--save_freq", 1, status=1)
    assert re.fullmatch(r"error: the loss is (nan|-?inf) at epoch \d iteration \d; .*--lr.*--amp.*\n", errors)
    assert not losses(output)[-1][2] < float("inf")
    assert not list((tmp_path / "run").glob("*.pth.tar"))


@pytest.mark.slow
def test_a_model_that_predicts_nan_has_no_figures(train, tmp_path, run_here):
    train("--epochs", 1)
    state = dict(torch.load(tmp_path / "run" / "1.pth.tar", weights_only=True)["state_dict"])
    name = "backbone.conv1.bn.running_var"
    state[name] = -torch.ones_like(state[name])  # its root is NaN
    path = damaged(tmp_path / "run" / "1.pth.tar", tmp_path / "1.pth.tar", state_dict=state)
    output, errors = run_here("-e", "--resume", path, "--json", tmp_path / "figures.json", status=1)
    assert "the predictions of 2 of 2 pictures are NaN, so there are no figures" in errors
    assert "mA" not in output
    assert not (tmp_path / "figures.json").exists()


# A machine that fails it.


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_no_checkpoint_fits_on(four_pictures, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    mount = f'mount -t tmpfs -o size=20m tmpfs {directory} && exec "$@"'
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    output, errors = process(
        "run_ALM", "--approach", "bn_inception", "--experiment", "peta", "--data_root", four_pictures,
        "--epochs", 1, "--max_iters", 1, "--batch_size", 2, "--workers", 0, "--output_dir", directory,
        status=1, before=before,
    )  # fmt: skip
    reason = f"{directory / '1.pth.tar'}: No space left on device"
    assert errors.splitlines()[-1] == f"error: the last checkpoint could not be saved: {reason}"
    assert output.count(f"Not saved: {reason}; ") == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found under /proc")
def test_a_worker_that_is_killed_ends_the_run_which_saves_what_it_trained(pictures, tmp_path):
    command = ("--approach", "bn_inception", "--experiment", "peta", "--data_root", pictures, "--epochs", 1,
               "--batch_size", 1, "--device", "cpu", "--output_dir", tmp_path / "run")  # fmt: skip
    training = subprocess.Popen(
        [sys.executable, SCRIPTS / "run_ALM.py", *map(str, command), "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while "train.loss" not in training.stdout.readline():
            assert training.poll() is None
        children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        output, errors = training.communicate(timeout=60)
    finally:
        training.kill()
    assert training.returncode == 1, output + errors
    assert errors.splitlines()[-1].startswith("error: a process that reads pictures died")
    assert load_checkpoint(tmp_path / "run" / "last.pth.tar")["iterations"] > 0


@pytest.mark.parametrize(("rank", "line"), [("0", "error: a launcher started 2 processes"), ("1", "")])
def test_more_than_one_process_is_refused_once(monkeypatch, run_here, rank, line):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    _, errors = run_here("--experiment", "peta", status=1)
    assert errors.startswith(line)
    assert len(errors.splitlines()) == len(line.splitlines())


def test_every_option_arrives_where_it_is_used(four_pictures, run_here, tmp_path, monkeypatch):
    """One that is parsed, shown and saved, and used by nothing, gives other numbers than it says."""
    handed = []
    monkeypatch.setitem(BACKBONES, "toy", Toy)
    monkeypatch.setattr(TrainingRun, "fit", lambda *them: handed.append(them) or True)
    monkeypatch.setattr(run_ALM, "compile_network", lambda model, size: ("compiled", size))
    run_here(
        "--experiment", "peta", "--data_root", four_pictures, "--workers", 0, "--device", "cpu",
        "--backbone", "toy", "--init_from", toy_checkpoint(tmp_path / "7.pth.tar"), "--freeze", 1,
        "--optimizer", "sgd", "--lr", 0.5, "--momentum", 0.25, "--head_lr", 0.125, "--weight_decay", 0.0625,
        "--loss", "paper", "--adjust", 0.5, "--clip_grad", 3, "--accumulate", 2, "--ema", 0.75,
        "--on_nonfinite", "skip", "--on_bad_image", "skip", "--augment", "crop", "--seed", 7, "--compile",
        "--cache", tmp_path / "cache", "--amp", "bf16", "--batch_size", 3, "--print_freq", 5, "--epochs", 9,
        "--schedule", "cosine", "--warmup", 0.2, "--prefix", "x", "--save_freq", 4, "--save_every_iters", 6,
        "--keep", 8, "--max_iters", 10, "--output_dir", tmp_path / "run",
    )  # fmt: skip
    ((run, training, evaluation, *_),) = handed
    trainer, settings = run.trainer, run.settings
    groups = [
        [group[name] for name in ("lr", "momentum", "weight_decay")]
        for group in trainer.optimizer.param_groups
    ]
    assert groups == [[0.5, 0.25, 0.0625], [0.125, 0.25, 0.0625]]
    assert not any(parameter.requires_grad for parameter in trainer.model.backbone.stages()[0])
    assert (trainer.clip_grad, trainer.accumulate, trainer.nonfinite.skip) == (3, 2, True)
    assert (trainer.network, trainer.precision) == (("compiled", 3), torch.bfloat16)
    assert trainer.average._decay == 0.75
    logits, labels = torch.randn(2, 35), torch.ones(2, 35)
    expected = alm.WeightedBCELoss(EXPERIMENTS["peta"].positive_ratio, "paper", 0.5)
    assert trainer.criterion(logits, labels) == expected(logits, labels)
    assert (settings.epochs, settings.schedule, settings.warmup, settings.prefix) == (9, "cosine", 0.2, "x")
    assert (settings.save_freq, settings.save_every_iters, settings.keep, settings.max_iters) == (4, 6, 8, 10)
    for loader, is_training in ((training, True), (evaluation, False)):
        assert (loader.seed, loader.batch_size) == (7, 3)
        assert loader.crop == loader.replaces == is_training
        assert loader.dataset.cache.path.parent == tmp_path / "cache"
    assert trainer.log._print_freq == 5


@pytest.mark.slow
def test_intervals_are_over_identities_if_these_are_known(trained, run_here, monkeypatch):
    monkeypatch.setattr(evaluation, "identities", lambda names: [name[-5] for name in names])
    output, _ = run_here("-e", "--resume", trained[0] / "2.pth.tar")
    assert re.search(r"95 % intervals: none; \d identities are too few, 30 are needed", output)
