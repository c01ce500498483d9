"""A run's checkpoints in its directory: what is written when, what is removed, what is gone on from."""

import os
from pathlib import Path

import pytest
import torch
from support.tiny import IDENTITY, Batches, figures_of, load, names, run_of, spoil

import alm
from alm.checkpoint import files as checkpoint_file
from alm.checkpoint import retention as saves
from alm.checkpoint.files import save_checkpoint
from alm.checkpoint.retention import (
    Position,
    drop_surplus,
    newest_checkpoint,
    numbered_name,
    numbered_position,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("3.pth.tar", (3, 0, True)),
        ("3+120.pth.tar", (3, 120, True)),
        ("a_b_3+120.pth.tar", (3, 120, True)),
        ("1_2.pth.tar", (2, 0, True)),
        ("best.pth.tar", None),
        ("last.pth.tar", None),
        ("best.3.pth.tar", None),
        ("3+.pth.tar", None),
        ("3.pth", None),
        ("12345678901.pth.tar", None),
    ],
)
def test_names_tell_how_far_a_run_was(name, expected):
    assert numbered_position(name) == expected


@pytest.mark.parametrize("prefix", ["", "x", "a_1"])
def test_names_are_read_as_they_are_given(prefix):
    for position in (Position(0, 3), Position(12), Position(4, 120)):
        assert numbered_position(numbered_name(prefix, *position[:2])) == position


@pytest.fixture
def calls(monkeypatch):
    """Return the calls to the file system that a save makes, in order."""
    calls = []

    def recorded(name, original, shown):
        def call(*arguments, **named):
            calls.append(f"{name} {shown(*arguments)}")
            return original(*arguments, **named)

        monkeypatch.setattr(checkpoint_file.os, name, call)

    def of_handle(handle, *_):
        path = os.readlink(f"/proc/self/fd/{handle}")
        return "directory" if os.path.isdir(path) else "file"

    recorded("fsync", os.fsync, of_handle)
    recorded("replace", os.replace, lambda _, path: os.path.basename(path))
    recorded("link", os.link, lambda path, _: os.path.basename(path))
    write = checkpoint_file.Writer.write

    def written(self, data):
        if not calls or calls[-1] != "write":
            calls.append("write")
        return write(self, data)

    monkeypatch.setattr(checkpoint_file.Writer, "write", written)
    return calls


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="it is Linux that tells what a handle is of")
def test_each_step_is_on_the_disk_before_the_next(tmp_path, calls):
    list(saves.save_under(tmp_path, ["2.pth.tar", "best.pth.tar", "last.pth.tar"], {"a": 1}))
    assert calls == [
        "write", "fsync file", "replace 2.pth.tar", "fsync directory",
        "link 2.pth.tar", "replace best.pth.tar", "fsync directory",
        "link 2.pth.tar", "replace last.pth.tar", "fsync directory",
    ]  # fmt: skip


def test_only_the_newest_stay_of_epochs_and_of_those_within_them(tmp_path):
    run = run_of(tmp_path, 5, save_freq=1, save_every_iters=2, keep=2)
    run.fit(Batches(), Batches())
    assert names(tmp_path) == [
        "3+2.pth.tar", "4+2.pth.tar", "4.pth.tar", "5.pth.tar", "best.pth.tar", "last.pth.tar",
    ]  # fmt: skip
    assert run.progress.saved == ["3+2.pth.tar", "4.pth.tar", "4+2.pth.tar", "5.pth.tar"]
    every = run_of(tmp_path / "every", 5, save_freq=1, keep=None)
    every.fit(Batches())
    assert names(tmp_path / "every") == [*(f"{epoch}.pth.tar" for epoch in range(1, 6)), "last.pth.tar"]


def test_the_best_stays(tmp_path, monkeypatch):
    figures_of(monkeypatch, 0.9, *[0.5] * 5)
    run_of(tmp_path, 6, save_freq=1, keep=1).fit(Batches(), Batches())
    assert names(tmp_path) == ["6.pth.tar", "best.pth.tar", "last.pth.tar"]
    assert load(tmp_path / "best.pth.tar")["epoch"] == 1


def test_what_the_run_has_not_saved_is_not_its_to_remove(tmp_path):
    (tmp_path / "0.pth.tar").write_text("another's")
    run_of(tmp_path, 5, save_freq=1, keep=1).fit(Batches())
    assert names(tmp_path) == ["0.pth.tar", "5.pth.tar", "last.pth.tar"]


def test_nothing_is_removed_for_a_checkpoint_that_does_not_read_back(tmp_path, monkeypatch):
    """A disk that writes something else than it was given."""
    run = run_of(tmp_path, 2, save_freq=1, keep=2, identity=IDENTITY)
    run.fit(Batches())
    good = names(tmp_path)

    def spoiled(path, state):
        save_checkpoint(path, state)
        spoil(path)

    monkeypatch.setattr(saves, "save_checkpoint", spoiled)
    run.settings.epochs = 3
    run.fit(Batches())
    assert set(good) <= set(names(tmp_path))
    assert "3.pth.tar: it is damaged: the checksum of" in run.unsaved
    assert run.trainer.log.of("not_saved") == [[{"reason": run.unsaved}]]
    assert newest_checkpoint(tmp_path).path.name == "2.pth.tar"


@pytest.fixture
def fill(monkeypatch):
    """Return a function after which the disk is full for each checkpoint that it is told to be full for."""

    def fill(is_full_for):
        def save(path, state):
            if is_full_for(state):
                raise OSError(28, "No space left on device", str(path))
            save_checkpoint(path, state)

        monkeypatch.setattr(saves, "save_checkpoint", save)

    return fill


@pytest.mark.parametrize("failures", [1, 3, 99])
def test_a_full_disk_costs_no_training(tmp_path, fill, failures):
    left = iter([True] * failures)
    fill(lambda state: next(left, False))
    run = run_of(tmp_path, 3, save_freq=1, keep=2)
    assert run.fit(Batches())
    told = [note["reason"] for (note,) in run.trainer.log.of("not_saved")]
    assert len(told) == min(failures, 3)
    assert all("No space left on device" in reason and str(tmp_path) in reason for reason in told)
    assert (run.unsaved is None) is (failures < 3)
    assert len(run.trainer.log.losses) == 12
    expected = {1: ["2.pth.tar", "3.pth.tar"], 3: [], 99: []}[failures]
    assert run.progress.saved == expected
    assert names(tmp_path) == [*expected, *(["last.pth.tar"] if expected else [])]


def test_a_best_that_was_not_saved_is_none(tmp_path, monkeypatch, fill):
    """The next one that is better than what best.pth.tar holds takes its place."""
    figures_of(monkeypatch, 0.5, 0.9, 0.7)
    fill(lambda state: state["best_ma"] == 0.9)
    run = run_of(tmp_path, 3)
    run.fit(Batches(), Batches())
    best = load(tmp_path / "best.pth.tar")
    assert (best["epoch"], best["best_ma"], run.progress.best_ma, run.unsaved) == (3, 0.7, 0.7, None)


def test_a_best_that_was_saved_stays_whatever_fails_behind_it(tmp_path, monkeypatch):
    figures_of(monkeypatch, 0.5, 0.9, 0.7)
    give = saves.give_second_name

    def second_name(path, other):
        if other.name == "last.pth.tar" and load(path)["best_ma"] == 0.9:
            raise OSError(28, "No space left on device", str(other))
        give(path, other)

    monkeypatch.setattr(saves, "give_second_name", second_name)
    run = run_of(tmp_path, 3, save_freq=1)
    run.fit(Batches(), Batches())
    assert len(run.trainer.log.of("not_saved")) == 3  # with the second epoch's figures, and the third twice
    best = load(tmp_path / "best.pth.tar")
    assert (best["epoch"], best["best_ma"], run.progress.best_ma) == (2, 0.9, 0.9)
    assert run.progress.saved == ["1.pth.tar", "2.pth.tar", "3.pth.tar"]


def test_what_cannot_be_removed_is_tried_again(tmp_path, monkeypatch):
    stuck = [True]
    unlink = Path.unlink

    def remove(path, **options):
        if path.name == "1.pth.tar" and stuck[0]:
            raise OSError(16, "Device or resource busy", str(path))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", remove)
    run = run_of(tmp_path, 2, save_freq=1, keep=1)
    run.fit(Batches())
    assert (run.unsaved, run.progress.saved) == (None, ["1.pth.tar", "2.pth.tar"])
    stuck[0] = False
    run.settings.epochs = 3
    run.fit(Batches())
    assert names(tmp_path) == ["3.pth.tar", "last.pth.tar"]


def test_surplus_is_of_either_kind(tmp_path):
    listed = ["1.pth.tar", "1+5.pth.tar", "2.pth.tar", "2+5.pth.tar", "3.pth.tar"]
    for name in listed:
        torch.save({}, tmp_path / name)
    assert drop_surplus(tmp_path, listed, 2, tmp_path / "3.pth.tar") == listed[1:]
    (tmp_path / "2.pth.tar").unlink()  # somebody else's doing
    assert drop_surplus(tmp_path, listed[1:], 1, tmp_path / "3.pth.tar") == ["2+5.pth.tar", "3.pth.tar"]
    assert names(tmp_path) == ["2+5.pth.tar", "3.pth.tar"]


# Which one is gone on from.


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


def test_a_link_that_leads_nowhere_is_passed_over_and_told(directory):
    last = directory / "last.pth.tar"
    last.unlink()
    last.symlink_to(directory / "gone")
    found = newest_checkpoint(directory)
    assert (found.path.name, found.checkpoint["epoch"]) == ("3.pth.tar", 3)
    assert found.passed_over == [f"{last}: no such file; check the path"]
    for path in directory.glob("[!l]*"):
        path.unlink()
    with pytest.raises(alm.AlmError, match=r"every checkpoint .* cannot resume; .*last\.pth\.tar: no such"):
        newest_checkpoint(directory)


def test_one_checkpoint_is_read_whole(directory, monkeypatch):
    reads = []
    load = saves.load_checkpoint
    monkeypatch.setattr(
        saves, "load_checkpoint", lambda path, weights=True: reads.append(weights) or load(path, weights)
    )
    assert newest_checkpoint(directory).checkpoint["epoch"] == 3
    assert reads.count(True) == 1


def test_if_all_are_damaged_none_is_written_over(directory, tmp_path_factory):
    for name in names(directory):
        (directory / name).write_bytes(b"PK")
    with pytest.raises(alm.AlmError, match=r"every checkpoint in .* is damaged, so the run cannot resume"):
        newest_checkpoint(directory)
    assert newest_checkpoint(tmp_path_factory.mktemp("empty")) is None
