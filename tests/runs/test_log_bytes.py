"""Logs as files: encodings, noise between the lines, long ones, and those that are none."""

import gzip
import tracemalloc

import pytest
from support.logs import EVALUATION, LINES, METADATA, THREE, epoch_line, event, line, reader

from utils.errors import LogError
from utils.runs.log_reader import CHUNK_BYTES, read_losses


@pytest.fixture
def read(tmp_path):
    """Return a function that writes text or bytes to a file and reads its losses."""
    return reader(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode("utf-16"),
        b"\xfe\xff" + LINES.encode("utf-16-be"),
        LINES.encode("utf-8-sig"),
        LINES.replace("\n", "\r\n").encode("utf-8"),
        LINES.replace("\n", "\r\n").encode("utf-16"),
        gzip.compress(LINES.encode("utf-8")),
        gzip.compress(LINES.encode("utf-16")),
        gzip.compress(LINES[:200].encode("utf-8")) + gzip.compress(LINES[200:].encode("utf-8")),
        LINES.rstrip("\n").encode("utf-8"),
        b"\xff\xfd not UTF-8\n" + LINES.encode("utf-8"),
        LINES.encode("utf-8") + b"\0" * 5000,
    ],
    ids=[
        "UTF-16 LE", "UTF-16 BE", "UTF-8 BOM", "CRLF", "UTF-16 CRLF", "gzip", "gzip UTF-16",
        "gzip of two members", "no last line end", "Latin-1", "zeros after a crash",
    ],
)  # fmt: skip
def test_encodings(read, content):
    assert read(content).losses == THREE


@pytest.mark.parametrize(
    "noise",
    [
        "UserWarning: align_corners\n  warnings.warn(\n",
        " 10%|█         | 1/10 [00:01<00:09,  1.00it/s]\r 20%|██        | 2/10 [00:02<00:08,  1.00it/s]\r",
        "Epoch 0:  20%|██        | 2/10 [00:02<00:08,  1.00it/s]",
        "\x1b[A\x1b[2K",
        "TCAPPDLL 2025-07-06 05:55:46.338889 - Epoch: 0 Iteration: 7  rank : 0  train.loss : 9.",
        "TCAPPDLL 2025-07-06 05:55:46.338889 - Epoch: 0 Iteration: 7  rank : 0  train.loss : tensor(9.)\n",
        "TCAPPDLL 2025-07-06 05:55:46.338889 - Epoch: 9999999999 Iteration: 7  rank : 0  train.loss : 9 \n",
        'TCAPPDLL {"timestamp": "1.1", "type": "LOG", "step": [0, 7], "data": "{\'rank\': \'0\', \'train.l',
    ],
    ids=["warning", "bars", "bar on the same line", "cursor", "torn", "tensor", "overlong", "torn JSON"],
)
@pytest.mark.parametrize("kind", [line, event])
def test_noise_between_and_on_the_lines_is_passed_over(read, noise, kind):
    content = "".join(noise + kind(i, loss) for (_, i), loss in THREE.items()) + noise
    assert read(content).losses == THREE


@pytest.mark.parametrize("kind", [line, event, epoch_line])
def test_colours(read, kind):
    content = "".join(kind(i, loss) for (_, i), loss in THREE.items())
    coloured = content.replace("Loss ", "\x1b[1mLoss\x1b[0m \x1b[31;1m").replace(
        "rank", "\x1b[38;5;12mrank\x1b[m"
    )
    assert coloured != content
    assert read("\x1b[32m" + coloured.replace("\n", "\x1b[0m\n")).losses == THREE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_nothing_is_lost_or_doubled_where_chunks_meet(read, encoding):
    steps = range(3 * CHUNK_BYTES // len(line(0, 1.5)))
    found = read("".join(line(i, i + 0.5) for i in steps).encode(encoding))
    assert found.losses == {(0, i): i + 0.5 for i in steps}
    assert found.repeated == 0


def test_a_file_without_line_ends_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "long.log"
    with open(path, "wb") as file:
        for i in range(24):
            file.write(b"x" * (CHUNK_BYTES - 70 * i) + line(i, 1.5).strip().encode("ascii"))
    tracemalloc.start()
    try:
        found = read_losses(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.losses == {(0, i): 1.5 for i in range(24)}
    assert peak < 6 * CHUNK_BYTES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the log is empty"),
        (gzip.compress(b""), "the log is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100), "a binary file"),
        (LINES.encode("utf-16-le"), "a binary file"),
        (gzip.compress(LINES.encode("utf-8"))[:-12], "damaged gzip file"),
        (gzip.compress(LINES.encode("utf-8"))[:12] + b"not gzip any more", "damaged gzip file"),
        (b"hello\n", "no losses found"),
        (METADATA.encode("ascii") + EVALUATION.encode("ascii"), "no losses found"),
    ],
)
def test_an_unusable_log_is_named_with_the_reason(read, tmp_path, content, reason):
    with pytest.raises(LogError) as raised:
        read(content)
    assert str(raised.value).startswith(f"{tmp_path / 'a.log'}: {reason}")


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    for path in (tmp_path / "missing.log", tmp_path):
        with pytest.raises(LogError) as raised:
            read_losses(path)
        assert str(raised.value).startswith(f"{path}: cannot be read (")
