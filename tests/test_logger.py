"""The training log: its lines to the letter, the JSON stream, TensorBoard, and streams that go away."""

import io
import json
import math
import re
import subprocess
import sys
import types
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from utils.errors import LogError
from utils.log_sinks import METRICS
from utils.logger import TrainingLog

REPOSITORY = Path(__file__).resolve().parents[1]
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"


def events(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("TCAPPDLL {") for line in lines)
    return [json.loads(line.removeprefix("TCAPPDLL ")) for line in lines]


def test_iteration_line_is_to_the_letter():
    stream = io.StringIO()
    with TrainingLog(stream=stream) as log:
        log.iteration(1, 1, of=9, pictures=4, seconds=0.5, loss=3.3725974559783936, accu=0.5, rank=3)
    assert re.fullmatch(
        rf"TCAPPDLL {TIME} - Epoch: 1 Iteration: 1  rank : 3  "
        r"train\.loss : 3\.3725974559783936  train\.ips : 8\.0 imgs/s\n",
        stream.getvalue(),
    )


def test_numpy_scalars_are_printed_as_plain_numbers():
    stream = io.StringIO()
    TrainingLog(stream=stream).iteration(0, 1, 9, 4, np.float64(2), np.float64(0.5), 0.5)
    assert "train.loss : 0.5  train.ips : 2.0 imgs/s" in stream.getvalue()


def test_stream_and_file_get_the_same_lines_at_once(tmp_path):
    stream, path = io.StringIO(), tmp_path / "train.log"
    with TrainingLog(path, stream=stream) as log:
        log.line("学习 = \t")
        log.line()
        log.iteration(2, 7, 9, 4, 0.5, math.nan, 0.5)
        assert path.read_text(encoding="utf-8") == stream.getvalue()
    assert stream.getvalue().startswith("学习 = \t\n\nTCAPPDLL ")
    assert stream.getvalue().endswith("train.loss : nan  train.ips : 8.0 imgs/s\n")


def test_standard_output_is_the_default_stream(capsys):
    TrainingLog().line("here")
    assert capsys.readouterr() == ("here\n", "")


def test_closing_twice_leaves_the_stream_open(tmp_path):
    stream = io.StringIO()
    log = TrainingLog(tmp_path / "train.log", stream=stream)
    log.close()
    log.close()
    assert not stream.closed


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


def test_a_name_that_is_not_unicode_can_be_logged(tmp_path):
    with TrainingLog(tmp_path / "train.log", stream=io.StringIO()) as log:
        log.line("b\udcff.jpg")
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "b\\udcff.jpg\n"


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


def test_elapsed_time_starts_at_zero_and_grows(tmp_path):
    with TrainingLog(stream=io.StringIO(), json_path=tmp_path / "log.json") as log:
        log.iteration(0, 0, 9, 4, 0.5, 1.0, 1.0)
    elapsed = [float(event["elapsedtime"]) for event in events(tmp_path / "log.json")]
    assert elapsed == sorted(elapsed)
    assert 0 <= elapsed[0] < 60


def test_evaluation_prints_nothing():
    stream = io.StringIO()
    TrainingLog(stream=stream).evaluation(0, {"ma": 0.5})
    assert stream.getvalue() == ""


@pytest.fixture
def tensorboard(monkeypatch):
    """Stand in for TensorBoard's writer; return what is written."""
    written = []

    class Writer:
        def __init__(self, folder):
            written.append(("opened", folder))

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
        ("opened", str(tmp_path)),
        ("train/loss", 3.0, first),
        ("train/ips", 8.0, first),
        ("val/ma", 0.5, 1),
        ("train/loss", 2.0, first + 1),
        ("train/ips", 16.0, first + 1),
        "closed",
    ]


def test_progress_lines_come_every_print_freq_with_running_means():
    stream = io.StringIO()
    log = TrainingLog(stream=stream, print_freq=2)
    for epoch in (3, 4):
        log.learning_rate(0.1)
        for i, loss in enumerate((3.0, 2.0, 1.0)):
            log.iteration(epoch, i, of=3, pictures=4, seconds=1.0 + i, loss=loss, accu=0.5)
    for i, pictures in enumerate((64, 32)):
        log.test(i, of=2, pictures=pictures, seconds=0.5, loss=1.0 + i, accu=0.9)
    log.tested(0.93249)
    log.stopped_early(7)
    lines = [line for line in stream.getvalue().split("\n") if not line.startswith("TCAPPDLL")]
    epoch = [
        "",
        "Learning Rate: 0.1",
        "",
        "Epoch: [3][0/3]\tTime 1.000 (1.000)\tLoss 3.0000 (3.0000)\tAccu 0.500 (0.500)",
        "Epoch: [3][2/3]\tTime 3.000 (2.000)\tLoss 1.0000 (2.0000)\tAccu 0.500 (0.500)",
    ]
    assert lines == [
        *epoch,
        *(line.replace("Epoch: [3]", "Epoch: [4]") for line in epoch),
        "Test: [0/2]\tTime 0.500 (0.500)\tLoss 1.0000 (1.0000)\tAccu 0.900 (0.900)",
        " * Accu 0.932",
        "",
        "Early stopping at iteration 7",
        "",
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


@pytest.mark.parametrize("option", ["path", "json_path"])
@pytest.mark.parametrize("place", ["missing/train.log", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, option, place):
    path = tmp_path / place
    with pytest.raises(LogError, match=re.escape(f"cannot write the log {path}: ")):
        TrainingLog(**{option: path}, stream=io.StringIO())


class GoneStream(io.StringIO):
    """A stream whose reader has left."""

    writes = 0

    def write(self, text):
        self.writes += 1
        raise BrokenPipeError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("option", ["path", "json_path"])
def test_a_log_on_a_full_disk_is_named(tmp_path, option):
    (tmp_path / "log").symlink_to("/dev/full")

    def log_a_line():
        with TrainingLog(stream=io.StringIO(), **{option: tmp_path / "log"}) as log:
            log.iteration(0, 0, 9, 4, 0.5, 0.5, 0.5)

    with pytest.raises(OSError, match="No space left") as error:
        log_a_line()
    assert error.value.filename == str(tmp_path / "log")


def test_a_run_with_a_file_outlives_its_stream(tmp_path):
    stream = GoneStream()
    with TrainingLog(tmp_path / "train.log", stream=stream) as log:
        log.line("one")
        log.line("two")
    assert stream.writes == 1
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "one\ntwo\n"


def test_a_run_without_a_file_ends_with_its_stream():
    with pytest.raises(BrokenPipeError):
        TrainingLog(stream=GoneStream()).line("one")


def test_a_piped_run_whose_reader_stops_ends_well(tmp_path):
    program = (
        "import sys; from utils.logger import TrainingLog\n"
        "with TrainingLog(sys.argv[1]) as log:\n"
        "    for number in range(20_000): log.line(f'line {number}')\n"
        "print('more, from elsewhere')\n"
    )
    path = tmp_path / "train.log"
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout.readline().strip() == b"line 0"
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == (b"", 0)
    run.stderr.close()
    assert path.read_text(encoding="utf-8").splitlines()[-1] == "line 19999"
