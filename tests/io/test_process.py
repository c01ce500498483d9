"""The lock on a run's directory, and processes that Ctrl-C does not reach."""

import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from support import REPOSITORY

from alm.errors import AlmError
from utils.io.process import beyond_interrupts, locked, temporary_directory

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
    command = [sys.executable, "-c", HOLD, str(REPOSITORY), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(AlmError, match="another run is writing there"), locked(tmp_path):
            pass
        if ending == "kill":
            other.kill()
        other.communicate()
    for _ in range(2):
        with locked(tmp_path) as alone:
            assert alone
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_processes_beyond_interrupts_are_so_from_their_first_instruction_on():
    program = "import signal\nprint(signal.getsignal(signal.SIGINT).name)"
    with beyond_interrupts():
        answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert answer == "SIG_IGN\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_a_temporary_file_names_the_file_what_needs_it_and_tmpdir(monkeypatch):
    words = r": No such file or directory; the check needs room for temporary files: .* TMPDIR$"
    with pytest.raises(AlmError, match=f"/absent/data{words}"), temporary_directory("the check") as directory:
        (directory / "absent" / "data").touch()
    assert not directory.exists()
    with pytest.raises(FileNotFoundError), temporary_directory("the check"):
        Path("/absent/data").touch()
    monkeypatch.setattr(tempfile, "tempdir", "/absent")
    with pytest.raises(AlmError, match=f"^/absent/[^ ]*{words}"), temporary_directory("the check"):
        pass


def test_in_another_thread_nothing_is_set():
    def enter():
        with beyond_interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
