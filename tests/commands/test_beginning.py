"""Commands before they have begun: Ctrl-C while they import, what cannot be imported, an older Python."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from support import REPOSITORY

from run_scripts.cli import beginning
from utils.io.process import beyond_interrupts

# A package that each command imports, and its exit status where that fails.
COMMANDS = {
    "acceptance": (None, 1), "benchmark": ("torch", 1), "compare": ("numpy", 2), "export": ("torch", 1),
    "locate": ("torch", 2), "loss": ("numpy", 2), "predict": ("numpy", 1), "prepare_data": ("numpy", 1),
    "run_ALM": ("torch", 1),
}  # fmt: skip
IMPORTING = [command for command, (package, _) in COMMANDS.items() if package]


def started(folder, command, package, program, **options):
    """Start a command with a program in the place of a package that it imports."""
    (folder / f"{package}.py").write_text(program)
    return subprocess.Popen(
        [sys.executable, REPOSITORY / "run_scripts" / f"{command}.py"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_every_command_guards_its_beginning():
    files = (REPOSITORY / "run_scripts").glob("*.py")
    found = {file.stem: file.read_text() for file in files if "__main__" in file.read_text()}
    assert found.keys() - {"beginning", "command"} == COMMANDS.keys()
    for command, (_, status) in COMMANDS.items():
        guarded = "guard()" if status == 1 else f"guard(status={status})"
        assert f'if __name__ == "__main__":\n    {guarded}' in found[command]


@pytest.mark.parametrize("command", IMPORTING)
def test_ctrl_c_during_an_import_ends_a_command_at_once_and_silently(tmp_path, command):
    sleeping = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    process = started(tmp_path, command, COMMANDS[command][0], sleeping)
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == -signal.SIGINT  # which a shell calls 130


def test_ctrl_c_stays_ignored_where_nohup_asked_for_it(tmp_path):
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ModuleNotFoundError(name='it')\n"
    with beyond_interrupts():
        process = started(tmp_path, "run_ALM", "torch", program)
    assert "the package it is not installed" in process.communicate(timeout=10)[1]
    assert process.returncode == 1


@pytest.mark.parametrize("command", IMPORTING)
def test_a_missing_package_is_one_line(tmp_path, command):
    package, status = COMMANDS[command]
    program = f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
    process = started(tmp_path, command, package, program)
    where = f"is not installed for {sys.executable}; pip install -r requirement.txt"
    assert process.communicate(timeout=10) == ("", f"error: the package {package} {where}\n")
    assert process.returncode == status


def test_an_older_python_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit) as ending:
        beginning.guard(status=2)
    error = f"error: Python 3.10 or newer is needed, and {sys.executable} is 3.9\n"
    assert (ending.value.code, capsys.readouterr().err) == (2, error)


@pytest.mark.parametrize(
    ("program", "status", "errors"),
    [
        ("with clear_ending(): os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", 130, "interrupted\n"),
        ("with clear_ending(): pass\nos.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT, ""),
    ],
    ids=["within", "after"],
)
def test_once_it_has_begun_a_command_says_that_it_was_interrupted(program, status, errors):
    head = "import os, signal, time\nfrom run_scripts.cli.beginning import guard\nguard()\n"
    head += "from run_scripts.cli.main import clear_ending\n"
    ran = subprocess.run(
        [sys.executable, "-c", head + program], cwd=REPOSITORY, capture_output=True, text=True, timeout=10
    )
    assert (ran.returncode, ran.stderr) == (status, errors)


def test_importing_a_command_changes_nothing_here():
    from run_scripts import loss

    assert loss
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.excepthook is sys.__excepthook__


def test_processes_beyond_interrupts_are_so_from_their_first_instruction_on():
    asked = "import signal\nprint(signal.getsignal(signal.SIGINT).name)"
    with beyond_interrupts():
        told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout
    assert told == "SIG_IGN\n"
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
