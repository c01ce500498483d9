"""The log reader, on logs as people have them: other ports', encodings, noise, and files that are no logs."""

import gzip
import io
import json
import math

import pytest
from support.logs import EVALUATION, LINES, METADATA, THREE, epoch_line, event, line, reader

from utils.errors import LogError
from utils.runs import log_reader
from utils.runs.log_reader import read_losses
from utils.runs.training_log import TrainingLog


@pytest.fixture
def read(tmp_path):
    """Return a function that writes text or bytes to a file and reads its losses."""
    return reader(tmp_path)


def test_what_the_logger_writes_is_read_back(tmp_path):
    with TrainingLog(tmp_path / "train.log", stream=io.StringIO(), json_path=tmp_path / "log.json") as log:
        log.line("Number of model parameters: 15147120")
        for epoch in (0, 1):
            for iteration in (0, 1):
                log.iteration(epoch, iteration, 2, 4, 0.5, 0.1 + epoch + iteration / 3, 0.9)
            log.evaluation(epoch, {"ma": 0.8})
    expected = {(e, i): 0.1 + e + i / 3 for e in (0, 1) for i in (0, 1)}
    for name, form in (("train.log", "text"), ("log.json", "JSON")):
        found = read_losses(tmp_path / name)
        assert (found.path, found.format, found.losses) == (str(tmp_path / name), form, expected)
        assert (found.repeated, found.nonfinite, found.unread) == (0, {}, frozenset())


@pytest.mark.parametrize(
    "form",
    [
        "TCAPPDLL 2024-07-31 04:40:30.254817 - Epoch: 0 Iteration: {}  rank:0  train.loss:{}  train.ips:9\n",
        "TCAPPDLL 2024-07-31 04:40:30.254817 - Epoch : 0 Iteration : {}  rank :\t0  train.loss :   {}\n",
        "TCAPPDLL 2024-07-31 04:40:30.254817 - Epoch: 0 Iteration: {}  rank : 0  train.loss_avg : {} \n",
        "TCAPPDLL 2024-07-31 04:40:30.254817 - Epoch: 0 Iteration: {}  rank : 0  train.loss_avg : 9.9  "
        "train.loss : {}\n",
        "Epoch: 0 |Iteration: {} |Loss: {}|lr: 0.1\n",
        "Epoch: 0 | Iter {}/99 | loss: {}, accu: 0.5\r",
        "Epoch: 0, Step: {}, rank: 0, Loss : {}\n",
        "EPOCH: 0 ITERATION: {} epoch_time: 3.5 LOSS: {} \n",
    ],
)
def test_logs_of_other_ports(read, form):
    content = "".join("2024-07-31 warning\n" + form.format(i, loss) for (_, i), loss in THREE.items())
    found = read(content)
    assert (found.format, found.losses, found.repeated) == ("text", THREE, 0)
    assert read((content * 2)[:-1]).losses == THREE
    torn = form.format(2, 3.0)
    assert read(form.format(0, 3.5) + torn[: torn.index("3.0") + 2]).losses == {(0, 0): 3.5}


def test_if_nothing_is_found_the_nearest_line_is_quoted(read):
    """A line with the word and a number is nearer than one with the word alone."""
    with pytest.raises(LogError, match="the nearest to one is the line 'loss: reference'"):
        read("\tloss: reference\n")
    with pytest.raises(LogError) as raised:
        read("\tloss: reference\nstep 5 train_loss=\x1b]0;3.25\x07" + "x" * 500 + "\nstep 6 train_loss=3\n")
    message = str(raised.value)
    assert "the nearest to one is the line 'step 5 train_loss=" in message
    assert message.isprintable()
    assert message.count("x") <= 120


@pytest.mark.parametrize(
    ("as_object", "options"), [(False, {"sort_keys": True}), (True, {}), (True, {"separators": (",", ":")})]
)
def test_losses_of_json_events_are_read_however_they_are_written(read, as_object, options):
    events = "".join(event(i, loss, as_object=as_object, **options) for (_, i), loss in THREE.items())
    plain = 'TCAPPDLL {"step": [1, 2], "data": {"local_rank": 3, "rank": 0, "train.loss": 2.5}}\n'
    found = read(METADATA + events + EVALUATION + plain)
    assert (found.format, found.losses) == ("JSON", {**THREE, (1, 2): 2.5})


def test_data_is_never_evaluated(read, tmp_path):
    trap = tmp_path / "trap"
    data = f"{{'rank': '0', 'train.loss': open({str(trap)!r}, 'w')}}"
    content = f"TCAPPDLL {json.dumps({'type': 'LOG', 'step': [0, 1], 'data': data})}\n"
    assert read(content + event(0, 3.5)).losses == {(0, 0): 3.5}
    assert not trap.exists()


@pytest.mark.parametrize("kind", [line, event])
def test_ranks_are_told_apart(read, kind):
    content = "".join(kind(i, 10 * rank + i, rank=rank) for i in range(3) for rank in (1, 0, 12))
    assert read(content).losses == {(0, i): i for i in range(3)}
    assert read(content, rank=12).losses == {(0, i): 120 + i for i in range(3)}
    with pytest.raises(LogError, match="no losses of rank 2, only of rank 0, 1, 12;"):
        read(content, rank=2)


@pytest.mark.parametrize("head", ["rank: {} ", "[rank{}]: ", "Rank {} | ", "TCAPPDLL rank={} - "])
@pytest.mark.parametrize("end", "\n\r")
def test_a_rank_may_stand_before_the_epoch(read, head, end):
    form = head + "Epoch: 0 Iteration: {} train.loss : {} " + end
    content = "".join(form.format(rank, i, 10 * rank + i) for i in range(3) for rank in (1, 0, 12))
    assert read(content).losses == {(0, i): i for i in range(3)}
    assert read(content, rank=12).losses == {(0, i): 120 + i for i in range(3)}
    another_line = head.format(3) + "hello" + end
    assert read(another_line + "Epoch: 0 Iteration: 7 train.loss : 9.5 \n").losses == {(0, 7): 9.5}


@pytest.mark.parametrize("kind", [line, event])
def test_a_loss_of_another_rank_that_is_not_finite_is_kept(read, kind):
    found = read("".join(kind(i, loss, rank=r) for i in range(3) for r, loss in enumerate((3.5, "nan"))))
    assert (found.rank, found.ranks) == (0, 2)
    assert (set(found.losses.values()), found.nonfinite[0, 1]) == ({3.5}, "nan on rank 1")


@pytest.mark.parametrize("iterations", [range(6), range(0, 60, 10), (0, 50)])
@pytest.mark.parametrize("form", ["Epoch: [1][{}/{}] Loss 3.5 \n", "Epoch 1 | Iter {}/{} | loss: 3.5 \n"])
def test_an_epoch_that_is_shorter_than_the_log_says_is_an_early_end(read, form, iterations):
    """A log may have some iterations alone, evenly."""

    def log(of):
        return read("".join(form.format(i, of) for i in iterations))

    last = iterations[-1]
    whole = last + iterations[1] - iterations[0]
    assert log(whole).early_end == ""
    assert log(whole + 1).early_end == f"ends epoch 1 at iteration {last} of {whole + 1}"
    assert log(whole + 1).until((1, last)).early_end == ""


def test_epoch_lines_alone_are_read(read):
    content = epoch_line(0, "3.5146") + epoch_line(0, "2.0000", epoch=1)
    content += "Epoch: [1][5/10] |Loss: 3.25|lr: 0.1\nepoch: [1][6/10] loss: 3.5 \n"
    found = read("Test: [0/10]\tTime 1.0 (1.0)\tLoss 7.0 (7.0)\tAccu 0.9 (0.9)\n" + content)
    assert found.format == "Epoch"
    assert found.losses == {(0, 0): 3.5146, (1, 0): 2.0, (1, 5): 3.25, (1, 6): 3.5}
    assert read(content, rank=1).losses == found.losses


@pytest.mark.parametrize("kind", [line, event])
def test_epoch_lines_do_not_count_beside_single_iterations(read, kind):
    content = "".join(
        epoch_line(i, "9.9") + kind(i, loss) + epoch_line(i, "9.9") for (_, i), loss in THREE.items()
    )
    found = read(content)
    assert (found.losses, found.repeated) == (THREE, 0)
    with pytest.raises(LogError, match="only of rank 0"):
        read(content, rank=1)


def test_text_and_json_in_one_file_are_no_repetition(read):
    content = "".join(event(i, loss) + line(i, loss) for (_, i), loss in THREE.items())
    found = read(content)
    assert (found.format, found.losses, found.repeated) == ("text", THREE, 0)


def test_the_last_value_of_a_repeated_iteration_counts(read):
    found = read(LINES + line(1, 7.0) + line(1, 8.0) + line(3, 2.5))
    assert found.losses == {**THREE, (0, 1): 8.0, (0, 3): 2.5}
    assert found.repeated == 2


@pytest.mark.parametrize("spelling", ["nan", "-NaN", "inf", "-Infinity", "1e999"])
@pytest.mark.parametrize("kind", [line, event, epoch_line])
def test_a_loss_that_is_not_finite_is_kept(read, kind, spelling):
    found = read(kind(0, 3.5) + kind(1, spelling) + kind(2, "nan") + kind(1, 3.25))
    assert set(found.nonfinite) == {(0, 1), (0, 2)}
    assert not math.isfinite(float(found.nonfinite[0, 1]))
    assert found.losses[0, 1] == 3.25


@pytest.mark.parametrize("number", ["3", "3.", "1e-05", "2.5E+3", "+1.5", "-0.25"])
def test_a_number_may_be_spelt_in_any_way_of_python(read, number):
    for kind in (line, event, epoch_line):
        assert read(kind(0, number)).losses == {(0, 0): float(number)}


@pytest.mark.parametrize(
    "number",
    [
        "2,15", "1.234,5", "1,234.5", "1_000", "1'000", "1 000", "1\xa0000", "0x1p3", "2.15e", "2.15f",
        "2.15%", "2.15s", "2'15", "1.2.3", "1/3", "1.#INF", "nan(ind)", "--", "",
        "10 01", "10.01 x 10^-3", "10.01 X10", "10.01 * 10", "10.01 \xd7 10", "10.01 e-3", "10.01 ^2",
        "10.01 %", "1 .5",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [line, event, epoch_line])
def test_a_number_that_is_not_read_whole_is_no_number(read, kind, number):
    found = read(kind(0, 3.5) + kind(1, number) + kind(2, number) + kind(2, 3.25))
    assert (found.losses, found.unread) == ({(0, 0): 3.5, (0, 2): 3.25}, {(0, 1)})
    with pytest.raises(LogError, match="no losses found"):
        read(kind(1, number))


@pytest.mark.parametrize("iteration", ["1,000", "1.000", "1_000", "1'000", "1 000", "10 01"])
def test_an_iteration_is_read_whole_too(read, iteration):
    assert read(LINES + line(iteration, 9)).losses == THREE


ENCODED = {
    "UTF-16 BE": b"\xfe\xff" + LINES.encode("utf-16-be"),
    "UTF-8 BOM": LINES.encode("utf-8-sig"),
    "UTF-16 CRLF": LINES.replace("\n", "\r\n").encode("utf-16"),
    "gzip UTF-16": gzip.compress(LINES.encode("utf-16")),
    "gzip of two members": gzip.compress(LINES[:200].encode()) + gzip.compress(LINES[200:].encode()),
    "no last line end": LINES.rstrip("\n").encode(),
    "Latin-1": b"\xff\xfd not UTF-8\n" + LINES.encode(),
    "zeros after a crash": LINES.encode() + b"\0" * 5000,
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_a_log_may_have_any_encoding(read, encoding):
    assert read(ENCODED[encoding]).losses == THREE


NOISE = {
    "warning": "UserWarning: align_corners\n  warnings.warn(\n",
    "bars": " 10%|█      | 1/10 [00:01<00:09,  1.00it/s]\r 20%|██     | 2/10 [00:02<00:08,  1.00it/s]\r",
    "bar on the same line": "Epoch 0:  20%|██        | 2/10 [00:02<00:08,  1.00it/s]",
    "cursor": "\x1b[A\x1b[2K",
    "torn": line(7, "9.").partition(" train.ips")[0].rstrip(),
    "tensor": line(7, "tensor(9.)"),
    "overlong": line(7, 9, epoch=9999999999),
    "torn JSON": event(7, 9).partition("oss")[0],
}


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("kind", [line, event])
def test_noise_between_and_on_the_lines_is_passed_over(read, noise, kind):
    content = "".join(NOISE[noise] + kind(i, loss) for (_, i), loss in THREE.items()) + NOISE[noise]
    assert read(content).losses == THREE


@pytest.mark.parametrize("kind", [line, event, epoch_line])
def test_colours_of_a_terminal_are_passed_over(read, kind):
    content = "".join(kind(i, loss) for (_, i), loss in THREE.items())
    coloured = content.replace("Loss ", "\x1b[1mLoss\x1b[0m \x1b[31;1m")
    coloured = coloured.replace("rank", "\x1b[38;5;12mrank\x1b[m")
    assert read("\x1b[32m" + coloured.replace("\n", "\x1b[0m\n")).losses == THREE


def test_an_event_without_an_end_loses_nothing(read):
    """A reader that goes from record to record must not stop at what is longer than any."""
    longest = 1 << 20
    content = "x" * longest + LINES + 'TCAPPDLL {"type": "' + "y" * longest + "\n" + LINES
    assert read(content).losses == THREE


def test_a_log_is_bounded_as_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(log_reader, "MOST_BYTES", 1 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * (2 << 20)))
    (tmp_path / "a.log").write_bytes(b"x" * (2 << 20))
    for name in ("a.gz", "a.log"):
        with pytest.raises(LogError, match=rf"{name}: .*more than 1 MB.* SMALLER"):
            read_losses(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the log is empty"),
        (gzip.compress(b"", mtime=0), "the log is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100), "a binary file"),
        (LINES.encode("utf-16-le"), "a binary file"),
        (gzip.compress(LINES.encode("utf-8"), mtime=0)[:-12], "damaged gzip file"),
        (gzip.compress(LINES.encode("utf-8"), mtime=0)[:12] + b"not gzip any more", "damaged gzip file"),
        (b"hello\n", "no losses found"),
        (METADATA.encode() + EVALUATION.encode(), "no losses found"),
        (b"Epoch: 0 Iteration: 7  rank : 0  val.loss : 9.5 \n", "no losses found"),
    ],
)
def test_an_unusable_log_is_named_with_the_reason(read, content, reason):
    with pytest.raises(LogError, match=rf"a\.log: {reason}"):
        read(content)


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    for path in (tmp_path / "missing.log", tmp_path):
        with pytest.raises(LogError, match=rf"{path.name}: cannot be read \("):
            read_losses(path)
