"""Files and attributes named to take over a terminal or a page: shown by commands, logs, plots and JSON."""

import csv
import io
import json
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from support.models import model_of, own_checkpoint
from support.printable import is_obeyed

from alm.checkpoint.restore import save_checkpoint
from alm.errors import AlmError
from run_scripts import predict, prepare_data
from run_scripts.cli.main import clear_ending
from utils.io.atomic import write_json
from utils.io.process import tell
from utils.runs import log_text
from utils.runs.training_log import TrainingLog

NAME = "<img src=x onerror=alert(1)>\x1b]0;owned\x07\x1b[2J\u202egnp"
SHOWN = r"<img src=x onerror=alert(1)>\x1b]0;owned\x07\x1b[2J\u202egnp"
ATTRIBUTES = ["Hat\x1b[31m", "<b>Bag</b>", "\u202eSkirt"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with two people under such a name, their list, and a checkpoint with such attributes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people").mkdir()
    for k in range(2):
        pixels = np.random.default_rng(k).integers(0, 256, (60, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "people" / f"{NAME}{k}.png")
    (tmp_path / "list.txt").write_text(f"{NAME}0.png 0 1 0\n{NAME}1.png 1 0 1\n", encoding="utf-8")
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in ATTRIBUTES), encoding="utf-8")
    content = own_checkpoint(model_of(), attributes=ATTRIBUTES, options={"experiment": "custom"})
    save_checkpoint(tmp_path / "a.pth.tar", content)
    return tmp_path


def refuse_obeyed(*texts):
    for text in texts:
        assert not is_obeyed(text.replace("\n", "").replace("\r", ""))


@pytest.mark.slow
def test_an_evaluation_obeys_no_name(folder, run_here):
    shown = run_here(
        "-e", "--resume", "a.pth.tar", "--attributes", "names.txt", "--data_root", "people", "--val_list",
        "list.txt", "--workers", 0, "--device", "cpu", "--report", "a.html", "--output_dir", "run",
        "--predictions", "a.csv", "--calibrate", "a.json",
    )  # fmt: skip
    written = [path.read_text(encoding="utf-8") for path in (folder / "run").iterdir()]
    page = (folder / "a.html").read_text(encoding="utf-8")
    refuse_obeyed(*shown, *written, page, (folder / "a.json").read_text())
    assert r"Hat\x1b[31m" in shown[0]
    assert "<img src=x" not in page
    assert "<b>Bag" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


@pytest.mark.slow
def test_a_picture_that_cannot_be_read(folder, run_here):
    (folder / "people" / f"{NAME}1.png").write_bytes(b"no picture")
    shown = run_here(
        "-e", "--resume", "a.pth.tar", "--attributes", "names.txt", "--data_root", "people", "--val_list",
        "list.txt", "--workers", 0, "--device", "cpu", status=1,
    )  # fmt: skip
    refuse_obeyed(*shown)
    assert f"{SHOWN}1.png" in shown[1]


@pytest.mark.slow
def test_a_prediction_obeys_no_name(folder, start_here):
    (folder / "people" / f"{NAME}2.png").write_bytes(b"no picture")
    common = ("--checkpoint", "a.pth.tar", "people", "--device", "cpu")
    shown = start_here(predict, *common, "--threshold", 0, status=1)
    refuse_obeyed(*shown)
    for part in (f"{SHOWN}0.png", r"Hat\x1b[31m"):
        assert part in shown[0]
    shown = start_here(
        predict, *common, "--json", "a.jsonl", "--csv", "a.csv", "--regions", "sheets", status=1
    )
    refuse_obeyed(*shown)
    assert f"{SHOWN}2.png" in shown[1]
    refuse_obeyed((folder / "a.jsonl").read_text())
    names = [f"people/{NAME}{k}.png" for k in range(2)]
    assert [json.loads(line)["path"] for line in (folder / "a.jsonl").read_text().splitlines()] == names
    with open(folder / "a.csv", encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == names
    assert len(list((folder / "sheets").glob("*.png"))) == 2
    page = (folder / "sheets" / "index.html").read_text(encoding="utf-8")
    refuse_obeyed(page)
    assert "<img" not in page


def test_a_check_obeys_no_name(folder, start_here):
    (folder / "people" / f"{NAME}1.png").write_bytes(b"no picture")
    (folder / "list.txt").write_text(f"{NAME}0.png 0 1 0\n{NAME}1.png 1 0 1\nmissing\x9b.png 1 0 1\n")
    shown = start_here(
        prepare_data, "check", "list.txt", "--data_root", "people", "--attributes", "names.txt", "--json",
        "a.json", status=1,
    )  # fmt: skip
    refuse_obeyed(*shown)
    for part in (f"{SHOWN}1.png", r"Hat\x1b[31m", r"missing\x9b.png"):
        assert part in " ".join(shown[0].split())
    assert json.loads((folder / "a.json").read_text())["lists"]["train"]["missing"] == ["missing\x9b.png"]


HOSTILE = "a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff"
SPELT_OUT = r"a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff"


@pytest.mark.parametrize("debug", [False, True])
def test_errors_and_warnings(capsys, monkeypatch, debug):
    monkeypatch.setattr(sys, "argv", ["command", *(["--debug"] if debug else [])])
    for error in (AlmError(HOSTILE), OSError(2, "gone", HOSTILE), ValueError(HOSTILE)):
        with pytest.raises(SystemExit), clear_ending():
            raise error
        shown = capsys.readouterr().err
        assert r"\x1b[2J" in shown
        assert not is_obeyed(shown.replace("\n", ""))
    with clear_ending():
        assert warnings.formatwarning(UserWarning(HOSTILE), UserWarning, "", 1) == f"warning: {SPELT_OUT}\n"
    tell(HOSTILE, "a\nb")
    assert capsys.readouterr().out == f"{SPELT_OUT}\na\\x0ab\n"


def test_the_log_spells_control_characters_out(tmp_path):
    stream = io.StringIO()
    with TrainingLog(tmp_path / "train.log", stream=stream) as log:
        log.line(f"one\n{HOSTILE}")
    assert stream.getvalue() == f"one\n{SPELT_OUT}\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == f"one\n{SPELT_OUT}\n"


def test_an_option_from_a_checkpoint_makes_no_line_of_its_own():
    block = log_text.argument_block({"prefix": "a\nTCAPPDLL 2025-07-06 05:55:46.338889 - Epoch: 0"})
    assert block.count("\n") == 3
    assert r"prefix: a\x0aTCAPPDLL" in block


def test_json_is_escaped_and_exact(tmp_path):
    write_json(tmp_path / "a.json", {"name": HOSTILE})
    with TrainingLog(stream=io.StringIO(), metrics_path=tmp_path / "metrics.jsonl") as log:
        log.record({"name": HOSTILE})
    for name in ("a.json", "metrics.jsonl"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert not is_obeyed(text.replace("\n", ""))
        assert json.loads(text)["name"] == HOSTILE
