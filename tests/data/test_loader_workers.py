"""The loader's worker processes: how many there are, how they end, what they leave to the main process."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.numbered import COUNT, Numbered, draw_numbered, indices_of

from alm.errors import PictureError
from utils.data import loader as reader_module
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader, WorkerError


@pytest.fixture
def root(tmp_path):
    """A directory with a list of pictures, each of one colour that is its number."""
    return draw_numbered(tmp_path)


BATCH_OF_32 = 32 * 256 * 128 * 3


@pytest.mark.parametrize(
    ("free", "workers", "left"),
    [
        (1 << 30, 4, 4),
        (64 << 20, 4, 4),  # of Docker's 64 MB one loader takes half: 10 batches
        (32 << 20, 4, 1),
        (16 << 20, 4, 0),
        (0, 1, 0),
        (0, 0, 0),
    ],
)
def test_what_is_read_ahead_fits_in_shared_memory(monkeypatch, tmp_path, recwarn, free, workers, left):
    monkeypatch.setattr(reader_module, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(reader_module, "usable_cores", lambda: 4)
    monkeypatch.setattr(reader_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert Loader(Numbered(100), 32, workers=workers).workers == left
    assert 2 * (left * 2 + 2) * BATCH_OF_32 <= free or left == 0
    messages = [str(warning.message) for warning in recwarn]
    if left == workers:
        assert messages == []
    else:
        (message,) = messages
        assert f"{free / 1e6:.0f} MB free, room for {left} of {workers} processes" in message
        assert "--shm-size" in message


@pytest.mark.parametrize("workers", [2, 3])
def test_more_workers_than_cores_are_said_in_our_words(monkeypatch, recwarn, workers):
    """Torch's own remark is three sentences, about what it calls the current system."""
    monkeypatch.setattr(reader_module.os, "sched_getaffinity", lambda process: {0, 5}, raising=False)
    loader = Loader(Numbered(), 4, workers=workers)
    assert indices_of(loader.epoch(0)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    expected = [
        "3 processes read pictures on 2 CPU cores, which pays only where files arrive slowly; else lower "
        "--workers, or leave it at auto"
    ]
    assert [str(warning.message) for warning in recwarn] == (expected if workers == 3 else [])


def test_without_shared_memory_to_look_at_workers_are_as_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(reader_module, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(reader_module, "usable_cores", lambda: 4)
    assert Loader(Numbered(), 4, workers=3).workers == 3


def test_workers_end_with_the_loader_after_an_error(root):
    (root / "0.png").write_bytes(b"no picture")
    loader = Loader(MultiLabelDataset(root, root / "list.txt"), 3, workers=2)
    gc.disable()  # what it would have to collect ends workers late, and slowly
    try:
        with pytest.raises(PictureError):
            next(loader.epoch(0))
        assert multiprocessing.active_children()
        del loader
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


class Deadly(Numbered):
    """A data set whose reader dies where a file says so, at a picture, as often as it has lines."""

    def __init__(self, orders):
        super().__init__()
        self.orders = orders

    def images(self, indices):
        orders = self.orders.read_text().split()
        if orders and int(orders[0]) in indices:
            self.orders.write_text(" ".join(orders[1:]))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().images(indices)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_replaced_once_an_epoch(tmp_path, workers):
    orders = tmp_path / "orders"
    loader = Loader(Deadly(orders), 2, shuffle=True, workers=workers)
    expected = [indices_of(Loader(Numbered(), 2, shuffle=True).epoch(epoch)) for epoch in range(3)]
    for epoch, order in enumerate(("3", "", "10")):
        orders.write_text(order)
        with (
            pytest.warns(UserWarning, match="a process that reads pictures died") if order else nullcontext()
        ):
            assert indices_of(loader.epoch(epoch)) == expected[epoch]
    orders.write_text("3 4")
    with pytest.warns(UserWarning, match="died"), pytest.raises(WorkerError, match="--workers 1, or 0"):
        indices_of(loader.epoch(0))


def test_workers_use_one_thread():
    class Threads(Numbered):
        def images(self, indices):
            return torch.tensor(torch.get_num_threads())

    assert [images.item() for images, _, _ in Loader(Threads(), COUNT, workers=1).epoch(0)] == [1]


READ_UNTIL_INTERRUPTED = """
import signal
import sys
sys.path.insert(0, sys.argv[1])
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader
loader = Loader(MultiLabelDataset(sys.argv[2], sys.argv[2] + "/list.txt"), 2, workers=2)
list(loader.epoch(0))
interrupts = []
if sys.argv[3] == "finish":  # only now that the workers run, which would inherit the handler
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupts.append(True))
try:
    while not interrupts:
        for batch in loader.epoch(0):
            print("reading", flush=True)
    print(len(list(loader.epoch(1))), "batches")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
@pytest.mark.parametrize(
    ("number", "wish", "last_line", "status"),
    [
        (signal.SIGINT, "stop", "interrupted", 0),
        (signal.SIGINT, "finish", "550 batches", 0),
        (signal.SIGTERM, "finish", "550 batches", 0),
        (signal.SIGTERM, "stop", "", -signal.SIGTERM),
    ],
)
def test_workers_leave_signals_to_the_main_process(root, number, wish, last_line, status):
    repository = str(Path(__file__).resolve().parents[2])
    # Long epochs: Python drops a KeyboardInterrupt that comes while it takes down what read an epoch.
    names = root / "list.txt"
    names.write_text(names.read_text(encoding="utf-8") * 100, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", READ_UNTIL_INTERRUPTED, repository, str(root), wish],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "reading\n"
        os.killpg(process.pid, number)  # as Ctrl-C and schedulers do: to the workers as well
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert out.endswith(f"{last_line}\n") or not last_line
    assert err == ""
    assert process.returncode == status
