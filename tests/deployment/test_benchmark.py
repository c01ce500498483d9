"""predict.py --benchmark: every form in one table, and what is missing said in its row."""

import re
import subprocess
import sys

import pytest
from PIL import Image
from support import REPOSITORY
from support.toy import Toy, toy_checkpoint

from alm.models.backbones import BACKBONES
from run_scripts import predict
from utils.deployment import benchmark as predict_benchmark

NAMES = ("PyTorch, cpu", "PyTorch folded, cpu", "onnxruntime", "onnxruntime, int8", "peta.onnx, int8")
CELL = re.compile(r"(\d+\.\d) ms +(\d+)/s")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "toy", Toy)
        toy_checkpoint(folder / "7.pth.tar")
    (folder / "people").mkdir()
    for k in range(2):
        Image.new("RGB", (40 + k, 120), (60 * k, 90, 200)).save(folder / "people" / f"{k}.png")
    return folder


@pytest.fixture
def table(folder, monkeypatch, start_here):
    """Return a function that runs it on few pictures and returns the lines of its table, or of its error."""

    def table(*options, status=0):
        monkeypatch.setitem(BACKBONES, "toy", Toy)
        for name, value in (("BATCH_SIZES", (1, 2)), ("LEAST", 2), ("ROUNDS", 1)):
            monkeypatch.setattr(predict_benchmark, name, value)
        monkeypatch.chdir(folder)
        output, errors = start_here(predict, "--device", "cpu", "--benchmark", *options, status=status)
        return (output if status == 0 else errors).splitlines()

    return table


def rows(lines):
    """Return the rows' names in their order, and how many cells each has."""
    return [(line[2:22].strip(), len(CELL.findall(line))) for line in lines if line.startswith("  ")]


@pytest.mark.slow
def test_all_forms_are_timed_on_the_pictures_named(table, folder):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    (folder / "people" / "bad.png").write_bytes(b"no picture")
    lines = table("--checkpoint", "7.pth.tar", "--threads", "2", "people")
    assert "2 threads, torch" in lines[0]
    assert lines[0].endswith("the first 2 pictures")
    forms = [(name, 2) for name in NAMES]
    assert rows(lines) == forms + forms
    assert max(map(len, lines[2:])) <= 80
    for milliseconds, rate in CELL.findall("\n".join(lines)):
        time, rate = float(milliseconds), int(rate)
        assert abs(time * rate / 1000 - 1) <= 0.06 / time + 0.6 / rate  # both are rounded


@pytest.mark.slow
def test_without_onnx_its_rows_say_so(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    lines = table("--checkpoint", "7.pth.tar", "people")
    assert [cells for _, cells in rows(lines)] == [2, 2, 0, 0, 2] * 2
    assert sum("pip install onnx onnxruntime" in line for line in lines) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checkpoint", "7.pth.tar", "absent"], "absent: there is no such file"),
        (["--checkpoint", "absent.pth.tar", "people"], "absent.pth.tar: no such file"),
    ],
)
def test_bad_input_is_one_line(table, options, words):
    (line,) = table(*options, status=1)
    assert words in line


@pytest.mark.slow
def test_an_exported_file_is_timed_without_torch(folder, model_file):
    code = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv.pop(1))\n"
        "from run_scripts import predict\nfrom utils.deployment import benchmark\n"
        "benchmark.ROUNDS, benchmark.BATCH_SIZES = 1, (1,)\n"
        "predict.main()"
    )
    options = ["--benchmark", "--checkpoint", str(model_file), str(folder / "people")]
    command = [sys.executable, "-c", code, str(REPOSITORY), *options]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert rows(process.stdout.splitlines()) == [("onnxruntime", 1)] * 2
