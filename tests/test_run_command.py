"""run_ALM.py as a user starts it: train, resume, evaluate, and every kind of bad input."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import REPOSITORY

from alm.checkpoint import load_checkpoint, reference_state
from utils.synthetic import draw_list, ensure_dataset

COMMAND = REPOSITORY / "run_scripts" / "run_ALM.py"
LOSS = re.compile(
    r"TCAPPDLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - Epoch: (\d+) Iteration: (\d+)"
    r"  rank : 0  train\.loss : (\S+)  train\.ips : \S+ imgs/s"
)


def run(*options, status=0, cwd=REPOSITORY, **environment):
    """Start the command; return (standard output, standard error)."""
    process = subprocess.run(
        [sys.executable, str(COMMAND), "--approach", "inception_iccv", *map(str, options)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
        timeout=300,
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
    """Train for two epochs; return the run's directory and what it printed."""
    directory = tmp_path_factory.mktemp("run") / "trained"
    options = ("--experiment", "peta", "--data_root", pictures, "--epochs", 2, "--batch_size", 4)
    return directory, run(*options, "--save_freq", 1, "--output_dir", directory, "--workers", 0)


def test_training_prints_the_published_log(trained):
    output, errors = trained[1]
    lines = output.split("\n")
    assert lines[:4] == ["=" * 100, "Arguments = ", "\texperiment: peta", "\tapproach: inception_iccv"]
    assert "\tdecay_epoch: (20, 40)" in lines
    assert "Number of model parameters: 15147120" in lines
    assert lines.count("Learning Rate: 0.0001") == 2
    assert [key[:2] for key in losses(output)] == [(epoch, i) for epoch in range(2) for i in range(3)]
    assert sum(line.startswith("Epoch: [0][0/3]\tTime ") for line in lines) == 1
    assert sum(line.startswith("Test: [0/1]\tTime ") for line in lines) == 2
    assert sum(bool(re.fullmatch(r" \* Accu \d\.\d{3}", line)) for line in lines) == 2
    assert lines.count("\t     Attr              \tp_true/n_true\tp_tol/n_tol\tp_pred/n_pred\tcur_mA") == 2
    assert errors == ""


def test_run_directory_has_log_options_metrics_and_checkpoints(trained):
    directory, (output, _) = trained
    names = {path.name for path in directory.iterdir()}
    assert names == {"train.log", "options.json", "metrics.jsonl", "1.pth.tar", "2.pth.tar", "best.pth.tar"}
    assert (directory / "train.log").read_text(encoding="utf-8") == output
    assert json.loads((directory / "options.json").read_text(encoding="utf-8"))["batch_size"] == 4
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == [0, 1]
    checkpoint = load_checkpoint(directory / "2.pth.tar")
    assert checkpoint["epoch"] == 2
    assert checkpoint["attributes"][10] == "Hat"
    assert checkpoint["options"]["experiment"] == "peta"


def test_resume_goes_on_bit_for_bit_whatever_the_workers(trained, pictures, tmp_path):
    directory, (output, _) = trained
    resumed, _ = run(
        "--experiment", "peta", "--data_root", pictures, "--epochs", 2, "--batch_size", 4,
        "--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--workers", 2,
    )  # fmt: skip
    assert losses(resumed) == losses(output)[3:]


def test_compile_says_what_it_costs_and_changes_no_loss(trained, pictures, tmp_path):
    """Compiling itself takes minutes; here torch is told to leave the network as it is."""
    output, _ = run(
        "--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--batch_size", 4, "--compile",
        "--output_dir", tmp_path / "run", TORCHDYNAMO_DISABLE="1",
    )  # fmt: skip
    assert "Compile: the first iteration compiles the network, which took 3 minutes" in output
    assert losses(output) == losses(trained[1][0])[:3]


def test_evaluation_repeats_the_runs_last_table(trained, pictures, tmp_path):
    directory, (output, _) = trained
    evaluated, _ = run(
        "--experiment", "peta", "--data_root", pictures, "-e", "--resume", directory / "2.pth.tar",
        "--json", tmp_path / "figures.json", cwd=REPOSITORY / "run_scripts",
    )  # fmt: skip
    table = re.compile(r"\t     Attr .*?\tF1_Score:.*?\n", re.DOTALL)
    assert table.findall(evaluated) == table.findall(output)[-1:]
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert f"\tmA:        {figures['ma']}" in evaluated
    assert (figures["pictures"], len(figures["attributes"])) == (6, 35)
    assert figures["attributes"][0]["name"] == "Age16-30"


def test_published_checkpoint_is_evaluated_and_gone_on_from(trained, pictures, tmp_path):
    from alm import build_model

    torch.manual_seed(5)
    model = build_model("inception_iccv", 35)
    state = {f"module.{name}": tensor for name, tensor in reference_state(model).items()}
    path = tmp_path / "published.pth.tar"
    content = {"epoch": 40, "state_dict": state, "best_accu": torch.tensor(0.5).double().numpy()[()]}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    common = ("--experiment", "peta", "--data_root", pictures, "--resume", path)
    assert "Sampling: align_corners True (auto)" in run(*common, "-e")[0]
    assert "Sampling: align_corners False (false)" in run(*common, "-e", "--align_corners", "false")[0]
    output, _ = run(*common, "--epochs", 41, "--max_iters", 1, "--output_dir", tmp_path / "run")
    assert losses(output)[0][:2] == (40, 0)
    assert load_checkpoint(tmp_path / "run" / "41.pth.tar")["align_corners"] is True


def test_max_iters_and_the_zoos_environment_variable(pictures, tmp_path):
    output, _ = run(
        "--experiment", "peta", "--epochs", 1, "--batch_size", 2, "--max_iters", 2,
        "--output_dir", tmp_path / "run", ALM_DATA_ROOT=str(pictures.parent),
    )  # fmt: skip
    assert len(losses(output)) == 2
    assert "\n\nEarly stopping at iteration 2\n" in output


def test_baseline_warms_alm_up(pictures, tmp_path):
    common = (
        "--experiment",
        "peta",
        "--data_root",
        pictures,
        "--epochs",
        1,
        "--max_iters",
        1,
        "--batch_size",
        4,
    )
    run(*common, "--approach", "bn_inception", "--output_dir", tmp_path / "baseline")
    checkpoint = tmp_path / "baseline" / "1.pth.tar"
    output, _ = run(*common, "--init_from", checkpoint, "--output_dir", tmp_path / "alm")
    assert f"Weights: backbone and global classifier from {checkpoint}, the rest from scratch" in output
    _, errors = run(*common, "--resume", checkpoint, "--output_dir", tmp_path / "no", status=1)
    assert "--init_from" in errors


def test_custom_attributes(pictures, tmp_path):
    names, train, test = (tmp_path / name for name in ("names.txt", "train.txt", "test.txt"))
    names.write_text("Hat\nAlways\n", encoding="utf-8")
    for path, source in ((train, "PETA_train_list.txt"), (test, "PETA_test_list.txt")):
        rows = (line.split() for line in (pictures / source).read_text(encoding="utf-8").splitlines())
        path.write_text("".join(f"{row[0]} {row[11]} 1\n" for row in rows), encoding="utf-8")
    output, errors = run(
        "--experiment", "custom", "--attributes", names, "--train_list", train, "--val_list", test,
        "--data_root", pictures, "--epochs", 1, "--output_dir", tmp_path / "run",
    )  # fmt: skip
    assert "\t# 1: Always" in output
    assert "n/a" in output
    assert "Always" in errors
    assert load_checkpoint(tmp_path / "run" / "1.pth.tar")["positive_ratio"][1] == 1.0


def test_training_goes_on_without_evaluation_list(data, tmp_path):
    (data / "PETA_test_list.txt").unlink()
    output, errors = run(
        "--experiment",
        "peta",
        "--data_root",
        data,
        "--epochs",
        1,
        "--max_iters",
        1,
        "--output_dir",
        tmp_path / "run",
    )
    assert "training goes on without evaluation" in errors
    assert "Test:" not in output


def test_missing_pictures(data, tmp_path):
    lists = {
        name: (data / f"PETA_{name}_list.txt").read_text(encoding="utf-8").split("\n")
        for name in ("train", "test")
    }
    for rows in lists.values():
        for row in rows[:2]:
            (data / row.split()[0]).unlink()
    common = ("--experiment", "peta", "--data_root", data, "--epochs", 1, "--max_iters", 1)
    _, errors = run(*common, "--output_dir", tmp_path / "a", status=1)
    assert re.search(r"2 of 6 pictures .*--allow_missing", errors)
    assert not (tmp_path / "a").exists()
    output, errors = run(*common, "--output_dir", tmp_path / "b", "--allow_missing")
    assert "2 of 10 pictures" in errors
    assert lists["train"][0].split()[0] in errors
    assert "\tPictures:  4 of 6" in output


def test_one_epoch_on_published_labels(shared, tmp_path):
    """Pictures drawn for 400 rows of the published list, read as PETA's."""
    root, directory = tmp_path / "peta", tmp_path / "run"
    draw_list(shared / "labels" / "PETA_train_list.txt", root, limit=400)
    output, _ = run(
        "--experiment", "peta", "--data_root", root, "--val_list", "PETA_train_list.txt", "--epochs", 1,
        "--output_dir", directory,
    )  # fmt: skip
    assert len(losses(output)) == 13
    assert losses(output)[-1][2] < losses(output)[0][2]
    assert "Evaluation: 400 of 400 pictures" in output
    assert (directory / "1.pth.tar").is_file()


def bad_list(line):
    """Return a change of the data that puts `line`, given the first one's words, in the third place."""

    def change(data):
        path = data / "PETA_train_list.txt"
        rows = path.read_text(encoding="utf-8").splitlines()
        rows[2] = line(rows[2].split())
        path.write_text("\n".join(rows), encoding="utf-8")

    return change


def damage(data):
    """Cut the training pictures short."""
    for row in (data / "PETA_train_list.txt").read_text(encoding="utf-8").splitlines():
        (data / row.split()[0]).write_bytes(b"no picture")


BAD_DATA = {
    "too few labels": (bad_list(lambda row: " ".join(row[:-1])), r"PETA_train_list.txt:3\b.*35"),
    "too many labels": (bad_list(lambda row: " ".join([*row, "1"])), r"PETA_train_list.txt:3\b.*35"),
    "label 3": (bad_list(lambda row: " ".join([*row[:-1], "3"])), r"PETA_train_list.txt:3\b"),
    "absolute path": (bad_list(lambda row: " ".join(["/etc/passwd", *row[1:]])), r"PETA_train_list.txt:3\b"),
    "path out of the root": (
        bad_list(lambda row: " ".join(["../x.png", *row[1:]])),
        r"PETA_train_list.txt:3\b",
    ),
    "empty list": (lambda data: (data / "PETA_train_list.txt").write_text(""), r"PETA_train_list.txt"),
    "no list": (lambda data: (data / "PETA_train_list.txt").unlink(), r"--train_list"),
    "all pictures missing": (lambda data: shutil.rmtree(data / "synthetic"), r"pictures .* not found"),
    "no pictures": (damage, r"cannot read picture .*synthetic"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_clear_line(data, tmp_path, case):
    change, message = BAD_DATA[case]
    change(data)
    _, errors = run(
        "--experiment", "peta", "--data_root", data, "--epochs", 1, "--output_dir", tmp_path / "run", status=1
    )
    assert re.search(message, errors), errors
    assert errors.startswith("error: ")
    assert len(errors.strip().split("\n")) == 1
    assert not list(tmp_path.glob("run/*.pth.tar"))


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
    "json at a directory": (("--experiment", "peta", "--json", "."), 2, r"--json \.: that is a directory"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option_is_a_clear_error(tmp_path, case):
    options, status, message = BAD_OPTIONS[case]
    output, errors = run(*options, status=status, cwd=tmp_path)
    assert re.search(message, errors), errors
    assert output == ""
    assert list(tmp_path.iterdir()) == []


def test_another_attribute_count_and_another_run_are_refused(trained, tmp_path, pictures):
    directory, _ = trained
    names, train = tmp_path / "names.txt", tmp_path / "train.txt"
    names.write_text("Hat\n", encoding="utf-8")
    first = (pictures / "PETA_train_list.txt").read_text(encoding="utf-8").split()[0]
    train.write_text(f"{first} 1\n", encoding="utf-8")
    _, errors = run(
        "--experiment", "custom", "--attributes", names, "--train_list", train, "--data_root", pictures,
        "--resume", directory / "1.pth.tar", status=1,
    )  # fmt: skip
    assert "35 attributes" in errors
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 3, "--output_dir", directory)
    assert "--resume" in run(*common, status=1)[1]
    assert "2.pth.tar" in run(*common, "--resume", directory / "1.pth.tar", status=1)[1]
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_help_shows_both_defaults():
    output, _ = run("--help")
    assert re.search(r"--epochs N .*default 60, synthetic \d+", " ".join(output.split()))
