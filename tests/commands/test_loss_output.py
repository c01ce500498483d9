"""The command loss.py as a process: what it prints, and outputs that nobody reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import REPOSITORY
from support.logs import FALLING, write_log

COMMAND = REPOSITORY / "run_scripts" / "loss.py"
OFFICIAL = """\
MeanRelativeError: -0.0016660199986437566
MeanAbsoluteError: -0.005064936876296997
Rule,mean_absolute_error -0.005064936876296997
pass mean_relative_error=-0.0016660199986437566 <= 0.05 or mean_absolute_error=-0.005064936876296997 <= 0.0002
"""


def test_published_logs(shared, tmp_path):
    for device in ("sdaa", "cuda"):
        (tmp_path / f"{device}.log").symlink_to(shared / "logs" / f"{device}.log")
    end = subprocess.run([sys.executable, COMMAND], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert end.returncode == 0
    assert end.stdout.startswith(OFFICIAL + "strict pass: ")
    assert end.stderr == ""
    with Image.open(tmp_path / "loss.jpg") as picture:
        assert picture.format == "JPEG"


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_without_standard_output_or_error_it_decides_all_the_same(tmp_path, monkeypatch, closed):
    monkeypatch.chdir(tmp_path)
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 1.1 * FALLING)
    command = f"{sys.executable} {COMMAND} --json figures.json {closed}"
    end = subprocess.run(["bash", "-c", command], capture_output=True, encoding="utf-8")
    assert (end.returncode, end.stderr) == (1, "")
    assert json.loads(Path("figures.json").read_text("utf-8"))["passed"] is False
    Path("sdaa.log").unlink()
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 2


@pytest.mark.parametrize("output", ["/dev/full", "a closed pipe"])
def test_output_that_nobody_can_read_is_no_traceback(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    for name in ("sdaa.log", "cuda.log"):
        write_log(name, FALLING)
    command = f"{sys.executable} {COMMAND} --plot a.png"
    redirected = (
        f"{command} > /dev/full" if output == "/dev/full" else f"{command} | true; exit ${{PIPESTATUS[0]}}"
    )
    end = subprocess.run(["bash", "-c", redirected], capture_output=True, encoding="utf-8")
    assert "Traceback" not in end.stderr
    assert "Exception ignored" not in end.stderr
    if output == "/dev/full":
        assert (end.returncode, end.stderr) == (
            2,
            "error: No space left on device; make room, or name another place\n",
        )
    else:
        assert (end.returncode, end.stderr) in ((141, ""), (0, ""))  # 0: written before the pipe was closed
