"""predict.py as a user starts it: what is read, what is written."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from support import REPOSITORY
from support.models import ATTRIBUTES, model_of, published_file

from run_scripts import predict

COMMAND = REPOSITORY / "run_scripts" / "predict.py"
SIDES = ("left", "top", "right", "bottom")
pytestmark = pytest.mark.slow


def started(*options, **streams):
    """Start the command in a process of its own."""
    command = [sys.executable, str(COMMAND), "--device", "cpu", *map(str, options)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.Popen(command, text=True, **pipes)


@pytest.fixture
def people(tmp_path):
    """Return a folder of three pictures, 0.png to 2.png."""
    (tmp_path / "in").mkdir()
    for k in range(3):
        colours = np.random.default_rng(k).integers(0, 256, (12, 4, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((40 + k, 120)).save(tmp_path / "in" / f"{k}.png")
    return tmp_path / "in"


@pytest.fixture
def found(start_here, checkpoint):
    """Return a function that predicts in this process; it returns the lines of --json as objects."""

    def found(*options, status=0):
        output, _ = start_here(
            predict, "--checkpoint", checkpoint, "--device", "cpu", "--json", "-", *options, status=status
        )
        return [json.loads(line) for line in output.splitlines()]

    return found


def names(lines):
    return [line["path"] for line in lines]


def test_a_corrupt_picture_is_left_out(checkpoint, predictor, people, tmp_path):
    (people / "1.jpg").write_bytes(b"\xff\xd8junk")
    process = started(
        "--checkpoint", checkpoint, people, "--json", "-", "--csv", tmp_path / "a.csv",
        "--regions", tmp_path / "sheets", "--attributes", "Hat, Bag",
    )  # fmt: skip
    output, errors = process.communicate(timeout=250)
    assert process.returncode == 1, errors
    lines = [json.loads(line) for line in output.splitlines()]
    assert names(lines) == [str(people / f"{k}.png") for k in range(3)]
    for line, prediction in zip(lines, predictor(sorted(people.glob("*.png"))), strict=True):
        probabilities = [line["attributes"][name]["probability"] for name in ATTRIBUTES]
        assert probabilities == pytest.approx(prediction.probabilities.tolist(), abs=1e-6)
    warning, *told, error = errors.splitlines()
    assert warning.startswith(f"warning: cannot read picture {people / '1.jpg'} (")
    assert told == [f"{tmp_path / name}: 3 pictures" for name in ("a.csv", "sheets")]
    assert error == f"error: 1 of 4 pictures could not be read: {people / '1.jpg'}"
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["0.png", "1.png", "2.png"]


def test_the_names_of_a_published_checkpoint(people, tmp_path):
    path = published_file(tmp_path / "p.pth.tar", model_of(35))
    process = started("--checkpoint", path, "-")
    output, errors = process.communicate(f"{people / '0.png'}\n", timeout=250)
    assert process.returncode == 0, errors
    assert "does not name its 35 attributes; they are taken to be those of peta" in errors
    assert output.startswith(f"{people / '0.png'}  40 x 120\n")


def test_the_table_has_what_is_above_the_threshold(start_here, checkpoint, predictor, people):
    options = ("--checkpoint", checkpoint, "--device", "cpu", "--threshold", 0, people)
    output, errors = start_here(predict, *options)
    assert errors == ""
    paths = sorted(people.iterdir())
    assert output.endswith("\n\n")
    for block, path, prediction in zip(output[:-2].split("\n\n"), paths, predictor(paths), strict=True):
        hat, bag, skirt = prediction.probabilities
        assert block.split("\n") == [
            f"{path}  {prediction.size[0]} x 120",
            f"  head        Hat {hat:.2f}",
            f"  lower body  Skirt {skirt:.2f}",
            f"  other       Bag {bag:.2f}",
        ]
    output, _ = start_here(predict, *options[:-3], "--threshold", 1, people / "0.png")
    assert output == f"{people / '0.png'}  40 x 120\n  nothing found\n\n"


def test_csv_and_json_are_the_same(start_here, checkpoint, people, tmp_path):
    options = ("--checkpoint", checkpoint, "--device", "cpu", people)
    output, _ = start_here(predict, *options, "--csv", "-", "--json", tmp_path / "a.jsonl")
    rows = list(csv.DictReader(output.splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 3
    for row, line in zip(rows, lines, strict=True):
        assert row.pop("path") == line["path"]
        for name, about in line["attributes"].items():
            assert float(row.pop(name)) == about["probability"]
            assert row.pop(f"{name} level") == about["level"]
            for level, box in about["regions"].items():
                assert [float(row.pop(f"{name} {level} {side}")) for side in SIDES] == box
        assert row == {}


def test_lists_folders_and_patterns(found, people, tmp_path):
    (people / "with.txt").write_text("2.png 0 1 2\n0.png 1 1 1\n")
    (tmp_path / "without.txt").write_text("in/1.png\n")
    assert names(found(people / "with.txt", tmp_path / "without.txt")) == ["2.png", "0.png", "in/1.png"]
    assert names(found(tmp_path / "without.txt", "--data_root", tmp_path)) == ["in/1.png"]
    again = [str(people / "0.png"), str(people / "2.png")]
    assert names(found(people / "[02].png")) == again
    assert len(found(people, people / "0.png", "--batch_size", 3, "--workers", 1)) == 4


def test_a_picture_is_turned_or_left_as_training_sees_it(found, predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown, it is turned by a quarter
    stored = Image.effect_mandelbrot((120, 40), (-2, -1, 1, 1), 50).convert("RGB")
    stored.save(tmp_path / "a.png", exif=exif)
    for options, size in (((), (40, 120)), (("--as_trained",), (120, 40))):
        (line,) = found(tmp_path / "a.png", *options)
        assert (line["width"], line["height"]) == size
        (prediction,) = predictor(tmp_path / "a.png", as_trained=bool(options))
        for k, name in enumerate(ATTRIBUTES):
            assert line["attributes"][name]["probability"] == pytest.approx(prediction.probabilities[k])
            for level, box in line["attributes"][name]["regions"].items():
                assert box == pytest.approx(prediction.regions[level][k], abs=0.01)
    shown = stored.transpose(Image.Transpose.ROTATE_270)
    assert predictor(shown)[0].probabilities == pytest.approx(predictor(tmp_path / "a.png")[0].probabilities)


def test_where_no_picture_can_be_read_no_file_is_replaced(start_here, checkpoint, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "kept.csv").write_text("something\n")
    options = ("--checkpoint", checkpoint, "--csv", tmp_path / "kept.csv", tmp_path / "bad.png")
    _, errors = start_here(predict, *options, status=1)
    assert errors.splitlines()[-1] == f"error: 1 of 1 pictures could not be read: {tmp_path / 'bad.png'}"
    assert (tmp_path / "kept.csv").read_text() == "something\n"


def test_sheets_in_the_folder_that_is_read(start_here, checkpoint, people):
    """They are no pictures of people, though they come to lie among these."""
    options = ("--checkpoint", checkpoint, "--device", "cpu", "--regions", people / "sheets")
    output, _ = start_here(predict, *options, "--batch_size", 1, people)
    assert output.endswith(f"{people / 'sheets'}: 3 pictures\n")
    assert sorted(path.name for path in (people / "sheets").iterdir()) == ["0.png", "1.png", "2.png"]


MEMORY = """
import resource, sys
sys.path[:0] = {paths!r}
from support.known import Known
from run_scripts import predict
from run_scripts.cli.main import clear_ending

class Watched(predict.Table):
    number = 0
    def write(self, *about):
        super().write(*about)
        self.number += 1
        if self.number % 100 == 0:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)

predict.Table, predict.load_predictor = Watched, lambda *_, **__: (Known(), [])
with clear_ending():
    predict.main()
"""


def test_a_thousand_pictures_take_no_more_memory_than_a_hundred(tmp_path):
    """With large ones among them, of 36 MB each. The network, whose batches are alike, is left out."""
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.new("RGB", (60, 150), "red").save(small)
    Image.new("RGB", (3000, 4000), "blue").save(large)
    (tmp_path / "in").mkdir()
    for number in range(1000):
        os.link(large if number % 100 < 3 else small, tmp_path / "in" / f"{number:04}.png")
    program = MEMORY.format(paths=[str(REPOSITORY), str(REPOSITORY / "tests")])
    options = ["--checkpoint", "any", "--batch_size", "16", str(tmp_path / "in")]
    process = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("3000 x 4000") == 30
    peaks = [int(line) / 1024 for line in process.stderr.splitlines()]  # MB
    assert len(peaks) == 10
    assert peaks[-1] < peaks[0] + 40  # all that were read would be 1,080 MB more


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [("SIGINT", 130, "interrupted\n"), ("SIGTERM", 143, ""), ("SIGHUP", 129, "")],
)
def test_a_signal_leaves_no_half_file(checkpoint, people, tmp_path, number, status, said):
    (tmp_path / "out").mkdir()
    with started("--checkpoint", checkpoint, "--csv", tmp_path / "out" / "a.csv", "-") as process:
        process.stdin.write(f"{people / '0.png'}\n")
        process.stdin.flush()
        for _ in range(1000):
            if any((tmp_path / "out").iterdir()):  # under another name as yet
                break
            time.sleep(0.05)
        process.send_signal(getattr(signal, number))
        assert process.wait(60) == status
        assert process.stderr.read() == said
    assert list((tmp_path / "out").iterdir()) == []


def test_nobody_reads_the_table(checkpoint, people):
    process = started("--checkpoint", checkpoint, people)
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""
