"""The table of exit statuses in run_scripts/README.md: each command ends with each of them."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from support import REPOSITORY
from support.logs import write_log
from support.models import ATTRIBUTES, model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from utils.diagnostics.fingerprint_comparison import FORMAT

SCRIPTS = REPOSITORY / "run_scripts"
CASES = {
    (
        "run_ALM.py",
        0,
    ): "-e --resume 7.pth.tar --val_list list.txt --data_root . --workers 0",
    ("run_ALM.py", 1): "-e --resume absent.pth.tar",
    ("run_ALM.py", 2): "--no-such-option",
    ("prepare_data.py", 0): "csv --table table.csv --output lists",
    ("prepare_data.py", 1): "csv --table absent.csv --output lists",
    ("prepare_data.py", 2): "--no-such-option",
    ("predict.py", 0): "--checkpoint 7.pth.tar 1.png --device cpu",
    ("predict.py", 1): "--checkpoint 7.pth.tar 1.png broken.png --device cpu",
    ("predict.py", 2): "--no-such-option",
    ("export.py", 0): "--to reference 7.pth.tar published.pth.tar",
    ("export.py", 1): "--to reference absent.pth.tar published.pth.tar",
    ("export.py", 2): "--no-such-option",
    ("loss.py", 0): "--compare a.log a.log",
    ("loss.py", 1): "--compare a.log b.log",
    ("loss.py", 2): "--compare a.log absent.log",
    ("compare.py", 0): "worse.csv better.csv --labels long.txt --attributes names.txt",
    ("compare.py", 1): "better.csv worse.csv --labels long.txt --attributes names.txt",
    ("compare.py", 2): "better.csv absent.csv --labels long.txt --attributes names.txt",
    ("locate.py", 0): "--compare a.jsonl a.jsonl",
    ("locate.py", 1): "--compare a.jsonl b.jsonl",
    ("locate.py", 2): "--compare a.jsonl absent.jsonl",
    ("benchmark.py", 1): "--device sdaa",
    ("benchmark.py", 2): "--no-such-option",
    ("test.sh", 0): "",
    ("test.sh", 1): "",
    ("test.sh", 2): "",
}
ELSEWHERE = {("benchmark.py", 0)}  # tests/commands/test_benchmark.py: it takes half a minute
IMPORTS_TORCH = ("run_ALM.py", "predict.py", "export.py", "locate.py", "benchmark.py")
# Every command of test.sh at once.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "acceptance.py device") echo cpu ;;
    "acceptance.py has-data") exit 1 ;;
    "loss.py --sdaa-log") exit {status} ;;
esac
"""


def documented():
    """Return each command and exit status that the table has."""
    text = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \| (.+) \|$", text.split("## run_ALM.py")[0], re.M)
    return {(command, status) for command, *cells in rows for status, cell in enumerate(cells) if cell}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a small one of every file that a command reads."""
    folder = tmp_path_factory.mktemp("files")
    options = {"approach": "bn_inception", "experiment": "custom"}
    checkpoint = own_checkpoint(model_of(approach="bn_inception"), options=options)
    save_checkpoint(folder / "7.pth.tar", checkpoint)
    Image.new("RGB", (64, 128), "red").save(folder / "1.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "list.txt").write_text("1.png 0 1 0\n")
    (folder / "table.csv").write_text("image,Hat,Bag\n" + "".join(f"{k}.png,0,1\n" for k in range(10)))
    (folder / "names.txt").write_text("\n".join(ATTRIBUTES))
    labels = [[(k + j) % 2 for j in range(3)] for k in range(40)]
    (folder / "long.txt").write_text(
        "".join(f"{k}.png {' '.join(map(str, row))}\n" for k, row in enumerate(labels))
    )
    for name, sign in (("better", 1), ("worse", -1)):
        rows = (
            f"{k}.png," + ",".join(str(sign * (2 * label - 1)) for label in row)
            for k, row in enumerate(labels)
        )
        (folder / f"{name}.csv").write_text("\n".join(["path," + ",".join(ATTRIBUTES), *rows]))
    for name, norm in (("a", 1.0), ("b", 9.0)):
        run = {"type": "run", "format": FORMAT, "precision": "float32", "weights": "same"}
        tensor = {"type": "tensor", "iteration": 0, "stage": "forward", "name": "network", "dtype": "float32"}
        numbers = {"largest": 1, "nonfinite": 0, "projection_1": 0, "projection_2": 0, "norm": norm}
        entries = run, tensor | {"shape": [1]} | numbers
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        write_log("a.log", [3.0, 2.0])
        write_log("b.log", [30.0, 20.0])
    return folder


def test_each_status_that_is_documented_is_tested():
    assert documented() == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize(
    ("command", "status"),
    [
        pytest.param(*case, marks=pytest.mark.slow if case[0] in IMPORTS_TORCH else ())
        for case in CASES
        if case[0] != "test.sh"
    ],
)
def test_a_command_ends_with_the_status_of_the_table(folder, command, status):
    ended = subprocess.run(
        [sys.executable, SCRIPTS / command, *CASES[command, status].split()],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    no_verdict = {"loss.py": 2, "compare.py": 2, "locate.py": 2}.get(command, 1)
    if status and status >= no_verdict:
        assert ended.stderr.splitlines()[-1].startswith("error: ")
    if CASES[command, status] == "--no-such-option":
        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
        assert ended.stderr.endswith(f" ({command} --help shows the options)\n")


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_acceptance_ends_with_the_status_of_the_table(tmp_path, status):
    shutil.copy(SCRIPTS / "test.sh", tmp_path)
    (tmp_path / "python").write_text(PYTHON.format(status=status))
    (tmp_path / "python").chmod(0o755)
    environment = os.environ | {"PYTHON": str(tmp_path / "python")}
    assert (
        subprocess.run(["bash", tmp_path / "test.sh"], env=environment, capture_output=True).returncode
        == status
    )


READ_BY_NOBODY = ["prepare_data.py", "loss.py", "compare.py", "locate.py", "predict.py", "export.py"]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command in IMPORTS_TORCH else ())
        for command in READ_BY_NOBODY
    ],
)
def test_where_nobody_reads_the_output_the_status_is_141(folder, command):
    options = CASES[command, 0].replace("lists", "unread").replace("published.pth", "unread.pth")
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, SCRIPTS / command, *options.split()],
        cwd=folder, stdout=write, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


BAD_INPUT = {"loss.py": 2, "compare.py": 2, "prepare_data.py": 1, "run_ALM.py": 1}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if command in IMPORTS_TORCH else ())
        for command in BAD_INPUT
    ],
)
def test_debug_shows_where_an_error_came_from(folder, command):
    status = BAD_INPUT[command]
    words = [*CASES[command, status].split(), "--debug"]
    ended = subprocess.run(
        [sys.executable, SCRIPTS / command, *words], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == status
    assert "Traceback (most recent call last):\n" in ended.stderr
