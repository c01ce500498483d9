"""The lock on a run's directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from alm.errors import AlmError
from utils.runs.directory import opened_run_directory


def contents(directory):
    """Return relative path -> text of the files in a directory."""
    return {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}


HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from utils.io.process import locked
with locked(Path(sys.argv[2])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="locks are POSIX")
@pytest.mark.parametrize("ending", ["end", "kill"])
def test_two_runs_do_not_share_a_directory(tmp_path, ending):
    """A run that has died keeps nobody out."""
    with opened_run_directory(tmp_path, {}) as directory:
        (directory / "train.log").write_text("an iteration", encoding="utf-8")
    command = [sys.executable, "-c", HOLD, str(Path(__file__).resolve().parents[2]), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        before = contents(tmp_path)
        with (
            pytest.raises(AlmError, match="another run is writing there at this moment"),
            opened_run_directory(tmp_path, {}),
        ):
            pass
        assert contents(tmp_path) == before
        if ending == "kill":
            other.kill()
        other.communicate()
    with opened_run_directory(tmp_path, {}):
        pass
    assert ".lock" not in contents(tmp_path)
