"""Files that anyone may have given: what has no end, or never begins, is refused by everything that reads."""

import os

import pytest

from alm.inference.image_io import read_picture
from utils.data.list_file import read_list
from utils.diagnostics.fingerprint_comparison import read_fingerprint
from utils.evaluation.prediction_table import read_predictions
from utils.io import untrusted as regular_file
from utils.io.untrusted import read_text
from utils.prepare.matlab import read_matlab
from utils.prepare.table import read_table
from utils.runs.log_reader import read_losses
from utils.synthetic.dataset import _read_settings

pytestmark = pytest.mark.timeout(20)
READERS = (
    read_list,
    read_text,
    read_losses,
    read_fingerprint,
    read_predictions,
    read_matlab,
    read_table,
    read_picture,
)


@pytest.fixture(params=["zero", "pipe", "directory"])
def endless(request, tmp_path):
    """Return a path that must not be read."""
    path = tmp_path / "endless"
    if request.param == "zero":
        path.symlink_to("/dev/zero")
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("read", READERS)
def test_devices_pipes_and_directories(endless, read):
    with pytest.raises(ValueError, match=str(endless)) as error:
        read(endless)
    assert "fault" not in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_a_drawn_set(endless):
    assert _read_settings(endless) is None


@pytest.mark.parametrize("read", READERS)
def test_ten_gigabytes_of_zeros(tmp_path, read):
    path = tmp_path / "zeros"
    path.touch()
    os.truncate(path, 10 << 30)
    with pytest.raises(ValueError, match="zeros"):
        read(path)


def test_a_text_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a.png 1\n" * 10)
    monkeypatch.setattr(regular_file, "MOST_TEXT", 79)
    with pytest.raises(regular_file.DataError, match=r"cannot read .*a\.txt \(it has more than 0 MB\)"):
        read_text(tmp_path / "a.txt")


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("some")
    (tmp_path / "link").symlink_to("a.txt")
    with regular_file.open_regular(tmp_path / "link", 4) as file:
        assert file.read() == b"some"
