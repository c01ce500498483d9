"""The two ways to start a command: in this process, and as a process of its own, which takes seconds."""

import os
import subprocess
import sys

import pytest

from run_scripts.cli.main import bad_input_status, clear_ending
from support import REPOSITORY

SCRIPTS = REPOSITORY / "run_scripts"


def status_here(command, *options):
    """Start a command, a module of run_scripts, in this process; return its exit status."""
    name = command.__name__.rpartition(".")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"run_scripts/{name}.py", *map(str, options)])
        try:
            with clear_ending(bad_input_status(name)):
                return command.main() or 0
        except SystemExit as ending:
            return ending.code or 0


def process(command, *options, status=0, cwd=REPOSITORY, before=(), env=None):
    """Start a command by its name, such as "run_ALM", as a user does; return (standard output, standard
    error). `before` are words to start it with; `env` is added to the environment.
    """
    ended = subprocess.run(
        [*before, sys.executable, str(SCRIPTS / f"{command}.py"), *map(str, options)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "2", **(env or {})},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout, ended.stderr
