"""The command prepare_data.py synthetic: what it draws, and what it says of what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.drawn import files, write_people

from run_scripts import prepare_data
from utils.synthetic import draw_list

COMMAND = Path(__file__).resolve().parents[2] / "run_scripts" / "prepare_data.py"


@pytest.fixture
def list_file(tmp_path):
    """A PETA-format list of three rows."""
    return write_people(tmp_path / "people.txt")


def prepare(*arguments, cwd):
    command = [sys.executable, str(COMMAND), "synthetic", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=120, check=False)


def test_command_draws_a_list_from_any_directory(list_file, tmp_path):
    done = prepare("--labels", "people.txt", "--output", "out", "--seed", 3, "--limit", 2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 pictures" in done.stdout
    draw_list(list_file, tmp_path / "expected", seed=3, limit=2)
    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_command_says_what_is_wrong_in_one_line(tmp_path):
    done = prepare("--labels", "missing.txt", "--output", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "missing.txt" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--limit", "2"), ("--seed", "x"), ("--labels", "a", "--limit", "0")])
def test_command_refuses_wrong_usage(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.setattr(
        sys, "argv", ["prepare_data.py", "synthetic", *arguments, "--output", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as ending:
        prepare_data.main()
    assert ending.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
