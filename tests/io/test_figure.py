"""What all plots share."""

import sys

import pytest

from alm.errors import AlmError
from utils.io.figure import cut, drawable, drawn_figure


def test_a_text_is_drawn_literally():
    assert drawable("a\u202egnp.exe") == r"a\u202egnp.exe"
    assert drawable("$x$ 训").startswith(r"\$x\$ ")
    assert drawable("\U0010fffe") == r"\U0010fffe"


def test_of_a_long_text_the_end_is_drawn():
    assert cut("runs/one/train.log", 10) == "…train.log"
    assert cut("train.log", 10) == "train.log"


def test_missing_matplotlib_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(AlmError, match="pip install matplotlib"), drawn_figure(tmp_path / "a.png", (2, 1)):
        pass


def test_a_figure_is_a_file_of_its_suffix_or_none(tmp_path):
    with drawn_figure(tmp_path / "a.PNG", (2, 1)) as figure:
        figure.subplots()
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    with (
        pytest.raises(AlmError, match=r"a\.xyz: choose a suffix of .*\.png"),
        drawn_figure(tmp_path / "a.xyz", (2, 1)),
    ):
        pass
    with pytest.raises(KeyboardInterrupt), drawn_figure(tmp_path / "b.png", (2, 1)):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.PNG"]
