"""run_ALM.py as a user starts it: train, resume, evaluate, and every kind of bad input."""

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
from conftest import REPOSITORY

import alm
from alm.checkpoint import load_checkpoint, reference_state, save_checkpoint
from run_scripts import resume, run_ALM
from utils.synthetic import draw_list, ensure_dataset

COMMAND = REPOSITORY / "run_scripts" / "run_ALM.py"
LOSS = re.compile(
    r"TCAPPDLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - Epoch: (\d+) Iteration: (\d+)"
    r"  rank : 0  train\.loss : (\S+)  train\.ips : \S+ imgs/s"
)
TABLE = re.compile(r"\t     Attr .*?\tF1_Score:.*?\n", re.DOTALL)


def run(*options, status=0, cwd=REPOSITORY, before=(), **environment):
    """Start the command; return (standard output, standard error)."""
    process = subprocess.run(
        [*before, sys.executable, str(COMMAND), *map(str, options)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert process.returncode == status, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    return process.stdout, process.stderr


def losses(output):
    return [(int(epoch), int(iteration), float(loss)) for epoch, iteration, loss in LOSS.findall(output)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Draw a small data set in PETA's format."""
    root = tmp_path_factory.mktemp("data") / "peta"
    ensure_dataset(root, train=10, test=6)
    return root


@pytest.fixture
def data(pictures, tmp_path):
    """Return a copy of the small data set that a test may damage."""
    return shutil.copytree(pictures, tmp_path / "peta")


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """Train for two epochs with options of all kinds; return the run's directory and what it printed."""
    directory = tmp_path_factory.mktemp("run") / "trained"
    return directory, run(
        "--approach", "inception_iccv", "--experiment", "peta", "--data_root", pictures, "--epochs", 2,
        "--batch_size", 4, "--lr", 0.0002, "--weight_decay", 0.01, "--loss", "paper", "--decay_epoch", "(1,)",
        "--save_freq", 1, "--output_dir", directory, "--workers", 0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Return a published checkpoint of epoch 40."""
    torch.manual_seed(5)
    state = reference_state(alm.build_model("inception_iccv", 35))
    content = {
        "epoch": 40,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "best_accu": torch.tensor(0.5).double().numpy()[()],
    }
    path = tmp_path_factory.mktemp("published") / "40.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def damaged(checkpoint, path, **parts):
    """Write a copy of a checkpoint with parts replaced."""
    save_checkpoint(path, {**torch.load(checkpoint, weights_only=True), **parts})
    return path


def custom_lists(pictures, directory, names):
    """Write names, and lists of the small data set with these attributes' labels."""
    columns = {"Hat": 11, "Male": 17, "Jeans": 13}
    (directory / "names.txt").write_text("\n".join(names), encoding="utf-8")
    for part in ("train", "test"):
        rows = (line.split() for line in (pictures / f"PETA_{part}_list.txt").read_text().splitlines())
        text = "".join(
            f"{row[0]} {' '.join(row[columns[name]] if name in columns else '1' for name in names)}\n"
            for row in rows
        )
        (directory / f"{part}.txt").write_text(text, encoding="utf-8")
    return ("--experiment", "custom", "--train_list", directory / "train.txt", "--val_list",
            directory / "test.txt", "--data_root", pictures)  # fmt: skip


# What a run prints and leaves.


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
    names = {path.name for path in directory.iterdir()}
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


# Going on.


@pytest.mark.slow
def test_nothing_but_resume_goes_on_bit_for_bit(trained, tmp_path):
    """Every option comes from the checkpoint; what a machine reads with changes no number."""
    directory, (output, _) = trained
    resumed, errors = run(
        "--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--workers", 2
    )
    assert losses(resumed) == losses(output)[3:]
    assert TABLE.findall(resumed) == TABLE.findall(output)[1:]
    assert f"Learning Rate: {0.0002 * 0.1}" in resumed
    assert [line for line in resumed.split("\n") if line.startswith("Opti")] == [
        f"Option: --workers 2, 0 in {directory / '1.pth.tar'}",
        f"Optimizer: adam goes on from {directory / '1.pth.tar'}",
    ]
    assert errors == ""
    first, second = (load_checkpoint(path / "2.pth.tar") for path in (directory, tmp_path / "run"))
    assert all(
        torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in first["state_dict"]
    )
    assert (first["best_ma"], first["iterations"]) == (second["best_ma"], second["iterations"])


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
def test_a_run_goes_on_in_its_directory(data, tmp_path, run_here):
    directory = tmp_path / "run"
    common = ("--max_iters", 1, "--batch_size", 2)
    run_here("--experiment", "peta", "--data_root", data, *common, "--epochs", 1, "--output_dir", directory)
    output, _ = run_here("--resume", directory / "1.pth.tar", "--epochs", 2)
    assert output.endswith(f"Run: {directory}\n")
    log = (directory / "train.log").read_text(encoding="utf-8")
    assert [key[:2] for key in losses(log)] == [(0, 0), (1, 0)]
    assert {"options.json", "options_2.json", "2.pth.tar"} < {path.name for path in directory.iterdir()}


@pytest.mark.slow
def test_published_checkpoint_is_evaluated_and_gone_on_from(untrained, pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--resume", untrained)
    assert "Sampling: align_corners True (auto)" in run_here(*common, "-e")[0]
    assert "Sampling: align_corners False (false)" in run_here(*common, "-e", "--align_corners", "false")[0]
    output, _ = run_here(*common, "--epochs", 41, "--max_iters", 1, "--output_dir", tmp_path / "run")
    assert losses(output)[0][:2] == (40, 0)
    assert load_checkpoint(tmp_path / "run" / "41.pth.tar")["align_corners"] is True
    _, errors = run_here(*common, "--epochs", 40, status=1)
    assert re.search(r"40 of 40 are done\. .*add -e; .*--init_from instead of --resume; .*--epochs", errors)


@pytest.mark.slow
def test_baseline_warms_alm_up(pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--max_iters", 1,
              "--batch_size", 4)  # fmt: skip
    run_here(*common, "--approach", "bn_inception", "--output_dir", tmp_path / "baseline")
    checkpoint = tmp_path / "baseline" / "1.pth.tar"
    output, _ = run_here(*common, "--init_from", checkpoint, "--output_dir", tmp_path / "alm")
    assert f"Weights: backbone and global classifier from {checkpoint}, the rest from scratch" in output
    _, errors = run_here("--approach", "inception_iccv", "--resume", checkpoint, "--epochs", 2, status=1)
    assert "--approach bn_inception" in errors
    assert "--init_from" in errors


# One's own attributes.


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


def test_another_attribute_count_is_refused(pictures, tmp_path, untrained, run_here):
    options = custom_lists(pictures, tmp_path, ["Hat"])
    _, errors = run_here(*options, "--attributes", tmp_path / "names.txt", "--resume", untrained, status=1)
    assert re.search(r"it is of 35 attributes, and the experiment has 1; --init_from takes", errors)


# What goes wrong with the data.


@pytest.mark.slow
def test_missing_pictures(data, tmp_path, run_here):
    lists = {
        name: (data / f"PETA_{name}_list.txt").read_text(encoding="utf-8").split("\n")
        for name in ("train", "test")
    }
    for rows in lists.values():
        for row in rows[:2]:
            (data / row.split()[0]).unlink()
    common = ("--experiment", "peta", "--data_root", data, "--epochs", 1, "--max_iters", 1)
    _, errors = run_here(*common, "--output_dir", tmp_path / "a", status=1)
    assert re.search(r"2 of 6 pictures .*--allow_missing", errors)
    assert not (tmp_path / "a").exists()
    with pytest.warns(UserWarning, match=r"2 of 10 pictures .*training goes on without them") as told:
        output, _ = run_here(*common, "--output_dir", tmp_path / "b", "--allow_missing")
    assert lists["train"][0].split()[0] in str(told[0].message)
    assert "\tPictures:  4 of 6" in output


@pytest.mark.slow
def test_a_damaged_evaluation_picture_does_not_cost_the_epoch(data, tmp_path, run_here):
    row = (data / "PETA_test_list.txt").read_text(encoding="utf-8").split()[0]
    before = (data / row).read_bytes()
    (data / row).write_bytes(before[: len(before) // 2])  # its head, with its size, is whole
    common = ("--experiment", "peta", "--data_root", data, "--max_iters", 1, "--output_dir", tmp_path / "run")
    output, errors = run_here(*common, "--epochs", 20, status=1)
    assert errors.startswith(f"error: cannot read picture {data / row} (")
    assert len(losses(output)) == 1
    assert [path.name for path in (tmp_path / "run").glob("*.pth.tar")] == ["last.pth.tar"]
    (data / row).write_bytes(before)
    output, _ = run_here("--resume", tmp_path / "run" / "last.pth.tar", "--epochs", 2)
    assert output.index("mA:") < output.index("train.loss")  # the evaluation that was missing comes first
    assert losses(output)[0][:2] == (1, 0)


@pytest.mark.slow
def test_a_start_that_fails_leaves_nothing_and_the_fixed_command_starts(data, tmp_path):
    rows = (data / "PETA_train_list.txt").read_text(encoding="utf-8").splitlines()
    before = {row.split()[0]: (data / row.split()[0]).read_bytes() for row in rows}
    for name in before:
        (data / name).write_bytes(b"no picture")
    command = ("--experiment", "peta", "--data_root", data, "--epochs", 1, "--batch_size", 4, "--workers", 1,
               "--output_dir", tmp_path / "run", "--log_json", tmp_path / "log.json")  # fmt: skip
    _, errors = run(*command, status=1)
    assert re.fullmatch(r"error: cannot read picture .*synthetic.*\n", errors)
    assert {path.name for path in tmp_path.iterdir()} == {"peta"}
    for name, content in before.items():
        (data / name).write_bytes(content)
    (data / rows[0].split()[0]).write_bytes(b"no picture")  # now one of the last epoch's pictures
    output, _ = run(*command, status=1)
    assert 0 < len(losses(output)) < 3
    assert "train.log" in {path.name for path in (tmp_path / "run").iterdir()}
    (data / rows[0].split()[0]).write_bytes(before[rows[0].split()[0]])
    run(*command)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"train.log", "train.1.log", "options.json", "options.1.json", "1.pth.tar"} < names


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
def test_one_epoch_on_published_labels(shared, tmp_path):
    """Pictures drawn for 200 rows of the published list, read as PETA's."""
    root, directory = tmp_path / "peta", tmp_path / "run"
    draw_list(shared / "labels" / "PETA_train_list.txt", root, limit=200)
    output, _ = run(
        "--experiment", "peta", "--data_root", root, "--val_list", "PETA_train_list.txt", "--epochs", 1,
        "--output_dir", directory,
    )  # fmt: skip
    assert len(losses(output)) == 7
    assert losses(output)[-1][2] < losses(output)[0][2]
    assert "Evaluation: 200 of 200 pictures" in output
    assert (directory / "1.pth.tar").is_file()


def bad_list(line):
    """Return a change of the data that puts `line`, given the first one's words, in the third place."""

    def change(data):
        path = data / "PETA_train_list.txt"
        rows = path.read_text(encoding="utf-8").splitlines()
        rows[2] = line(rows[2].split())
        path.write_text("\n".join(rows), encoding="utf-8")

    return change


BAD_DATA = {
    "too few labels": (bad_list(lambda row: " ".join(row[:-1])), r"PETA_train_list.txt:3\b.*35"),
    "too many labels": (bad_list(lambda row: " ".join([*row, "1"])), r"PETA_train_list.txt:3\b.*35"),
    "label 3": (bad_list(lambda row: " ".join([*row[:-1], "3"])), r"PETA_train_list.txt:3\b"),
    "label -1": (bad_list(lambda row: " ".join([*row[:-1], "-1"])), r"write 0 for no.* 2 for unknown"),
    "absolute path": (bad_list(lambda row: " ".join(["/etc/passwd", *row[1:]])), r"PETA_train_list.txt:3\b"),
    "path out of the root": (
        bad_list(lambda row: " ".join(["../x.png", *row[1:]])),
        r"PETA_train_list.txt:3\b",
    ),
    "empty list": (lambda data: (data / "PETA_train_list.txt").write_text(""), r"PETA_train_list.txt"),
    "no list": (lambda data: (data / "PETA_train_list.txt").unlink(), r"--train_list"),
    "all pictures missing": (lambda data: shutil.rmtree(data / "synthetic"), r"pictures .* not found"),
}


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
    "unknown approach": (
        ("--experiment", "peta", "--approach", "resnet"),
        2,
        r"inception_iccv.*bn_inception",
    ),
    "missing root": (
        ("--experiment", "peta", "--data_root", "absent"),
        1,
        r"absent.*--data_root.*--experiment synthetic",
    ),
    "evaluation without checkpoint": (("--experiment", "peta", "-e"), 2, r"--resume"),
    "missing checkpoint": (("--experiment", "peta", "--resume", "absent.pth.tar"), 1, r"absent.pth.tar"),
    "code for epochs": (("--experiment", "peta", "--decay_epoch", "__import__('os')"), 2, r"--decay_epoch"),
    "no pictures a step": (("--experiment", "peta", "--batch_size", "0"), 2, r"--batch_size"),
    "custom without names": (("--experiment", "custom"), 2, r"--attributes"),
    "no such accelerator": (("--experiment", "peta", "--device", "sdaa"), 1, r"--device sdaa.*here: "),
    "json into nowhere": (("--experiment", "peta", "--json", "absent/figures.json"), 2, r"--json"),
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


# What goes wrong with checkpoints and runs.


@pytest.mark.slow
def test_checkpoints_that_are_wrong_inside_are_one_line(trained, tmp_path, run_here):
    directory, _ = trained
    good = torch.load(directory / "1.pth.tar", weights_only=True)
    state = good["optimizer"]["state"]
    cases = {
        "its `epoch` is 'three'": {"epoch": "three"},
        "update the program": {"format": "alm-99"},
        "its option --device is 'abacus', not one of auto, sdaa": {
            "options": {**good["options"], "device": "abacus"}
        },
        "optimizer's state does not fit this model: parameter 0 has": {
            "optimizer": {**good["optimizer"], "state": {**state, 0: {"exp_avg": torch.zeros(2)}}}
        },
        "the weights do not fit this model; entries 1 missing: classifier.weight": {
            "state_dict": {k: v for k, v in good["state_dict"].items() if k != "classifier.weight"}
        },
    }  # fmt: skip
    for message, parts in cases.items():
        path = damaged(directory / "1.pth.tar", tmp_path / "1.pth.tar", **parts)
        _, errors = run_here("--resume", path, "--output_dir", tmp_path / "run", status=1)
        assert message in errors
        assert len(errors.splitlines()) == 1
        assert {file.name for file in tmp_path.iterdir()} == {"1.pth.tar"}


@pytest.mark.slow
def test_another_runs_directory_is_refused(trained, pictures, run_here):
    directory, _ = trained
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 3, "--output_dir", directory)
    assert "--resume" in run_here(*common, status=1)[1]
    assert "2.pth.tar" in run_here(*common, "--resume", directory / "1.pth.tar", status=1)[1]
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_and_saves_nothing(pictures, tmp_path):
    output, errors = run(
        "--experiment", "peta", "--data_root", pictures, "--epochs", 3, "--batch_size", 2, "--optimizer",
        "sgd", "--lr", 1e30, "--save_freq", 1, "--output_dir", tmp_path / "run", status=1,
    )  # fmt: skip
    assert re.fullmatch(r"error: the loss is (nan|-?inf) at epoch 0 iteration \d; .*--lr.*--amp.*\n", errors)
    assert not losses(output)[-1][2] < float("inf")
    assert not list((tmp_path / "run").glob("*.pth.tar"))


@pytest.mark.slow
def test_a_model_that_predicts_nan_has_no_figures(trained, tmp_path, run_here):
    directory, _ = trained
    state = dict(torch.load(directory / "1.pth.tar", weights_only=True)["state_dict"])
    name = "backbone.conv1.bn.running_var"
    state[name] = -torch.ones_like(state[name])  # its root is NaN
    path = damaged(directory / "1.pth.tar", tmp_path / "1.pth.tar", state_dict=state)
    output, errors = run_here("-e", "--resume", path, "--json", tmp_path / "figures.json", status=1)
    assert "the predictions of 6 of 6 pictures are NaN, so there are no figures" in errors
    assert "mA" not in output
    assert not (tmp_path / "figures.json").exists()


def test_weights_that_are_not_finite_are_refused_by_name(untrained, pictures, tmp_path, run_here):
    """Whatever they are given to; it is not the learning rate's fault."""
    content = torch.load(untrained, weights_only=False)
    content["state_dict"]["module.main_branch.conv1_7x7_s2.weight"][0] = torch.nan
    torch.save(content, tmp_path / "nan.pth.tar")
    for option in ("--resume", "--init_from"):
        _, errors = run_here(
            "--experiment", "peta", "--data_root", pictures, option, tmp_path / "nan.pth.tar", "--output_dir",
            tmp_path / "run", status=1,
        )  # fmt: skip
        assert errors.startswith(f"error: {tmp_path / 'nan.pth.tar'}: the weights are not finite: ")
    assert [path.name for path in tmp_path.iterdir()] == ["nan.pth.tar"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("place", ["checkpoints", "shared memory"])
def test_a_small_disk_and_small_shared_memory(pictures, tmp_path, place):
    """A disk that a checkpoint does not fit on; the 64 MB that Docker gives to what processes share."""
    (tmp_path / "run").mkdir()
    mounted, size = (tmp_path / "run", "20m") if place == "checkpoints" else (Path("/dev/shm"), "16m")
    unshare = ["unshare", "--mount", "--propagation", "private"]
    mount = f'mount -t tmpfs -o size={size} tmpfs {mounted} && exec "$@"'
    if subprocess.run([*unshare, "sh", "-c", mount, "sh", "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    options = ("--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--max_iters", 1,
               "--workers", 4, "--output_dir", tmp_path / "run")  # fmt: skip
    before = [*unshare, "sh", "-c", mount, "sh"]
    if place == "checkpoints":
        output, errors = run(*options, status=1, before=before)
        reason = f"{tmp_path / 'run' / '1.pth.tar'}: No space left on device"
        assert errors.splitlines()[-1] == f"error: the last checkpoint could not be saved: {reason}"
        assert output.count(f"Not saved: {reason}; training goes on, and the next save tries again\n") == 2
    else:
        _, errors = run(*options, before=before)
        assert re.search(r"warning: shared memory has 17 MB free, room for [0-3] of 4 processes", errors)
        assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found under /proc")
def test_a_worker_that_is_killed_is_one_line_and_costs_nothing(pictures, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(COMMAND), "--experiment", "peta", "--data_root", str(pictures),
         "--batch_size", "1", "--workers", "1", "--output_dir", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while "train.loss" not in process.stdout.readline():
            assert process.poll() is None
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        while "Epoch: 1 Iteration: 1 " not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert output.splitlines()[-1].startswith(
        f"Stopped: SIGTERM; saved {tmp_path / 'run' / 'last.pth.tar'}; "
    )
    death, _, request = errors.splitlines()
    assert death.startswith("warning: a process that reads pictures died")
    assert request == "SIGTERM: ending after this iteration; once more ends it at once"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "said"), [("0", "error: 2 processes were started; one is supported so far"), ("1", "")]
)
def test_more_than_one_process_is_refused_once(rank, said):
    _, errors = run("--experiment", "peta", status=1, WORLD_SIZE="2", RANK=rank)
    assert errors.startswith(said)
    assert len(errors.splitlines()) == len(said.splitlines())


@pytest.mark.slow
def test_debug_shows_where_an_error_came_from(tmp_path):
    end = subprocess.run(
        [sys.executable, str(COMMAND), "--resume", "absent.pth.tar", "--debug"],
        capture_output=True,
        text=True,
    )
    assert end.returncode == 1
    assert "Traceback (most recent call last)" in end.stderr
    assert end.stderr.endswith("absent.pth.tar: no such file; check the path\n")


@pytest.mark.slow
def test_max_iters_and_the_zoos_environment_variable(pictures, tmp_path):
    output, _ = run(
        "--experiment", "peta", "--epochs", 1, "--batch_size", 2, "--max_iters", 2, "--output_dir",
        tmp_path / "run", ALM_DATA_ROOT=str(pictures.parent), cwd=REPOSITORY / "run_scripts",
    )  # fmt: skip
    assert len(losses(output)) == 2
    assert "\n\nEarly stopping at iteration 2\n" in output


def test_help_shows_both_defaults(run_here):
    output, _ = run_here("--help")
    assert re.search(r"--epochs N .*default 60, synthetic \d+", " ".join(output.split()))


@pytest.mark.slow
def test_the_checkpoint_is_dropped_when_it_is_restored(trained, tmp_path, monkeypatch, run_here):
    """180 MB for ALM; they would lie beside the weights and moments for the whole run."""
    import weakref

    directory, _ = trained
    tensors = []
    load = resume.load_checkpoint

    def loaded(path):
        content = load(path)
        tensors.extend(map(weakref.ref, content["state_dict"].values()))
        return content

    left = []
    fit = run_ALM.Run.fit
    monkeypatch.setattr(resume, "load_checkpoint", loaded)
    monkeypatch.setattr(
        run_ALM.Run, "fit", lambda *args: left.append(sum(t() is not None for t in tensors)) or fit(*args)
    )
    run_here("--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--max_iters", 1)
    assert len(tensors) > 500
    assert left == [0]
