"""run_ALM.py with every kind of bad input: one line, and nothing is lost."""

import re
import shutil
import subprocess
import sys

import pytest
import torch
from support.commands import COMMAND, damaged, losses, run


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
    assert {"train.log", "options.json", "options.jsonl", "1.pth.tar"} < names


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
