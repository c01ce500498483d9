"""The files of a log: lines, the JSON stream, TensorBoard's scalars; and files that cannot be written."""

import io
import json
import math
import re
import sys
import types
from contextlib import suppress
from pathlib import Path

import pytest
from support.logs import TIME

from utils.errors import LogError
from utils.runs.sinks import METRICS, LineFile
from utils.runs.training_log import TrainingLog


def events(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("TCAPPDLL {") for line in lines)
    return [json.loads(line.removeprefix("TCAPPDLL ")) for line in lines]


@pytest.mark.parametrize("earlier", ["", "a whole line\n", "a torn li"])
def test_existing_files_are_appended_to(tmp_path, earlier):
    text, stream = tmp_path / "train.log", tmp_path / "log.json"
    for path in (text, stream):
        path.write_text(earlier, encoding="utf-8")
    with TrainingLog(text, stream=io.StringIO(), json_path=stream) as log:
        log.line("new")
    assert text.read_text(encoding="utf-8").splitlines() == [*earlier.splitlines(), "new"]
    lines = stream.read_text(encoding="utf-8").splitlines()
    assert lines[: -len(METRICS)] == earlier.splitlines()
    assert all(line.startswith("TCAPPDLL {") for line in lines[-len(METRICS) :])


def test_the_json_stream_is_to_the_letter(tmp_path):
    with TrainingLog(stream=io.StringIO(), json_path=tmp_path / "log.json") as log:
        log.iteration(0, 1, 9, 4, 0.5, 3.3725974559783936, 0.5)
        log.evaluation(0, {"ma": 0.5, "f1": math.nan})
        *declared, training, evaluation = events(tmp_path / "log.json")  # flushed before closing
    assert [event["metric"] for event in declared] == list(METRICS)
    assert list(declared[0]) == ["timestamp", "elapsedtime", "datetime", "type", "metric", "metadata"]
    assert declared[0]["type"] == "METADATA"
    assert declared[0]["metadata"] == {"unit": "", "GOAL": "MINIMIZE", "STAGE": "TRAIN"}
    assert list(training) == ["timestamp", "datetime", "elapsedtime", "type", "step", "data"]
    assert all(isinstance(training[key], str) for key in ("timestamp", "elapsedtime", "datetime"))
    assert re.fullmatch(TIME, training["datetime"])
    assert 0 <= float(declared[0]["elapsedtime"]) <= float(training["elapsedtime"]) < 60
    assert (training["type"], training["step"]) == ("LOG", [0, 1])
    assert training["data"] == "{'rank': '0', 'train.loss': '3.3725974559783936', 'train.ips': '8.0'}"
    assert (evaluation["type"], evaluation["step"]) == ("LOG", [0])
    assert evaluation["data"] == "{'val.ma': '0.5', 'val.f1': 'nan'}"


@pytest.fixture
def tensorboard(monkeypatch):
    """Stand in for TensorBoard's writer; return what is written."""
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append(("opened", folder, purge_step))

        def close(self):
            written.append("closed")

        def add_scalar(self, *scalar):
            written.append(scalar)

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    return written


@pytest.mark.parametrize("first", [0, 500])
def test_every_iteration_and_evaluation_is_a_scalar(tmp_path, tensorboard, first):
    """A run that goes on counts its iterations on, and hides what an interrupted one wrote from there on."""
    with TrainingLog(stream=io.StringIO(), tensorboard_dir=tmp_path, first_iteration=first) as log:
        log.iteration(0, 0, 1, 4, 0.5, 3.0, 0.5)
        log.evaluation(1, {"ma": 0.5})
        log.iteration(1, 0, 1, 4, 0.25, 2.0, 0.5)
    assert tensorboard == [
        ("opened", str(tmp_path), first or None),
        ("train/loss", 3.0, first),
        ("train/ips", 8.0, first),
        ("val/ma", 0.5, 1),
        ("train/loss", 2.0, first + 1),
        ("train/ips", 16.0, first + 1),
        "closed",
    ]


@pytest.mark.parametrize("earlier", [None, "", "a torn li"])
def test_a_run_that_fails_before_its_first_iteration_leaves_the_files_as_they_were(
    tmp_path, tensorboard, earlier
):
    paths = {"path": tmp_path / "train.log", "json_path": tmp_path / "log.json"}
    for path in paths.values():
        if earlier is not None:
            path.write_text(earlier, encoding="utf-8")
    for error in (OSError, KeyboardInterrupt):
        with (
            suppress(error),
            TrainingLog(**paths, stream=io.StringIO(), tensorboard_dir=tmp_path / "scalars") as log,
        ):
            log.line("options")
            log.failed("why")
            raise error
    for path in paths.values():
        assert (path.read_text(encoding="utf-8") if path.exists() else None) == earlier
    assert tensorboard == []


@pytest.mark.parametrize("event", ["iteration", "test"])
def test_a_run_that_fails_later_keeps_its_log_whose_last_line_is_the_reason(tmp_path, event):
    stream = io.StringIO()
    with suppress(OSError), TrainingLog(tmp_path / "train.log", stream=stream) as log:
        log.line("options")
        getattr(log, event)(*([0] if event == "iteration" else []), 0, 1, 4, 0.5, 3.0, 0.5)
        log.failed("the disk is full")
        raise OSError
    first, *_, last = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert (first, last) == ("options", "Ended: the disk is full")
    assert "full" not in stream.getvalue()  # the command says it there


def test_a_place_that_tensorboard_cannot_write_is_an_error_before_any_file_is_made(tmp_path, tensorboard):
    (tmp_path / "file").touch()
    for place in ("file", "file/scalars"):
        with pytest.raises(LogError, match=rf"scalars to .*{place}: .*--tensorboard"):
            TrainingLog(tmp_path / "train.log", tensorboard_dir=tmp_path / place)
    with TrainingLog(stream=io.StringIO(), tensorboard_dir=tmp_path / "a" / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_tensorboard_is_an_error_before_any_file_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(LogError, match="pip install tensorboard"):
        TrainingLog(tmp_path / "train.log", tensorboard_dir=tmp_path / "scalars")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("option", "place"), [("path", "."), ("json_path", "missing/log.json")])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, option, place):
    path = tmp_path / place
    with pytest.raises(LogError, match=re.escape(f"cannot write the log {path}: ")):
        TrainingLog(**{option: path}, stream=io.StringIO())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk_is_found_before_the_work(tmp_path):
    path = tmp_path / "log.json"
    path.symlink_to("/dev/full")
    with pytest.raises(LogError, match=re.escape(f"cannot write the log {path}: No space left on device")):
        TrainingLog(tmp_path / "train.log", stream=io.StringIO(), json_path=path)
    assert not (tmp_path / "train.log").exists()


@pytest.fixture
def disk(monkeypatch):
    """Return a disk that takes half a line and no more while it `is_full`."""
    write_all = LineFile._write_all

    class Disk:
        is_full = False

    def write(self):
        if Disk.is_full:
            half = len(self._unwritten) // 2
            self._file.write(self._unwritten[:half])
            del self._unwritten[:half]
            raise OSError(28, "No space left on device", str(self._path))
        write_all(self)

    monkeypatch.setattr(LineFile, "_write_all", write)
    return Disk


@pytest.mark.parametrize("room_again", [True, False])
def test_lines_that_a_full_disk_does_not_take_are_written_later_or_are_an_error(tmp_path, disk, room_again):
    path = tmp_path / "train.log"
    log = TrainingLog(path, stream=io.StringIO())
    log.test(1, 9, 2, 0.5, 1.25, 0.5)
    disk.is_full = True
    for number in range(2):
        with pytest.warns(UserWarning, match=r"train.log: No space left .* kept, and tried again"):
            log.line(f"line {number}")
    if room_again:
        disk.is_full = False
        log.line("line 2")
        log.close()
        assert path.read_text(encoding="utf-8") == "line 0\nline 1\nline 2\n"
    else:
        with pytest.raises(OSError, match="No space left") as error:
            log.close()
        assert error.value.filename == str(path)
