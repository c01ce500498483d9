"""test.sh and what its comparison rests on: nothing that is random depends on the device."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import REPOSITORY

from alm.errors import AlmError
from run_scripts import acceptance
from run_scripts.training.setup import start_model
from utils.data.catalog import EXPERIMENTS
from utils.runs.log_reader import read_losses
from utils.synthetic import ensure_dataset

EVERYTHING = {
    "onnxruntime",
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "jinja2",
    "tqdm",
    "matplotlib",
    "scipy",
}


def start(seed):
    return start_model("inception_iccv", EXPERIMENTS["peta"].attributes, seed=seed)[0].state_dict()


def test_starting_weights_follow_from_the_seed_on_the_cpu():
    """Whatever was drawn before, however many threads there are; the device comes later."""
    first = start(1)
    torch.rand(1000)
    torch.set_num_threads(1)
    again = start(1)
    assert all(tensor.device.type == "cpu" for tensor in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], tensor) for name, tensor in start(2).items())


def installed(monkeypatch, importable, status=0):
    """Return the packages that `install` gives pip if only these import, and pip's constraint; pip ends with
    `status`.
    """
    calls = []

    def pip(command):
        calls.append((command[4:-2], Path(command[-1]).read_text(encoding="utf-8")))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(acceptance, "imports", lambda package: package in importable)
    monkeypatch.setattr(acceptance.subprocess, "run", pip)
    acceptance.install()
    return calls


def test_install_never_touches_a_torch_that_imports(monkeypatch):
    [(packages, constraint)] = installed(monkeypatch, {"torch", "numpy", "scipy"})
    assert constraint == f"torch=={torch.__version__}\n"
    assert [name for name in packages if name.startswith("torch")] == []
    assert {"tqdm", "matplotlib>=3.6"} < set(packages)


def test_install_takes_all_that_is_missing_and_nothing_else(monkeypatch):
    assert installed(monkeypatch, EVERYTHING) == []
    assert installed(monkeypatch, EVERYTHING - {"tqdm"})[0][0][0] == "tqdm"
    [(packages, constraint)] = installed(monkeypatch, set())
    assert packages[0] == "torch>=2.4.0a0"
    assert constraint == ""


def test_a_pip_that_fails_is_told_in_one_sentence(monkeypatch):
    with pytest.raises(AlmError, match=r"pip could not install tqdm \(exit status 7; "):
        installed(monkeypatch, EVERYTHING - {"tqdm"}, 7)


def test_a_step_that_there_is_not_is_a_wrong_option(start_here):
    for words in ([], ["nothing"], ["device"]):
        assert start_here(acceptance, *words, status=2)[1].count("\n") == 1


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the commands and what they import: test.sh writes beside itself."""
    for name in ("alm", "utils", "run_scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "*.log*")
        if name == "run_scripts":
            ignored = shutil.ignore_patterns("__pycache__", "cpu.log*", "sdaa.log*", "cuda.log*", "loss.jpg")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    shutil.copy(REPOSITORY / "requirement.txt", tmp_path)
    return tmp_path


def accept(checkout, *options, python=sys.executable):
    return subprocess.run(
        ["bash", "run_scripts/test.sh", *options],
        cwd=checkout,
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_acceptance_run_keeps_its_log_and_the_earlier_one(checkout, tmp_path):
    ensure_dataset(tmp_path / "peta", train=10, test=4)
    scripts = checkout / "run_scripts"
    (scripts / "cpu.log").write_text("earlier")
    process = accept(checkout, "--data_path=peta", "--device=cpu")
    assert process.returncode == 2, process.stdout + process.stderr
    assert "no verdict: there is no committed log of this data" in process.stdout
    assert (scripts / "cpu.log.~1~").read_text() == "earlier"
    assert len(read_losses(scripts / "cpu.log").losses) == 3


# Every command at once; the training ends with the status in TRAINING, the comparison with the one in STATUS,
# that of the pictures with the one in PICTURES.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c "*) echo 42 ;;
    "run_scripts/acceptance.py device") echo sdaa ;;
    "run_scripts/acceptance.py has-data") exit 1 ;;
    "run_scripts/acceptance.py same-pictures") exit PICTURES ;;
    "run_scripts/run_ALM.py --approach") exit TRAINING ;;
    "run_scripts/loss.py --sdaa-log") exit STATUS ;;
esac
"""


def stand_in(tmp_path, **statuses):
    """Return an interpreter that runs nothing and has these exit statuses, else 0."""
    python = tmp_path / "python"
    text = PYTHON
    for name in ("TRAINING", "STATUS", "PICTURES"):
        text = text.replace(name, str(statuses.get(name.lower(), 0)))
    python.write_text(text)
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(
    ("status", "pictures", "expected"), [(0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 1, 0), (1, 1, 2)]
)
def test_the_comparison_decides_and_a_failed_one_says_what_to_run_next(
    checkout, tmp_path, status, pictures, expected
):
    """On other pictures than the baseline's a failure says nothing."""
    python = stand_in(tmp_path, status=status, pictures=pictures)
    process = accept(checkout, python=python)
    assert process.returncode == expected
    assert ("no verdict: the drawn pictures differ" in process.stdout) == (status != expected)
    commands = [line.split() for line in process.stdout.splitlines() if "locate.py" in line]
    assert len(commands) == (2 if expected == 1 else 0)
    if commands:
        assert commands[0] == [str(python), "run_scripts/locate.py", "--device", "sdaa", "--amp", "off"]


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--path=x", "unknown option --path=x; there are --data_path=DIR and --device=NAME"),
        ("--data-path=x", "--data-path=x: there is no such directory"),
        ("--device=abacus", "--device=abacus: choose auto, sdaa, cuda or cpu"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_installed(checkout, option, line):
    process = accept(checkout, option)
    assert (process.returncode, process.stdout, process.stderr) == (2, "", f"error: {line}\n")


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_installed(checkout):
    (checkout / "runs").touch()
    process = accept(checkout)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("error: run_scripts/../runs cannot be written to")


@pytest.mark.parametrize("python", ["python0", "/bin/false", "/bin/true"])
def test_what_is_no_interpreter_is_told(checkout, python):
    process = accept(checkout, python=python)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        f"error: {python} runs no Python; name an interpreter, as in PYTHON=python bash test.sh\n"
    )


def test_a_run_that_fails_leaves_no_log(checkout, tmp_path):
    assert accept(checkout, python=stand_in(tmp_path, training=3)).returncode == 3
    assert not list((checkout / "run_scripts").glob("*.log*"))


def test_help_is_the_head_of_the_script(checkout):
    process = accept(checkout, "--help", python="python0")
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("One-click acceptance: ")
    assert "  bash test.sh [--data_path=DIR]" in process.stdout
    assert process.stdout.endswith("data set.\n")


def test_a_directory_is_peta_if_it_has_a_training_list(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALM_DATA_ROOT", str(tmp_path))
    assert acceptance.has_data("peta") == 1
    assert capsys.readouterr().err == f"note: {tmp_path} has no PETA_train_list.txt, or is not there\n"
    (tmp_path / "PETA_train_list.txt").touch()
    assert acceptance.has_data("peta") == 0


def test_baseline_is_100_iterations_of_that_command():
    log = acceptance.BASELINE / "synthetic.log"
    assert sorted(read_losses(log).losses) == [(0, iteration) for iteration in range(100)]
    text = log.read_text(encoding="utf-8")
    assert "\texperiment: synthetic\n" in text
    assert "\tamp: off\n" in text
    assert "\tbatch_size: 4\n" in text
    assert len((acceptance.BASELINE / "synthetic.sha256").read_text(encoding="utf-8").strip()) == 64


@pytest.mark.parametrize(("digest", "status"), [("a", 0), ("b", 1)])
def test_the_drawn_pictures_are_those_of_the_baseline_or_not(tmp_path, monkeypatch, digest, status):
    (tmp_path / "synthetic.sha256").write_text("a\n")
    monkeypatch.setattr(acceptance, "BASELINE", tmp_path)
    monkeypatch.setattr(acceptance, "synthetic_digest", lambda: digest)
    assert acceptance.same_pictures() == status
