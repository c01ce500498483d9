"""A checkpoint's file: whole or not at all, and damage is seen."""

import os

import pytest
import torch
from support.models import model_of, own_checkpoint, same
from support.tiny import spoil

import alm
from alm.checkpoint.files import check_sums, save_checkpoint
from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.schema import DEFAULTS


@pytest.mark.parametrize("old", [True, False])
def test_what_is_saved_is_read_back(tmp_path, old):
    content = own_checkpoint(model_of())
    save_checkpoint(tmp_path / "7.pth.tar", content, old_serialization=old)
    read = load_checkpoint(tmp_path / "7.pth.tar")
    assert same(read.pop("state_dict"), content.pop("state_dict"))
    assert read == DEFAULTS | content


def test_failing_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "best.pth.tar"
    save_checkpoint(path, {"state_dict": {"a": torch.zeros(1)}})
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*best\.pth\.tar"):
        save_checkpoint(path, {"state_dict": {"a": torch.ones(1)}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", [True, False])
def test_a_disk_that_is_full_is_said_as_what_it_is(tmp_path, monkeypatch, old):
    """torch raises errors of its own making, which do not say it; /dev/full is a disk that is always full."""
    real_open = open
    monkeypatch.setattr("builtins.open", lambda path, *mode: real_open("/dev/full", *mode))
    with pytest.raises(OSError, match=r"No space left on device: .*7\.pth\.tar"):
        save_checkpoint(tmp_path / "7.pth.tar", {"a": torch.zeros(10**6)}, old_serialization=old)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_never_loaded(tmp_path):
    path = tmp_path / "1.pth.tar"
    save_checkpoint(path, {"state_dict": {"first.weight": torch.rand(50)}})
    check_sums(path)
    spoil(path)
    with pytest.raises(alm.AlmError, match="it is damaged: the checksum of"):
        check_sums(path)
    with pytest.raises(alm.AlmError, match=r"1.pth.tar: refused: it is damaged: the checksum of .*data/\d"):
        load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-30])
    for weights in (True, False):
        with pytest.raises(alm.AlmError, match="damaged"):
            load_checkpoint(path, weights=weights)
