"""Loader: the same batches whatever the workers, the batch size or the global state."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numbered import COUNT, Numbered, draw_numbered, indices_of

from alm.errors import PictureError
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader


@pytest.fixture
def root(tmp_path):
    """A directory with a list of pictures, each of one colour that is its number."""
    return draw_numbered(tmp_path)


def mirrored_of(loader, epoch):
    """Return the indices to mirror in an epoch."""
    return {
        index
        for _, labels, mirror in loader.epoch(epoch)
        for index, flip in zip(labels[:, 0].tolist(), mirror.tolist(), strict=True)
        if flip
    }


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


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_state_is_neither_read_nor_moved(workers):
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state()
        loader = Loader(Numbered(), 4, shuffle=True, mirror=True, workers=workers)
        runs.append([(labels.tolist(), mirror.tolist()) for _, labels, mirror in loader.epoch(3)])
        assert torch.equal(torch.get_rng_state(), before)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_started_later_has_the_same_batches(workers):
    loader = Loader(Numbered(), 3, shuffle=True, mirror=True, workers=workers)
    whole = [(labels.tolist(), mirror.tolist()) for _, labels, mirror in loader.epoch(2)]
    for start in range(len(loader) + 2):
        rest = [(labels.tolist(), mirror.tolist()) for _, labels, mirror in loader.epoch(2, 3 * start)]
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


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_picture_that_can_be_read_stands_for_one_that_cannot(tmp_path, workers):
    root = draw_numbered(tmp_path)
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
        assert sorted(str(warning.message).rpartition("; ")[2] for warning in told) == [
            "0.png stands for it", "5.png stands for it", "5.png stands for it",
        ]  # fmt: skip
    with pytest.raises(PictureError):
        list(Loader(data, 4, workers=workers).epoch(0))


def test_where_no_picture_can_be_read_none_stands_for_another(tmp_path):
    root = draw_numbered(tmp_path)
    for path in root.glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"cannot read picture .*[/\\]\d+.png"):
        list(Loader(MultiLabelDataset(root, root / "list.txt"), 4, replaces=True).epoch(0))


@pytest.mark.parametrize("workers", [0, 1, 2])
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


@pytest.mark.parametrize("workers", [0, 2])
def test_two_epochs_at_once_do_not_meet(workers):
    """Each image beside its own label, in its own epoch's order, also when one ends before the other."""
    loader = Loader(Numbered(), 2, shuffle=True, workers=workers)
    expected = [indices_of(Loader(Numbered(), 2, shuffle=True).epoch(epoch)) for epoch in range(3)]
    first, second = loader.epoch(0), loader.epoch(1)
    found = [indices_of([next(epoch) for _ in range(3)]) for epoch in (first, second)]
    third = indices_of(loader.epoch(2))
    rest = [indices_of(epoch) for epoch in (first, second)]
    assert [[*start, *end] for start, end in zip(found, rest, strict=True)] == expected[:2]
    assert third == expected[2]
    assert len(loader._idle) == 3  # what one epoch has used is there for the next
    indices_of(loader.epoch(0))
    assert len(loader._idle) == 3


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("cache", [False, True])
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


@pytest.mark.parametrize("workers", [0, 1, 2])
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
    out, err = capsys.readouterr()
    assert out == ""
    assert "Test:" in err
    assert "Epoch 3:" in err
