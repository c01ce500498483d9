"""Nothing of an earlier run is written over, and a start that fails is none."""

import json
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from support.models import own_checkpoint
from support.tiny import spoil

from alm.checkpoint.files import placed
from alm.checkpoint.restore import save_checkpoint
from alm.checkpoint.retention import Position
from alm.constants import MEAN, STD
from alm.errors import AlmError
from utils.io.atomic import temporary_name
from utils.runs import directory as run_directory
from utils.runs.directory import (
    can_go_on,
    check_run_directory,
    go_back,
    later_checkpoints,
    new_run_directory,
    opened_run_directory,
)


def append_metrics(directory, record):
    with open(directory / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def saved(path, **parts):
    """Write a checkpoint of a run with these parts."""
    weights = {"classifier.weight": torch.rand(3, 3)}
    network = SimpleNamespace(
        approach="bn_inception", backbone_name="bn_inception", levels=(), mean=MEAN, std=STD,
        align_corners=False, state_dict=lambda: weights,
    )  # fmt: skip
    save_checkpoint(path, own_checkpoint(network, **parts))


def contents(directory):
    """Return relative path -> text of the files in a directory, but for its lock."""
    files = [path for path in directory.iterdir() if path.name != ".lock"]
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def test_new_directories_never_meet(tmp_path):
    wanted, made = tmp_path / "runs" / "peta", []
    for number in range(4):
        with opened_run_directory(wanted, {"number": number}, must_be_new=True) as directory:
            made.append(directory.name)
    assert made == ["peta", "peta-2", "peta-3", "peta-4"]
    assert new_run_directory(tmp_path, "peta", "bn_inception").name.startswith("peta-bn_inception-2")


def test_options_lie_in_the_directory(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with opened_run_directory(tmp_path, {"lr": 0.1}) as directory:
        assert directory == tmp_path
    assert contents(tmp_path) == {"notes.txt": "mine", "options.json": '{\n "lr": 0.1\n}\n'}


def test_empty_unrelated_or_started_directory_is_taken(tmp_path):
    for name in ("notes.txt", "train.log", "options.json"):
        (tmp_path / name).write_text("earlier", encoding="utf-8")
    check_run_directory(tmp_path, None, Position(0))
    check_run_directory(tmp_path / "new", None, Position(0))


@pytest.mark.parametrize("name", ["best.pth.tar", "x_10.pth.tar"])
def test_directory_with_another_runs_checkpoints_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(AlmError, match=r"another run's files are there .*--resume"):
        check_run_directory(tmp_path, None, Position(0))


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(AlmError, match="that is a file"):
        check_run_directory(tmp_path / "run", None, Position(0))


def test_a_place_that_cannot_be_made_says_how_to_name_another(tmp_path):
    (tmp_path / "file").touch()
    for must_be_new in (False, True):
        with (
            pytest.raises(AlmError, match=r"cannot make .*file/run \(.*; name another .*--output_dir"),
            opened_run_directory(tmp_path / "file" / "run", {}, must_be_new),
        ):
            pass


def test_resume_goes_on_in_its_own_directory_alone(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for directory in (own, other):
        directory.mkdir()
        (directory / "10.pth.tar").touch()
    check_run_directory(own, own / "10.pth.tar", Position(10))
    with pytest.raises(AlmError, match="another run"):
        check_run_directory(other, own / "10.pth.tar", Position(10))


def test_resume_from_before_the_last_checkpoint_is_refused(tmp_path):
    for epoch in (10, 20):
        saved(tmp_path / f"{epoch}.pth.tar", epoch=epoch)
    with pytest.raises(AlmError, match=r"20\.pth\.tar is later than 10\.pth\.tar"):
        check_run_directory(tmp_path, tmp_path / "10.pth.tar", Position(10))


def test_what_was_saved_within_an_epoch_and_last_counts_too(tmp_path):
    (tmp_path / "train.log").touch()
    (tmp_path / "2.pth.tar").touch()
    saved(tmp_path / "2+30.pth.tar", epoch=2, iteration=30)
    assert not can_go_on(tmp_path / "2.pth.tar", Position(2))
    assert can_go_on(tmp_path / "2+30.pth.tar", Position(2, 30))
    saved(tmp_path / "last.pth.tar", epoch=3)
    assert later_checkpoints(tmp_path, Position(2, 30)) == [tmp_path / "last.pth.tar"]
    spoil(tmp_path / "last.pth.tar", "classifier.weight")  # which only a look at all of it tells
    assert can_go_on(tmp_path / "2+30.pth.tar", Position(2, 30))


def test_figures_of_an_evaluation_that_is_to_come_are_dropped(tmp_path):
    for epoch in (1, 2):
        append_metrics(tmp_path, {"epoch": epoch})
    go_back(tmp_path, Position(2, 0, evaluated=False))
    assert contents(tmp_path) == {"metrics.jsonl": '{"epoch": 1}\n'}


def test_a_run_can_go_on_where_its_last_checkpoint_lies(tmp_path):
    (tmp_path / "10.pth.tar").touch()
    assert not can_go_on(tmp_path / "10.pth.tar", Position(10))  # no log: that is no run's directory
    (tmp_path / "train.log").touch()
    assert can_go_on(tmp_path / "10.pth.tar", Position(10))
    saved(tmp_path / "20.pth.tar", epoch=20)
    assert not can_go_on(tmp_path / "10.pth.tar", Position(10))
    assert can_go_on(tmp_path / "20.pth.tar", Position(20))


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_start_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error), opened_run_directory(tmp_path / "a" / "b" / "run", {"lr": 0.1}):
        raise error
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(error), opened_run_directory(tmp_path, {"lr": 0.1}):
        raise error
    assert contents(tmp_path) == {}


def test_a_run_that_fails_later_leaves_its_files(tmp_path):
    with suppress(OSError), opened_run_directory(tmp_path / "run", {}) as directory:
        (directory / "train.log").write_text("an iteration", encoding="utf-8")
        raise OSError
    assert set(contents(tmp_path / "run")) == {"train.log", "options.json"}


def test_what_an_earlier_run_left_is_added_to(tmp_path):
    """The log is appended to by TrainingLog. Of the options there is a line for each later start, but none of
    a start that saved nothing.
    """
    (tmp_path / "train.log").write_text("earlier", encoding="utf-8")
    for number in (-1, 0, 1, 2):
        with opened_run_directory(tmp_path, {"number": number}):
            if number == 0:
                (tmp_path / "last.pth.tar").touch()
    left = contents(tmp_path)
    left.pop(".lock", None)
    left.pop("last.pth.tar")
    assert left == {
        "train.log": "earlier",
        "options.json": '{\n "number": 0\n}\n',
        "options.jsonl": '{"number": 1}\n{"number": 2}\n',
    }


# Going on from an earlier epoch.


def test_a_best_of_a_later_epoch_is_kept_beside(tmp_path):
    """The run that goes on may not come to one as good, and would write over it."""
    saved(tmp_path / "best.pth.tar", epoch=3)
    before = (tmp_path / "best.pth.tar").read_bytes()
    (line,) = go_back(tmp_path, Position(2))
    assert line == f"Best: {tmp_path / 'best.pth.tar'} is of epoch 3, later than 2; kept as best.3.pth.tar"
    assert (tmp_path / "best.3.pth.tar").read_bytes() == before
    assert not (tmp_path / "best.pth.tar").exists()
    assert not later_checkpoints(tmp_path, Position(2))


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_best_of_the_same_or_an_earlier_epoch_stays(tmp_path, epoch):
    saved(tmp_path / "best.pth.tar", epoch=epoch)
    before = (tmp_path / "best.pth.tar").read_bytes()
    assert go_back(tmp_path, Position(2)) == []
    assert {path.name for path in tmp_path.iterdir()} == {"best.pth.tar"}
    assert (tmp_path / "best.pth.tar").read_bytes() == before


def test_a_best_that_is_damaged_is_told_and_stays(tmp_path):
    saved(tmp_path / "best.pth.tar", epoch=1)
    (tmp_path / "best.pth.tar").write_bytes((tmp_path / "best.pth.tar").read_bytes()[:-50])
    (line,) = go_back(tmp_path, Position(2))
    assert line.startswith(f"Best: {tmp_path / 'best.pth.tar'}: ")
    assert "damaged" in line
    assert [path.name for path in tmp_path.iterdir()] == ["best.pth.tar"]


def test_figures_of_later_epochs_come_again_and_are_dropped(tmp_path):
    for epoch in (1, 2, 2, 3, 4):
        append_metrics(tmp_path, {"epoch": epoch})
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 1, "m')  # killed while it was written
    assert go_back(tmp_path, Position(2)) == []
    append_metrics(tmp_path, {"epoch": 3})
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 2, 3]


def test_what_a_killed_run_had_not_written_whole_is_removed(tmp_path):
    for name in ("7.pth.tar", f"{'x' * 60}_7.pth.tar"):
        with suppress(KeyError), placed(tmp_path / name) as temporary:
            temporary.touch()
            kept = temporary.rename(temporary.with_suffix(".kept"))
            raise KeyError
        kept.rename(temporary)
    for name in ("options.json", "options.jsonl", "metrics.jsonl"):
        temporary_name(tmp_path / name).touch()
    (tmp_path / ".7.pth.tar.1234.tmp").touch()  # of version 1.1
    others = (".notes.tmp", "x.pth.tar.1234.tmp", ".7.pth.tar.tmp", temporary_name(tmp_path / "a.csv").name)
    for name in others:
        (tmp_path / name).touch()
    with opened_run_directory(tmp_path, {}):
        assert {path.name for path in tmp_path.iterdir()} == {"options.json", ".lock", *others}


def test_options_that_cannot_be_written_leave_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_directory, "write_json", full)
    with pytest.raises(OSError, match="No space"), opened_run_directory(tmp_path / "a" / "run", {}):
        pass
    assert list(tmp_path.iterdir()) == []
