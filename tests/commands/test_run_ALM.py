"""run_ALM.py as a user starts it: what a run prints and leaves."""

import json
import re

import pytest
from support import REPOSITORY
from support.commands import TABLE, custom_lists, losses, run

from alm.checkpoint.restore import load_checkpoint
from utils.synthetic import draw_list


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
    (event,) = [line for line in (tmp_path / "log.json").read_text().splitlines() if '"LOG"' in line]
    assert json.loads(event.removeprefix("TCAPPDLL "))["step"] == [2]


@pytest.mark.slow
def test_predictions_and_intervals_of_an_evaluation(trained, run_here, pictures, tmp_path):
    """A line behind the table; in the files the same figures, and the logits that they are from."""
    directory, (output, _) = trained
    assert output.count(f"{'=' * 100}\n95 % intervals: none; 6 pictures are too few, 30 are needed\n") == 2
    (tmp_path / "list.txt").write_text((pictures / "PETA_test_list.txt").read_text() * 6)
    printed, _ = run_here(
        "-e", "--resume", directory / "2.pth.tar", "--val_list", tmp_path / "list.txt", "--json",
        tmp_path / "figures.json", "--predictions", tmp_path / "a.csv",
    )  # fmt: skip
    table, *lines = printed.split(
        "95 % intervals, from 1,000 draws of the list's 36 pictures with replacement:"
    )
    assert table.endswith(f"{'=' * 100}\n")
    assert len(lines) == 1
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
def test_one_epoch_on_published_labels(shared, tmp_path, run_here):
    """Pictures drawn for 40 rows of the published list, read as PETA's."""
    root, directory = tmp_path / "peta", tmp_path / "run"
    draw_list(shared / "labels" / "PETA_train_list.txt", root, limit=40)
    output, _ = run_here(
        "--experiment", "peta", "--data_root", root, "--val_list", "PETA_train_list.txt", "--epochs", 1,
        "--batch_size", 10, "--workers", 0, "--output_dir", directory,
    )  # fmt: skip
    assert len(losses(output)) == 4
    assert losses(output)[-1][2] < losses(output)[0][2]
    assert "Evaluation: 40 of 40 pictures" in output
    assert (directory / "1.pth.tar").is_file()


@pytest.mark.slow
def test_custom_attributes_train_evaluate_and_move_on(pictures, tmp_path, run_here):
    options = custom_lists(pictures, tmp_path, ["Hat", "始终"])
    output, errors = run(
        *options, "--attributes", tmp_path / "names.txt", "--epochs", 1, "--output_dir", tmp_path / "run",
        PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert "\t# 1: \\u59cb\\u7ec8" in output
    assert "n/a" in output
    assert "\\u59cb\\u7ec8 is always 1 in " in errors
    assert "\t# 1: 始终" in (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    checkpoint = tmp_path / "run" / "1.pth.tar"
    assert load_checkpoint(checkpoint)["positive_ratio"][1] == 1.0

    evaluated, _ = run_here("-e", "--resume", checkpoint)  # names and lists are the checkpoint's
    assert "\t# 1: 始终" in evaluated
    (tmp_path / "other.txt").write_text("始终\nHat\n", encoding="utf-8")
    _, errors = run_here("-e", "--resume", checkpoint, "--attributes", tmp_path / "other.txt", status=1)
    assert re.search(r"its attribute 1 is 'Hat', and the experiment's is '始终'; .*--init_from", errors)

    output, _ = run_here(
        *custom_lists(pictures, tmp_path, ["Male", "Hat"]), "--attributes", tmp_path / "names.txt",
        "--init_from", checkpoint, "--epochs", 1, "--max_iters", 1, "--output_dir", tmp_path / "next",
    )  # fmt: skip
    assert (
        "Weights: backbone and lateral layers; global classifier and localization of 1 of 2 attributes from "
        f"{checkpoint}, the rest from scratch" in output
    )


@pytest.mark.slow
def test_training_goes_on_without_evaluation_list(data, tmp_path, run_here):
    (data / "PETA_test_list.txt").unlink()
    with pytest.warns(UserWarning, match="training goes on without evaluation"):
        output, _ = run_here(
            "--experiment", "peta", "--data_root", data, "--epochs", 1, "--max_iters", 1, "--output_dir",
            tmp_path / "run",
        )  # fmt: skip
    assert "Test:" not in output


@pytest.mark.slow
def test_max_iters_and_the_zoos_environment_variable(pictures, tmp_path):
    output, _ = run(
        "--experiment", "peta", "--epochs", 1, "--batch_size", 2, "--max_iters", 2, "--output_dir",
        tmp_path / "run", ALM_DATA_ROOT=str(pictures.parent), cwd=REPOSITORY / "run_scripts",
    )  # fmt: skip
    assert len(losses(output)) == 2
    assert "\n\nEarly stopping at iteration 2\n" in output
