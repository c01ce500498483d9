"""Nothing of an earlier run is written over."""

import json

import pytest

from utils.run_directory import (
    RunDirectoryError,
    append_metrics,
    new_run_directory,
    open_run_directory,
    saved_epoch,
    write_options,
)


def test_new_directories_never_meet(tmp_path):
    made = {new_run_directory(tmp_path / "runs", "peta", "inception_iccv") for _ in range(5)}
    assert len(made) == 5
    assert all(path.is_dir() and path.name.startswith("peta-inception_iccv-") for path in made)


def test_empty_or_unrelated_directory_is_taken(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert open_run_directory(tmp_path, None, 0) == tmp_path
    assert open_run_directory(tmp_path / "a" / "b", None, 0).is_dir()


@pytest.mark.parametrize(
    "name", ["train.log", "options.json", "metrics.jsonl", "best.pth.tar", "x_10.pth.tar"]
)
def test_another_runs_directory_is_refused(tmp_path, name):
    (tmp_path / name).write_text("earlier", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="--resume"):
        open_run_directory(tmp_path, None, 0)


def test_resume_goes_on_in_its_own_directory_alone(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for directory in (own, other):
        directory.mkdir()
        (directory / "10.pth.tar").touch()
    assert open_run_directory(own, own / "10.pth.tar", 10) == own
    with pytest.raises(RunDirectoryError, match="another run"):
        open_run_directory(other, own / "10.pth.tar", 10)


def test_resume_from_before_the_last_checkpoint_is_refused(tmp_path):
    for name in ("10.pth.tar", "20.pth.tar"):
        (tmp_path / name).touch()
    with pytest.raises(RunDirectoryError, match=r"20\.pth\.tar.*epoch 10"):
        open_run_directory(tmp_path, tmp_path / "10.pth.tar", 10)


def test_saved_epoch(tmp_path):
    names = {
        "10.pth.tar": 10,
        "a_b_7.pth.tar": 7,
        "best.pth.tar": None,
        "x7.pth.tar": None,
        "train.log": None,
    }
    assert {name: saved_epoch(tmp_path / name) for name in names} == names


def test_options_of_a_continued_run_lie_beside_the_first(tmp_path):
    for number in range(3):
        write_options(tmp_path, {"number": number})
    read = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()}
    assert read == {
        "options.json": {"number": 0},
        "options_2.json": {"number": 1},
        "options_3.json": {"number": 2},
    }


def test_metrics_are_a_line_an_evaluation(tmp_path):
    for epoch in range(2):
        append_metrics(tmp_path, {"epoch": epoch})
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 0}, {"epoch": 1}]
