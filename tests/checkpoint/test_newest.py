"""Which checkpoint of a run's directory is gone on from."""

import os
from pathlib import Path

import pytest
from support.tiny import IDENTITY, Batches, figures_of, names, run_of, spoil

import alm
from alm.checkpoint.retention import newest_checkpoint


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A directory with the checkpoints of a whole run."""
    figures_of(monkeypatch, 0.5, 0.9, 0.6)
    run_of(tmp_path, 3, save_freq=1, save_every_iters=3, identity=IDENTITY).fit(Batches(), Batches())
    return tmp_path


def test_the_newest_good_one_is_found_whatever_its_name_and_date(directory):
    os.utime(directory / "1.pth.tar", (2e9, 2e9))
    assert newest_checkpoint(directory).path.name == "last.pth.tar"  # of the names of one file
    (directory / "3.pth.tar").unlink()
    found = newest_checkpoint(directory)
    assert (found.path.name, found.checkpoint["epoch"], found.passed_over) == ("last.pth.tar", 3, [])
    spoil(found.path)
    found = newest_checkpoint(directory)
    assert found.path.name == "2+1.pth.tar"
    assert [fault.partition(":")[0] for fault in found.passed_over] == [str(directory / "last.pth.tar")]
    for name in names(directory):
        if name not in ("last.pth.tar", "1.pth.tar"):
            (directory / name).write_bytes(b"")
    found = newest_checkpoint(directory)
    assert found.path.name == "1.pth.tar"
    assert {Path(fault.partition(":")[0]).name for fault in found.passed_over} == {
        "1+2.pth.tar", "2.pth.tar", "2+1.pth.tar", "best.pth.tar", "last.pth.tar",
    }  # fmt: skip


def test_where_all_are_damaged_none_is_written_over(directory, tmp_path_factory):
    for name in names(directory):
        (directory / name).write_bytes(b"PK")
    with pytest.raises(alm.AlmError, match=r"no checkpoint in .* can be gone on from, and none is"):
        newest_checkpoint(directory)
    assert newest_checkpoint(tmp_path_factory.mktemp("empty")) is None
