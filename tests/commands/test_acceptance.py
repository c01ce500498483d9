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

EVERYTHING = {"torch", "torchvision", "numpy", "pillow", "jinja2", "tqdm", "matplotlib", "scipy"}


def start(seed):
    return start_model("inception_iccv", EXPERIMENTS["peta"].attributes, seed=seed)[0].state_dict()


def test_starting_weights_follow_from_the_seed_on_the_cpu():
    """Whatever was drawn before, however many threads there are; the device comes later."""
    first = start(1)
    torch.rand(1000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = start(1)
    finally:
        torch.set_num_threads(threads)
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


# Every command at once; the comparison ends with the status in STATUS, that of the pictures in PICTURES.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "run_scripts/acceptance.py device") echo sdaa ;;
    "run_scripts/acceptance.py has-data") exit 1 ;;
    "run_scripts/acceptance.py same-pictures") exit PICTURES ;;
    "run_scripts/loss.py --sdaa-log") exit STATUS ;;
esac
"""


@pytest.mark.parametrize(
    ("status", "pictures", "expected"), [(0, 0, 0), (1, 0, 1), (2, 0, 2), (0, 1, 0), (1, 1, 2)]
)
def test_the_comparison_decides_and_a_failed_one_says_what_to_run_next(
    checkout, tmp_path, status, pictures, expected
):
    """On other pictures than the baseline's a failure says nothing."""
    python = tmp_path / "python"
    python.write_text(PYTHON.replace("STATUS", str(status)).replace("PICTURES", str(pictures)))
    python.chmod(0o755)
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


def test_a_missing_interpreter_is_told(checkout):
    process = accept(checkout, python="python0")
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        "error: there is no python0 here; name an interpreter, as in PYTHON=python bash test.sh\n"
    )


def test_baseline_is_100_iterations_of_that_command():
    log = acceptance.BASELINE / "synthetic.log"
    assert sorted(read_losses(log).losses) == [(0, iteration) for iteration in range(100)]
    text = log.read_text(encoding="utf-8")
    assert "\texperiment: synthetic\n" in text
    assert "\tamp: off\n" in text
    assert "\tbatch_size: 4\n" in text
    assert len((acceptance.BASELINE / "synthetic.sha256").read_text(encoding="utf-8").strip()) == 64
