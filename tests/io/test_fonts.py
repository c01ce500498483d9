"""Fonts: a text gets those that have its characters, also if they came after matplotlib looked for fonts."""

import shutil
from pathlib import Path

import pytest

from utils.io.fonts import font_files, fonts_for, lacking, writings

font_manager = pytest.importorskip("matplotlib.font_manager")


def test_fonts_together_have_a_texts_characters_and_what_none_has_is_told():
    text = "Шляпа \U0001d49c\U0010fffe"  # a script A is in a font for formulas that comes with matplotlib
    first, second = fonts_for(text)
    assert first.name == "DejaVu Sans"
    assert {"Ш", " "} < first.characters
    assert second.characters == {"\U0001d49c"}
    assert lacking(text) == {"\U0010fffe"}
    assert writings("短شжЯ\U0010fffe") == ["Arabic", "CJK", "Cyrillic", "Unnamed"]


def test_a_font_is_found_that_was_installed_after_matplotlib_listed_them(monkeypatch, tmp_path):
    installed = tmp_path / "new.ttf"
    shutil.copy(font_manager.findfont("DejaVu Sans"), installed)
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(map(str, Path(tmp_path).iterdir())))
    font_files.cache_clear()
    try:
        assert ("DejaVu Sans", str(installed)) in font_files()
        assert str(tmp_path / "damaged.ttf") not in dict(font_files()).values()
    finally:
        font_files.cache_clear()
