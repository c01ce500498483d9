"""The training log: its lines to the letter, pages, and streams that go away."""

import io
import math
import re
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from support import REPOSITORY
from support.logs import TIME

from utils.runs.training_log import TrainingLog


def test_an_iteration_is_to_the_letter():
    stream = io.StringIO()
    with TrainingLog(stream=stream, rank=3) as log:
        log.iteration(1, 1, of=9, pictures=4, seconds=0.5, loss=3.3725974559783936, accu=0.5)
        log.iteration(0, 1, 9, 4, np.float64(2), np.float64(0.5), 0.5)
    assert re.fullmatch(
        rf"TCAPPDLL {TIME} - Epoch: 1 Iteration: 1  rank : 3  "
        r"train\.loss : 3\.3725974559783936  train\.ips : 8\.0 imgs/s\n"
        r".*train\.loss : 0\.5  train\.ips : 2\.0 imgs/s\n",
        stream.getvalue(),
    )


def test_stream_and_file_get_the_same_lines_at_once(tmp_path):
    stream, path = io.StringIO(), tmp_path / "train.log"
    with TrainingLog(path, stream=stream) as log:
        log.line("学习 = \t")
        log.line()
        log.iteration(2, 7, 9, 4, 0.5, math.nan, 0.5)
        assert path.read_text(encoding="utf-8") == stream.getvalue()
        log.close()
    assert not stream.closed
    assert stream.getvalue().startswith("学习 = \t\n\nTCAPPDLL ")
    assert stream.getvalue().endswith("train.loss : nan  train.ips : 8.0 imgs/s\n")


def test_standard_output_is_the_default_stream_and_the_file_takes_what_is_not_unicode(capsys, tmp_path):
    with TrainingLog(tmp_path / "train.log") as log:
        log.line("b\udcff.jpg")
        log.evaluation(0, {"ma": 0.5})  # an event, and no line
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "b\\udcff.jpg\n"
    assert len(capsys.readouterr().out.splitlines()) == 1


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
    log.note("max_iters", epoch=4, iterations=7, of=9)
    lines = [line for line in stream.getvalue().split("\n") if not line.startswith("TCAPPDLL")]
    epoch = [
        *("", "Learning Rate: 0.1", ""),
        "Epoch: [3][0/3]\tTime 1.000 (1.000)\tLoss 3.0000 (3.0000)\tAccu 0.500 (0.500)",
        "Epoch: [3][2/3]\tTime 3.000 (2.000)\tLoss 1.0000 (2.0000)\tAccu 0.500 (0.500)",
    ]
    assert lines == [
        *epoch,
        *(line.replace("Epoch: [3]", "Epoch: [4]") for line in epoch),
        "Test: [0/2]\tTime 0.500 (0.500)\tLoss 1.0000 (1.0000)\tAccu 0.900 (0.900)",
        " * Accu 0.932",
        "",
        "Epoch 4 ends after 7 of 9 iterations, for --max_iters",
        "",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_a_terminal_has_a_line_per_epoch_and_every_stream_the_time_left(tmp_path, stream):
    with TrainingLog(tmp_path / "train.log", stream=stream, print_freq=2, epochs=3, max_iters=2) as log:
        log.line("Device: cpu")
        for epoch in range(3):
            log.learning_rate(0.1)
            for i, seconds in enumerate((50, 70)):
                log.iteration(epoch, i, of=900, pictures=4, seconds=seconds, loss=3.0 - i, accu=0.5)
            log.test(0, of=1, pictures=4, seconds=30, loss=1.0, accu=0.9)
            log.tested(0.9)
            log.evaluation(epoch + 1, {"ma": 0.75})
            log.detail("the table")
            log.epoch(epoch + 1)
    done = [
        "Done: epoch 1/3, loss 2.5000, mA 0.7500, 2 min, 5 min to go",
        "Done: epoch 2/3, loss 2.5000, mA 0.7500, 2 min, 2 min to go",
        "Done: epoch 3/3, loss 2.5000, mA 0.7500, 2 min",
    ]
    written = (tmp_path / "train.log").read_text().splitlines()
    assert [line for line in written if line.startswith("Done")] == done
    left = [line for line in written if line.startswith("Time left")]
    assert left == ["Time left: 4 min", "Time left: 4 min", "Time left: 1 min"]
    if not stream.isatty():
        assert stream.getvalue().splitlines() == written
    else:
        shown = stream.getvalue()
        assert "Epoch 3/3: " in shown
        lines = [
            line for line in re.split(r"[\r\n]", shown) if line.strip() and not line.startswith("Epoch ")
        ]
        assert lines == ["Device: cpu", *done]


@pytest.mark.parametrize("in_time", [True, False])
def test_a_page_that_cannot_be_written_is_tried_again_and_is_an_error_at_the_end(tmp_path, in_time):
    path = tmp_path / "place" / "page.html"
    log = TrainingLog(stream=io.StringIO())
    with pytest.raises(OSError, match=r"place.page.html"):
        log.page(path, "before the first iteration")
    log = TrainingLog(stream=io.StringIO())
    log.iteration(0, 0, 1, 2, 0.5, 1.25, 0.5)
    with pytest.warns(UserWarning, match=r"page.html: No such file .*; the next evaluation"):
        assert not log.page(path, "the first")
    if in_time:
        path.parent.mkdir()
        assert log.page(path, "the second")
        assert path.read_text(encoding="utf-8") == "the second"
    with nullcontext() if in_time else pytest.raises(OSError, match=r"place.page.html"):
        log.close()
    log.close()


class GoneStream(io.StringIO):
    """A stream whose reader went away."""

    writes = 0

    def write(self, text):
        self.writes += 1
        raise BrokenPipeError


def test_a_run_with_a_file_outlives_its_stream(tmp_path):
    stream = GoneStream()
    with TrainingLog(tmp_path / "train.log", stream=stream) as log:
        log.line("one")
        log.line("two")
    assert stream.writes == 1
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "one\ntwo\n"
    with pytest.raises(BrokenPipeError):
        TrainingLog(stream=GoneStream()).line("one")


@pytest.mark.slow
def test_a_piped_run_whose_reader_stops_ends_well(tmp_path):
    program = (
        "import sys; from utils.runs.training_log import TrainingLog\n"
        "with TrainingLog(sys.argv[1]) as log:\n"
        "    for number in range(20_000): log.line(f'line {number}')\n"
        "print('more, from elsewhere')\n"
    )
    path = tmp_path / "train.log"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=REPOSITORY, **pipes)
    assert run.stdout.readline().strip() == b"line 0"
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == (b"", 0)
    run.stderr.close()
    assert path.read_text(encoding="utf-8").splitlines()[-1] == "line 19999"


def test_running_means_go_on_where_they_were():
    shown = []
    for parts in ((range(4),), (range(2), range(2, 4))):
        state, stream = None, io.StringIO()
        for part in parts:
            log = TrainingLog(stream=stream, print_freq=3)
            if state:
                log.load_state_dict(state)
            for i in part:
                log.iteration(0, i, 4, 2, 0.5, 4.0 - i, 0.5)
            state = log.state_dict()
        shown.append([line for line in stream.getvalue().splitlines() if line.startswith("Epoch")])
    assert shown[0] == shown[1]
    assert len(shown[0]) == 2
