"""run_ALM.py where the machine fails it: disks, shared memory, processes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import COMMAND, run


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("place", ["checkpoints", "shared memory"])
def test_a_small_disk_and_small_shared_memory(pictures, tmp_path, place):
    """A disk that a checkpoint does not fit on; the 64 MB that Docker gives to what processes share."""
    (tmp_path / "run").mkdir()
    mounted, size = (tmp_path / "run", "20m") if place == "checkpoints" else (Path("/dev/shm"), "16m")
    unshare = ["unshare", "--mount", "--propagation", "private"]
    mount = f'mount -t tmpfs -o size={size} tmpfs {mounted} && exec "$@"'
    if subprocess.run([*unshare, "sh", "-c", mount, "sh", "true"], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    options = ("--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--max_iters", 1,
               "--workers", 4, "--output_dir", tmp_path / "run")  # fmt: skip
    before = [*unshare, "sh", "-c", mount, "sh"]
    if place == "checkpoints":
        output, errors = run(*options, status=1, before=before)
        reason = f"{tmp_path / 'run' / '1.pth.tar'}: No space left on device"
        assert errors.splitlines()[-1] == f"error: the last checkpoint could not be saved: {reason}"
        assert output.count(f"Not saved: {reason}; training goes on, and the next save tries again\n") == 2
    else:
        _, errors = run(*options, before=before)
        assert re.search(r"warning: shared memory has 17 MB free, room for [0-3] of 4 processes", errors)
        assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found under /proc")
def test_a_worker_that_is_killed_is_one_line_and_costs_nothing(pictures, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(COMMAND), "--experiment", "peta", "--data_root", str(pictures),
         "--batch_size", "1", "--workers", "1", "--output_dir", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while "train.loss" not in process.stdout.readline():
            assert process.poll() is None
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        while "Epoch: 1 Iteration: 1 " not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert output.splitlines()[-1].startswith(
        f"Stopped: SIGTERM; saved {tmp_path / 'run' / 'last.pth.tar'}; "
    )
    death, _, request = errors.splitlines()
    assert death.startswith("warning: a process that reads pictures died")
    assert request == "SIGTERM: ending after this iteration; once more ends it at once"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "said"), [("0", "error: 2 processes were started; one is supported so far"), ("1", "")]
)
def test_more_than_one_process_is_refused_once(rank, said):
    _, errors = run("--experiment", "peta", status=1, WORLD_SIZE="2", RANK=rank)
    assert errors.startswith(said)
    assert len(errors.splitlines()) == len(said.splitlines())
