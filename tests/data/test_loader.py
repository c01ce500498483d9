"""Loader: the same batches whatever the workers, the batch size or the global state; and its workers."""

import errno
import gc
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import REPOSITORY
from support.numbered import COUNT, Deadly, Numbered, indices_of

from alm.errors import PictureError
from utils.data import loader as loader_module
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader, WorkerError


@pytest.fixture
def root(tmp_path):
    """A directory with a list of pictures, each of one colour that is its number."""
    for i in range(COUNT):
        Image.new("RGB", (8, 16), (i, i, i)).save(tmp_path / f"{i}.png")
    lines = "".join(f"{i}.png {i % 2} 1\n" for i in range(COUNT))
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    return tmp_path


def mirrored_of(loader, epoch):
    """Return the indices to mirror in an epoch."""
    return {index for _, labels, mirror in loader.epoch(epoch) for index in labels[mirror, 0].tolist()}


def plan_of(batches):
    """Return the indices of each batch, and which it mirrors."""
    return [(labels.tolist(), mirror.tolist()) for _, labels, mirror in batches]


@settings(deadline=None)
@given(
    count=st.integers(1, 40), batch_size=st.integers(1, 50), shuffle=st.booleans(), epoch=st.integers(0, 99)
)
def test_an_epoch_is_every_picture_once(count, batch_size, shuffle, epoch):
    loader = Loader(Numbered(count), batch_size, shuffle=shuffle)
    batches = indices_of(loader.epoch(epoch))
    assert len(batches) == len(loader)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    indices = [index for batch in batches for index in batch]
    assert sorted(indices) == list(range(count))
    assert shuffle or indices == list(range(count))


def test_order_and_mirroring_depend_on_seed_and_epoch():
    orders, mirrors = set(), set()
    for seed in (1, 2):
        loader = Loader(Numbered(200), 32, shuffle=True, mirror=True, seed=seed)
        for epoch in (0, 1, 2):
            orders.add(str(indices_of(loader.epoch(epoch))))
            mirrors.add(str(mirrored_of(loader, epoch)))
            assert 60 < len(mirrored_of(loader, epoch)) < 140
    assert len(orders) == len(mirrors) == 6


def test_order_is_the_same_on_every_machine():
    loader = Loader(Numbered(), 4, shuffle=True, mirror=True, seed=1)
    assert indices_of(loader.epoch(0)) == [[3, 1, 0, 8], [7, 2, 9, 6], [5, 4, 10]]
    assert mirrored_of(loader, 0) == {2, 4, 7, 8}


def test_mirroring_depends_neither_on_batch_size_nor_on_order():
    expected = mirrored_of(Loader(Numbered(), 3, mirror=True, shuffle=True), 5)
    assert 0 < len(expected) < COUNT
    assert mirrored_of(Loader(Numbered(), 7, mirror=True, shuffle=True), 5) == expected
    assert mirrored_of(Loader(Numbered(), 7, mirror=True), 5) == expected
    assert mirrored_of(Loader(Numbered(), 3, shuffle=True), 5) == set()


class Gradual(Numbered):
    """Images whose pixels are 1 + the column in red, 1 + the row in green, and the index in blue."""

    def images(self, indices):
        images = torch.arange(1, 31).expand(len(indices), 3, 40, 30).contiguous()
        images[:, 1] = torch.arange(1, 41)[:, None]
        images[:, 2] = torch.tensor(indices)[:, None, None]
        return images.to(torch.uint8)


def corners_of(loader, epoch):
    """Return by index how far each image was moved; look at all its pixels."""
    corners = {}
    for images, labels, _ in loader.epoch(epoch):
        for image, index in zip(images.int(), labels[:, 0].tolist(), strict=True):
            left, top = image[0, 20, 15] - 16, image[1, 20, 15] - 21
            columns, rows = torch.arange(30) + left, (torch.arange(40) + top)[:, None]
            inside = ((columns >= 0) & (columns < 30) & (rows >= 0) & (rows < 40)).int()
            assert torch.equal(
                image, torch.stack([(columns + 1) * inside, (rows + 1) * inside, index * inside])
            )
            corners[index] = left.item(), top.item()
    return corners


def test_a_crop_depends_on_seed_epoch_and_index():
    data = Gradual(200)
    whole = corners_of(Loader(data, 32, shuffle=True, mirror=True, crop=True), 2)
    for axis in (0, 1):
        assert {corner[axis] for corner in whole.values()} == set(range(-10, 11))
    assert corners_of(Loader(data, 7, crop=True, workers=1), 2) == whole
    others = [corners_of(Loader(data, 32, crop=True, seed=seed), epoch) for seed, epoch in ((2, 2), (1, 3))]
    assert whole not in others
    assert set(corners_of(Loader(data, 32, shuffle=True), 2).values()) == {(0, 0)}


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_state_is_neither_read_nor_moved(workers):
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state()
        loader = Loader(Numbered(), 4, shuffle=True, mirror=True, workers=workers)
        runs.append(plan_of(loader.epoch(3)))
        assert torch.equal(torch.get_rng_state(), before)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_started_later_has_the_same_batches(workers):
    loader = Loader(Numbered(), 3, shuffle=True, mirror=True, workers=workers)
    whole = plan_of(loader.epoch(2))
    for start in range(len(loader) + 2):
        rest = plan_of(loader.epoch(2, 3 * start))
        assert rest == whole[start:]
        assert loader.left(3 * start) == len(rest)


def flat(batches):
    return [entry for batch in batches for entry in batch]


def test_an_epoch_goes_on_at_any_picture():
    loader = Loader(Numbered(), 3, shuffle=True)
    order = flat(indices_of(loader.epoch(2)))
    for seen in range(COUNT + 3):
        rest = indices_of(Loader(Numbered(), 4, shuffle=True).epoch(2, seen))
        assert flat(rest) == order[seen:]
        assert Loader(Numbered(), 4).left(seen) == len(rest)
    assert loader.names(2, 3, 5) == [f"{index}.png" for index in order[3:8]]
    assert loader.names(2, 9, 5) == [f"{index}.png" for index in order[9:]]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_picture_that_can_be_read_stands_for_one_that_cannot(root, workers):
    for index in (3, 4, 10):
        (root / f"{index}.png").write_bytes(b"no picture")
    data = MultiLabelDataset(root, root / "list.txt")
    data.labels = torch.arange(COUNT)[:, None]
    instead = {3: 5, 4: 5, 10: 0}
    plan = flat(indices_of(Loader(Numbered(), 4, shuffle=True).epoch(0)))
    for batch_size in (4, 3):
        loader = Loader(data, batch_size, shuffle=True, workers=workers, replaces=True)
        with pytest.warns(UserWarning, match="cannot read picture") as told:
            read = [
                (images[:, 0, 0, 0].tolist(), labels[:, 0].tolist()) for images, labels, _ in loader.epoch(0)
            ]
        assert flat(labels for _, labels in read) == [instead.get(index, index) for index in plan]
        assert all(images == labels for images, labels in read)
        assert loader.replaced == {f"{bad}.png": f"{good}.png" for bad, good in instead.items()}
        assert sorted(str(warning.message).rpartition("; ")[2][:5] for warning in told) == [
            "0.png", "5.png", "5.png",
        ]  # fmt: skip
    for path in root.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"cannot read picture .*[/\\]\d+.png"):
        list(Loader(data, 4, workers=workers, replaces=True).epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_break_leaves_nothing_for_the_next_epoch(workers):
    loader = Loader(Numbered(), 2, shuffle=True, workers=workers)
    expected = [indices_of(Loader(Numbered(), 2, shuffle=True).epoch(epoch)) for epoch in range(4)]
    for epoch, stop in enumerate((1, 3, 2)):
        batches = []
        for batch in loader.epoch(epoch):
            batches.append(batch)
            if len(batches) == stop:
                break
        assert indices_of(batches) == expected[epoch][:stop]
    assert indices_of(loader.epoch(3)) == expected[3]


@pytest.mark.parametrize("workers", [0, 1])
def test_of_two_epochs_at_once_the_former_ends(workers):
    loader = Loader(Numbered(), 2, shuffle=True, workers=workers)
    first, second = loader.epoch(0), loader.epoch(1)
    next(first)
    begun = [next(second)]
    with pytest.raises(RuntimeError, match="one at a time"):
        next(first)
    expected = indices_of(Loader(Numbered(), 2, shuffle=True).epoch(1))
    assert indices_of([*begun, *second]) == expected


@pytest.mark.parametrize(("workers", "cache"), [(0, False), (0, True), (2, True)])
def test_pictures_arrive_whole_and_in_channels_last_memory(root, workers, cache):
    dataset = MultiLabelDataset(root, root / "list.txt", cache=root / "cache" if cache else None)
    loader = Loader(dataset, 4, shuffle=True, mirror=True, workers=workers)
    for epoch in range(2):
        seen = []
        for images, labels, mirror in loader.epoch(epoch):
            assert images.shape == (len(labels), 3, 256, 128)
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert images.dtype == labels.dtype == torch.uint8
            assert mirror.dtype == torch.bool
            assert mirror.shape == (len(labels),)
            indices = images[:, 0, 0, 0].tolist()
            assert labels.tolist() == [[index % 2, 1] for index in indices]
            seen += indices
        assert sorted(seen) == list(range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named_in_one_line(root, workers):
    (root / "7.png").write_bytes(b"no picture")
    loader = Loader(MultiLabelDataset(root, root / "list.txt"), 3, workers=workers)
    batches = loader.epoch(0)
    next(batches)
    next(batches)
    with pytest.raises(PictureError, match=rf"^cannot read picture {root}/7\.png [^\n]*$"):
        next(batches)


def test_bar_only_on_a_terminal(capsys, monkeypatch):
    list(Loader(Numbered(), 4).epoch(0))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(Loader(Numbered(), 4).epoch(0))
    list(Loader(Numbered(), 4, shuffle=True).epoch(3))
    list(Loader(Numbered(), 2, shuffle=True).epoch(5, 4, 3))
    out, err = capsys.readouterr()
    assert out == ""
    assert "Test:" in err
    assert "Epoch 3:" in err
    assert re.search(r"Epoch 5: +40%.* 2/5 ", err)  # so the time that is left is that of what is read


BATCH_OF_32 = 32 * 256 * 128 * 3


@pytest.mark.parametrize(
    ("free", "workers", "left"),
    [
        (64 << 20, 4, 4),  # of Docker's 64 MB one loader takes half: 10 batches
        (32 << 20, 4, 1),
        (16 << 20, 4, 0),
        (0, 0, 0),
    ],
)
def test_what_is_read_ahead_fits_in_shared_memory(monkeypatch, tmp_path, recwarn, free, workers, left):
    monkeypatch.setattr(loader_module, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(loader_module, "usable_cores", lambda: 4)
    monkeypatch.setattr(loader_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert Loader(Numbered(100), 32, workers=workers).workers == left
    assert 2 * (left * 2 + 2) * BATCH_OF_32 <= free or left == 0
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == (left < workers)
    for message in messages:
        assert f"{free / 1e6:.0f} MB free, room for {left} of {workers} processes" in message
        assert "--shm-size" in message


def test_without_a_way_to_hand_pictures_over_there_are_no_workers(monkeypatch, recwarn):
    """Shared memory that cannot be written to; a temporary directory in which no socket can be made."""

    def refuse():
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(loader_module.tempfile, "tempdir", "x" * 100)
    monkeypatch.setattr(loader_module, "Listener", refuse)
    assert Loader(Numbered(), 4, workers=1).workers == 0
    monkeypatch.setattr(loader_module.multiprocessing, "Lock", refuse)
    assert Loader(Numbered(), 4, workers=1).workers == 0
    assert Loader(Numbered(), 4, workers=0).workers == 0
    socket, memory = (str(warning.message) for warning in recwarn)
    assert "(TMPDIR) (Read-only file system), so no processes read pictures ahead" in socket
    assert memory.startswith("shared memory cannot be used (Read-only file system), ")


@pytest.mark.parametrize("workers", [2, 3])
def test_more_workers_than_cores_are_said_in_our_words(monkeypatch, tmp_path, recwarn, workers):
    """Torch's own remark is three sentences. A system without shared memory to look at limits nothing."""
    monkeypatch.setattr(loader_module, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(loader_module.os, "sched_getaffinity", lambda process: {0, 5}, raising=False)
    loader = Loader(Numbered(), 4, workers=workers)
    assert indices_of(loader.epoch(0)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert loader.workers == workers
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == workers - 2
    assert all("3 processes" in message and "lower --workers" in message for message in messages)


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


@pytest.mark.slow  # torch looks after its workers every 5 seconds
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_worker_that_dies_ends_the_epoch_and_the_next_one_is_read(tmp_path):
    loader = Loader(Deadly(tmp_path, 3), 2, shuffle=True, workers=2)
    expected = indices_of(Loader(Numbered(), 2, shuffle=True).epoch(0))
    with pytest.raises(WorkerError, match=r"--workers 1 or 0.*--resume"):
        indices_of(loader.epoch(0))
    assert indices_of(loader.epoch(0)) == expected


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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGXCPU):
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
    ("number", "wish", "last_line"),
    [
        ("SIGINT", "stop", "interrupted"),
        *((name, "finish", "550 batches") for name in ("SIGTERM", "SIGUSR2", "SIGXCPU")),
    ],
)
def test_workers_leave_signals_to_the_main_process(root, number, wish, last_line):
    # Long epochs: Python drops a KeyboardInterrupt that comes while it takes down what read an epoch.
    names = root / "list.txt"
    names.write_text(names.read_text(encoding="utf-8") * 100, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", READ_UNTIL_INTERRUPTED, str(REPOSITORY), str(root), wish],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "reading\n"
        os.killpg(process.pid, getattr(signal, number))  # as Ctrl-C and schedulers do: to the workers as well
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert out.endswith(f"{last_line}\n")
    assert err == ""
    assert process.returncode == 0
