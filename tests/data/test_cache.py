"""The cache: the decoded pictures to the bit, built whole or not at all, and never stale."""

import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from alm.errors import PictureError
from alm.inference.image_io import read_resized
from utils.data import cache as cache_module
from utils.data.cache import cache_directory, open_cache
from utils.data.dataset import MultiLabelDataset
from utils.io.atomic import temporary_name

COUNT = 6


@pytest.fixture
def root(tmp_path):
    """A directory with a list of pictures of noise."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (40 + i, 20, 3), np.uint8)).save(tmp_path / f"{i}.png")
    lines = "".join(f"{i}.png {i % 2}\n" for i in range(COUNT))
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    return tmp_path


def open_dataset(root, list_name="list.txt", cached=True, **options):
    return MultiLabelDataset(root, root / list_name, cache=root / "cache" if cached else None, **options)


def open_with(root, read, list_name="list.txt"):
    """Open the cache of the root's pictures, read by `read`."""
    paths = [str(root / f"{i}.png") for i in range(COUNT)]
    return open_cache(root / "cache", root / list_name, root, paths, read, seed=1)


def pictures(cache):
    return cache.records["picture"]


def files(root):
    return sorted(path.name for path in (root / "cache").iterdir())


def test_directory_by_option():
    assert cache_directory("none", "data") is None
    assert cache_directory("auto", "data") == Path("data", ".alm_cache")
    assert cache_directory("/fast/disk", "data") == Path("/fast/disk")


def test_cached_pictures_are_the_decoded_ones(root):
    decoded, cached = open_dataset(root, cached=False), open_dataset(root)
    indices = [5, 0, 3, 3]
    for ours, expected in zip(cached.batch(indices), decoded.batch(indices), strict=True):
        assert torch.equal(ours, expected)
    assert cached.batch(indices)[0].is_contiguous(memory_format=torch.channels_last)
    for (image, label), (expected_image, expected_label) in zip(cached, decoded, strict=True):
        assert torch.equal(image, expected_image)
        assert torch.equal(label, expected_label)
    cached.batch([0])[0].zero_()  # a copy
    assert torch.equal(cached[0][0], decoded[0][0])


def test_a_built_cache_is_not_built_again(root):
    """Nor if only labels have changed."""
    built = open_with(root, read_resized)
    written = os.stat(built.path).st_mtime_ns
    (root / "list.txt").write_text("".join(f"{i}.png 1\n" for i in range(COUNT)), encoding="utf-8")
    assert os.stat(open_with(root, read_resized).path).st_mtime_ns == written


def test_a_picture_replaced_by_one_of_the_same_size_and_time_is_read_again(root):
    open_dataset(root)
    status = os.stat(root / "4.png")
    (root / "4.png").write_bytes((root / "3.png").read_bytes().ljust(status.st_size, b"\0")[: status.st_size])
    os.utime(root / "4.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    dataset = open_dataset(root)
    assert os.stat(root / "4.png").st_size == status.st_size
    assert torch.equal(dataset[4][0], dataset[3][0])


def test_a_cache_whose_pictures_are_not_those_of_the_files_is_built_again(root):
    """Though nothing tells that the files have changed, as where the system keeps no times."""
    open_with(root, lambda path: 255 - read_resized(path))
    cache = open_with(root, read_resized)
    assert all(np.array_equal(pictures(cache)[i], read_resized(root / f"{i}.png")) for i in range(COUNT))


def overwritten(records):
    records[2]["picture"][3, :2] = 7


def zeroed(records):
    records[2:4] = 0


def swapped(records):
    records[[1, 2]] = records[[2, 1]]


def rolled(records):
    records[2]["picture"] = np.roll(records[2]["picture"], 128)


@pytest.mark.parametrize("damage", [overwritten, zeroed, swapped, rolled])
def test_a_cache_that_is_written_over_gives_no_wrong_picture(root, damage):
    """Neither while it is open nor later."""
    dataset, expected = open_dataset(root), open_dataset(root, cached=False)
    damage(np.memmap(dataset.cache.path, cache_module.RECORD, mode="r+"))
    for each in (dataset, open_dataset(root)):
        assert torch.equal(each.batch(range(COUNT))[0], expected.batch(range(COUNT))[0])
    assert len(files(root)) == 1


@pytest.mark.parametrize("change", ["picture", "rules of reading"])
def test_what_has_changed_is_read_again_and_the_stale_cache_removed(root, monkeypatch, change):
    open_dataset(root)
    before = files(root)
    if change == "picture":
        Image.new("RGB", (9, 9), (1, 2, 3)).save(root / "4.png")
    else:
        monkeypatch.setattr(cache_module, "READING_VERSION", cache_module.READING_VERSION + 1)
    dataset = open_dataset(root)
    assert len(files(root)) == 1
    assert files(root) != before
    assert (dataset[4][0][:, 0, 0].tolist() == [1, 2, 3]) == (change == "picture")


def test_pictures_left_out_change_the_cache(root):
    open_dataset(root)
    (root / "1.png").unlink()
    dataset = open_dataset(root, skip_missing=True)
    expected = open_dataset(root, cached=False, skip_missing=True)
    assert torch.equal(dataset.batch(range(COUNT - 1))[0], expected.batch(range(COUNT - 1))[0])
    assert len(files(root)) == 1


def test_lists_keep_their_caches_apart(root):
    (root / "other").mkdir()
    for name in ("test.txt", "other/list.txt"):
        shutil.copy(root / "list.txt", root / name)
    for name in ("list.txt", "test.txt", "other/list.txt"):
        open_dataset(root, name)
    assert len(files(root)) == 3
    os.utime(root / "2.png", (1, 1))
    open_dataset(root)
    assert len(files(root)) == 3


def test_the_same_list_under_another_root_has_its_own_pictures(root, tmp_path_factory):
    """Also if files have the same names, sizes and times, as copies and negatives do."""
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(root, other, dirs_exist_ok=True)
    for i in range(COUNT):
        status = (root / f"{i}.png").stat()
        Image.new("RGB", (9, 9), (i, 2, 3)).save(other / f"{i}.png")
        with open(other / f"{i}.png", "ab") as file:
            file.write(b"\0" * (status.st_size - (other / f"{i}.png").stat().st_size))
        os.utime(other / f"{i}.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    shared = {"cache": root / "cache"}
    for _ in range(2):  # neither takes the other's place
        for place in (root, other):
            cached = MultiLabelDataset(place, root / "list.txt", **shared)
            expected = MultiLabelDataset(place, root / "list.txt")
            assert torch.equal(cached.batch(range(COUNT))[0], expected.batch(range(COUNT))[0])
    assert len(files(root)) == 2


def test_a_damaged_cache_is_built_again(root):
    built = pictures(open_with(root, read_resized)).copy()
    (name,) = files(root)
    with open(root / "cache" / name, "r+b") as file:
        file.truncate(1000)
    assert np.array_equal(pictures(open_with(root, read_resized)), built)
    assert files(root) == [name]


def test_an_interrupted_build_leaves_nothing(root):
    def interrupted(path):
        if path.endswith("4.png"):
            raise KeyboardInterrupt
        return read_resized(path)

    with pytest.raises(KeyboardInterrupt):
        open_with(root, interrupted)
    assert files(root) == []


def test_a_damaged_picture_is_named_and_leaves_nothing(root):
    (root / "3.png").write_bytes((root / "3.png").read_bytes()[:900])
    with pytest.raises(PictureError, match=r"cannot read picture .*3\.png"):
        open_dataset(root)
    assert files(root) == []


def test_a_cache_may_lack_a_damaged_picture(root):
    (root / "3.png").write_bytes((root / "3.png").read_bytes()[:900])
    for _ in range(2):
        data = open_dataset(root, skip_unreadable=True)
        written = (root / "cache" / files(root)[0]).stat().st_mtime_ns
    assert (root / "cache" / files(root)[0]).stat().st_mtime_ns == written  # the second one built nothing
    assert torch.equal(data.images([0, 5]), open_dataset(root, cached=False).images([0, 5]))
    with pytest.raises(PictureError, match=r"cannot read picture .*3\.png"):
        data.images([3])


@pytest.mark.parametrize("stem", ["list", "a_list_with_a_name_of_more_than_fifty_characters_in_all"])
def test_what_a_killed_build_left_is_removed_and_a_running_one_left_alone(root, stem):
    (root / "list.txt").rename(root / f"{stem}.txt")
    open_dataset(root, f"{stem}.txt")
    (name,) = files(root)
    killed, running = (temporary_name(root / "cache" / name) for _ in range(2))
    for path, age in ((killed, 1e6), (running, 0)):
        path.touch()
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    os.utime(root / "2.png", (1, 1))
    open_dataset(root, f"{stem}.txt")
    assert not killed.exists()
    assert running.exists()


def test_a_disk_without_room_is_a_warning_and_nothing_is_written(root, monkeypatch):
    monkeypatch.setattr(
        cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=COUNT * 98304 - 1)
    )
    with pytest.warns(UserWarning, match=r"no cache in .*GB free.*decoded each time"):
        dataset = open_dataset(root)
    assert files(root) == []
    assert torch.equal(dataset.batch([1])[0], open_dataset(root, cached=False).batch([1])[0])
    (root / "cache").rmdir()
    (root / "cache").touch()  # no directory can be made
    with pytest.warns(UserWarning, match="no cache in"):
        open_dataset(root)


def test_two_builds_at_once_both_end_well(root):
    both_build = threading.Barrier(2)

    def read(path):
        if path.endswith("0.png"):
            both_build.wait(timeout=30)
        return read_resized(path)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: open_with(root, read), range(2))
    assert np.array_equal(pictures(first), pictures(second))
    assert len(files(root)) == 1


def test_pickling_opens_the_file_again_instead_of_copying_it(root):
    dataset = open_dataset(root)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 10_000
    assert torch.equal(pickle.loads(pickled).batch([2])[0], dataset.batch([2])[0])
