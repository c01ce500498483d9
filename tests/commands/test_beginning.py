"""The one entry of all commands: interrupts, missing packages and an older Python, while they import too."""

import ast
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support import REPOSITORY
from support.cli import SCRIPTS

from run_scripts.cli.main import bad_input_status, run
from utils.io.process import beyond_interrupts

# The package in whose place a test puts a program of its own, for one command without torch and one with it.
PACKAGES = {"loss": "numpy", "run_ALM": "torch"}


def started(folder, command, program):
    """Start a command with a program in the place of a package that it imports."""
    (folder / f"{PACKAGES[command]}.py").write_text(program)
    return subprocess.Popen(
        [sys.executable, SCRIPTS / f"{command}.py"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def commands():
    return {
        path.stem: path for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
    }


def test_every_command_enters_by_run_before_it_imports_anything():
    assert len(commands()) == 9
    for name, path in commands().items():
        head = next(node for node in ast.parse(path.read_text(encoding="utf-8")).body if not is_text(node))
        assert isinstance(head, ast.If)
        assert ast.unparse(head.body[-1]) == f"run('run_scripts.{name}')"


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("command", PACKAGES)
@pytest.mark.parametrize(("name", "line", "status"), [("SIGINT", "interrupted\n", 130), ("SIGTERM", "", 143)])
def test_a_signal_during_an_import_ends_a_command_at_once(tmp_path, command, name, line, status):
    process = started(tmp_path, command, "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    assert process.stdout.readline() == "importing\n"
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=10) == ("", line)
    assert process.returncode == status


def test_ctrl_c_stays_ignored_if_nohup_asked_for_it(tmp_path):
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ModuleNotFoundError(name='it')\n"
    with beyond_interrupts():
        process = started(tmp_path, "loss", program)
    assert "the package it is not installed" in process.communicate(timeout=10)[1]
    assert process.returncode == 2


@pytest.mark.parametrize("command", PACKAGES)
def test_a_missing_package_is_one_line(tmp_path, command):
    process = started(tmp_path, command, "raise ModuleNotFoundError('No module named it', name='it')\n")
    where = f"is not installed for {sys.executable}; pip install -r requirement.txt"
    assert process.communicate(timeout=10) == ("", f"error: the package it {where}\n")
    assert process.returncode == bad_input_status(command)


@pytest.mark.parametrize(("command", "status"), [("loss", 2), ("run_ALM", 1)])
def test_an_older_python_is_refused(monkeypatch, capsys, command, status):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit) as ending:
        run(f"run_scripts.{command}")
    error = f"error: Python 3.10 or newer is needed, and {sys.executable} is 3.9\n"
    assert (ending.value.code, capsys.readouterr().err) == (status, error)


def test_an_older_python_can_read_what_refuses_it():
    for path in (*commands().values(), SCRIPTS / "cli" / "main.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_after_its_end_a_command_dies_of_ctrl_c_silently(tmp_path):
    (tmp_path / "done.py").write_text(
        "import atexit, os, signal, time\n"
        "def main():\n    atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(5)))\n"
    )
    program = "from run_scripts.cli.main import run\nrun('done')"
    places = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        timeout=10,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")


def test_importing_a_command_changes_nothing_here():
    from run_scripts import loss

    assert Path(loss.__file__).parent == SCRIPTS
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.excepthook is sys.__excepthook__


def test_processes_beyond_interrupts_are_so_from_their_first_instruction_on():
    asked = "import signal\nprint(signal.getsignal(signal.SIGINT).name)"
    with beyond_interrupts():
        answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout
    assert answer == "SIG_IGN\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_nothing_is_set():
    def enter():
        with beyond_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    seen = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
