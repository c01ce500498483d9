"""What others chose, as it is shown: a terminal obeys nothing in it, and it passes for no line of ours."""

import io
import json
import re
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.cli import status_here
from support.printable import is_obeyed

from alm.errors import AlmError
from run_scripts import prepare_data
from run_scripts.cli.main import clear_ending
from utils.io.atomic import write_json
from utils.io.figure import drawable
from utils.io.process import tell
from utils.io.untrusted import printable, printable_block
from utils.runs import log_text
from utils.runs.training_log import TrainingLog

HOSTILE = "a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff"
SHOWN = r"a\x1b[2J\x07\x85\x7f\u202egnp.\u2028\udcff"


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_is_shown_is_obeyed(text):
    shown = printable(text)
    assert not is_obeyed(shown)
    assert printable(shown) == shown
    if not is_obeyed(text) and not re.search("[\u061c\u200e\u200f]", text):  # marks, which turn a line too
        assert shown == text
    assert printable_block(text).count("\n") == text.count("\n")


def test_the_usual_is_shown_as_it_is():
    assert printable("训练\té/ä b.png 👩‍👩‍👧 \u200c") == "训练\té/ä b.png 👩‍👩‍👧 \u200c"
    assert printable(HOSTILE) == SHOWN
    assert printable("a\r\nb") == r"a\x0d\x0ab"


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
        assert warnings.formatwarning(UserWarning(HOSTILE), UserWarning, "", 1) == f"warning: {SHOWN}\n"
    tell(HOSTILE, "a\nb")
    assert capsys.readouterr().out == f"{SHOWN}\na\\x0ab\n"


def test_log(tmp_path):
    stream = io.StringIO()
    with TrainingLog(tmp_path / "train.log", stream=stream) as log:
        log.line(f"one\n{HOSTILE}")
    assert stream.getvalue() == f"one\n{SHOWN}\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == f"one\n{SHOWN}\n"


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


def test_plots_do_not_turn_a_name_round():
    assert drawable("a\u202egnp.exe") == r"a\u202egnp.exe"


def test_check(tmp_path, capsys):
    name = "ab\x1b]0;owned\x07\u202egnp"
    Image.new("RGB", (8, 16)).save(tmp_path / "a.png")
    (tmp_path / f"{name}.png").write_bytes(b"no picture")
    names = tmp_path / "names.txt"
    names.write_text("Ha\x1bt\nMale\n", encoding="utf-8")
    rows = f"a.png 0 1\n{name}.png 1 0\nmissing\x9b.png 1 0\n"
    (tmp_path / "train.txt").write_text(rows, encoding="utf-8")
    options = ["check", tmp_path, "--attributes", names, "--json", tmp_path / "a.json"]
    assert status_here(prepare_data, *options) == 1
    out, err = capsys.readouterr()
    assert not is_obeyed((out + err).replace("\n", ""))
    for shown in (r"ab\x1b]0;owned\x07\u202egnp.png", r"Ha\x1bt", r"missing\x9b.png"):
        assert shown in out
    assert json.loads((tmp_path / "a.json").read_text())["lists"]["train"]["missing"] == ["missing\x9b.png"]
