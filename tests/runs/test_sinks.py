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


def test_json_stream_declares_every_metric_first(tmp_path):
    with TrainingLog(stream=io.StringIO(), json_path=tmp_path / "log.json"):
        pass
    declared = events(tmp_path / "log.json")
    assert [event["metric"] for event in declared] == list(METRICS)
    first = declared[0]
    assert list(first) == ["timestamp", "elapsedtime", "datetime", "type", "metric", "metadata"]
    assert first["type"] == "METADATA"
    assert first["metadata"] == {"unit": "", "GOAL": "MINIMIZE", "STAGE": "TRAIN"}


def test_json_events_are_to_the_letter(tmp_path):
    with TrainingLog(stream=io.StringIO(), json_path=tmp_path / "log.json") as log:
        log.iteration(0, 1, 9, 4, 0.5, 3.3725974559783936, 0.5)
        log.evaluation(0, {"ma": 0.5, "f1": math.nan})
        training, evaluation = events(tmp_path / "log.json")[len(METRICS) :]  # flushed before closing
    assert list(training) == ["timestamp", "datetime", "elapsedtime", "type", "step", "data"]
    assert all(isinstance(training[key], str) for key in ("timestamp", "elapsedtime", "datetime"))
    assert re.fullmatch(TIME, training["datetime"])
    assert (training["type"], training["step"]) == ("LOG", [0, 1])
    assert training["data"] == ("{'rank': '0', 'train.loss': '3.3725974559783936', 'train.ips': '8.0'}")
    assert (evaluation["type"], evaluation["step"]) == ("LOG", [0])
    assert evaluation["data"] == "{'val.ma': '0.5', 'val.f1': 'nan'}"
    elapsed = [float(event["elapsedtime"]) for event in events(tmp_path / "log.json")]
    assert elapsed == sorted(elapsed)
    assert 0 <= elapsed[0] < 60


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
    """A run that goes on counts its iterations on."""
    with TrainingLog(stream=io.StringIO(), tensorboard_dir=tmp_path, first_iteration=first) as log:
        log.iteration(0, 0, 1, 4, 0.5, 3.0, 0.5)
        log.evaluation(1, {"ma": 0.5})
        log.iteration(1, 0, 1, 4, 0.25, 2.0, 0.5)
    assert tensorboard == [
        ("opened", str(tmp_path), first or None),  # what an interrupted run wrote from there on is hidden
        ("train/loss", 3.0, first),
        ("train/ips", 8.0, first),
        ("val/ma", 0.5, 1),
        ("train/loss", 2.0, first + 1),
        ("train/ips", 16.0, first + 1),
        "closed",
    ]


@pytest.mark.parametrize("earlier", [None, "", "a whole line\n", "a torn li"])
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
            raise error
    for path in paths.values():
        assert (path.read_text(encoding="utf-8") if path.exists() else None) == earlier
    assert tensorboard == []


def test_a_place_that_tensorboard_cannot_write_is_said_before_any_file_is_made(tmp_path, tensorboard):
    (tmp_path / "file").touch()
    for place in ("file", "file/scalars"):
        with pytest.raises(LogError, match=rf"scalars to .*{place}: .*; name another --tensorboard"):
            TrainingLog(tmp_path / "train.log", tensorboard_dir=tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with TrainingLog(stream=io.StringIO(), tensorboard_dir=tmp_path / "a" / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("earlier", [None, "a whole line\n"])
def test_a_stream_of_events_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch, earlier):
    def write(file, text):
        raise OSError(28, "No space left on device")

    path = tmp_path / "log.json"
    if earlier:
        path.write_text(earlier, encoding="utf-8")
    monkeypatch.setattr(LineFile, "write", write)
    with pytest.raises(LogError, match=r"cannot write the log .*log\.json: No space left on device"):
        TrainingLog(stream=io.StringIO(), json_path=path)
    assert (path.read_text(encoding="utf-8") if path.exists() else None) == earlier
    with pytest.raises(LogError):
        TrainingLog(tmp_path / "train.log", stream=io.StringIO(), json_path=path)
    assert not (tmp_path / "train.log").exists()


@pytest.mark.parametrize("begun", [True, False])
def test_why_a_run_ended_is_the_last_line_of_its_file(tmp_path, begun):
    stream, path = io.StringIO(), tmp_path / "train.log"
    with suppress(OSError), TrainingLog(path, stream=stream) as log:
        if begun:
            log.iteration(0, 0, 1, 4, 0.5, 3.0, 0.5)
        log.failed("the disk is full")
        raise OSError
    assert "full" not in stream.getvalue()
    if begun:
        assert path.read_text(encoding="utf-8").splitlines()[-1] == "Ended: the disk is full"
    else:
        assert not path.exists()


@pytest.mark.parametrize("event", ["iteration", "test"])
def test_a_run_that_fails_later_keeps_its_log(tmp_path, event):
    with suppress(OSError), TrainingLog(tmp_path / "train.log", stream=io.StringIO()) as log:
        log.line("options")
        getattr(log, event)(*([0] if event == "iteration" else []), 0, 1, 4, 0.5, 3.0, 0.5)
        raise OSError
    assert (tmp_path / "train.log").read_text(encoding="utf-8").startswith("options\n")


def test_missing_tensorboard_is_said_before_any_file_is_made(tmp_path, monkeypatch):
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
def test_a_log_on_a_full_disk_is_named(tmp_path):
    """The stream of events, which writes at once, before anything is done; the lines when there is one."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    with pytest.raises(LogError, match=re.escape(f"cannot write the log {path}: No space left on device")):
        TrainingLog(stream=io.StringIO(), json_path=path)

    def log_a_line():
        with TrainingLog(path, stream=io.StringIO()) as log:
            log.iteration(0, 0, 9, 4, 0.5, 0.5, 0.5)

    with pytest.raises(OSError, match="No space left") as error:
        log_a_line()
    assert error.value.filename == str(path)
