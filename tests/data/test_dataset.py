"""MultiLabelDataset: the pictures as torchvision resizes them, the labels, and what is wrong with a file."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, PILToTensor, Resize

from alm.errors import PictureError
from utils.data.dataset import MultiLabelDataset
from utils.errors import DataError


def noise(size=(70, 150), seed=0):
    """Return a picture of noise."""
    return Image.frombytes("RGB", size, np.random.default_rng(seed).bytes(size[0] * size[1] * 3))


def write_list(root, rows):
    """Write a list of (name, labels) under the root; return its path."""
    lines = [f"{name} {' '.join(map(str, labels))}\n" for name, labels in rows]
    path = root / "list.txt"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def people(tmp_path):
    """A root with a list of seven pictures of different sizes, three labels each."""
    rows = [(f"{i}.png", (i % 2, (i // 2) % 2, 2 if i == 3 else 1)) for i in range(7)]
    for i, (name, _) in enumerate(rows):
        noise(size=(60 + 10 * i, 130 + 5 * i), seed=i).save(tmp_path / name)
    return tmp_path, write_list(tmp_path, rows)


def test_labels_names_and_paths(people):
    root, path = people
    dataset = MultiLabelDataset(str(root), str(path))
    assert len(dataset) == dataset.listed == 7
    assert dataset.missing == []
    assert dataset.names == [f"{i}.png" for i in range(7)]
    assert dataset.paths == [str(root / name) for name in dataset.names]
    assert dataset.labels.dtype == torch.uint8
    assert dataset.labels[:, 2].tolist() == [1, 1, 1, 2, 1, 1, 1]
    assert dataset[3][1].tolist() == [1, 1, 2]
    with pytest.raises(DataError, match=r"list\.txt:1: 3 labels, expected 35"):
        MultiLabelDataset(*people, num_attributes=35)


def test_paths_do_not_depend_on_the_working_directory(people, monkeypatch, tmp_path_factory):
    root, path = people
    monkeypatch.chdir(root)
    dataset = MultiLabelDataset(".", "list.txt")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert torch.equal(dataset[0][0], MultiLabelDataset(root, path)[0][0])


def test_a_batch_is_its_items_in_channels_last_memory(people):
    dataset = MultiLabelDataset(*people)
    indices = [4, 0, 6, 0]
    images, labels = dataset.batch(indices)
    assert images.shape == (4, 3, 256, 128)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, torch.stack([dataset[i][0] for i in indices]))
    assert torch.equal(labels, torch.stack([dataset[i][1] for i in indices]))


def test_transform_takes_the_place_of_the_resize(people):
    dataset = MultiLabelDataset(*people, transform=lambda picture: (picture.mode, picture.size))
    assert dataset[2][0] == ("RGB", (80, 140))
    with pytest.raises(ValueError, match="without a transform"):
        dataset.batch([0, 1])
    with pytest.raises(ValueError, match="transform"):
        MultiLabelDataset(*people, transform=Resize((256, 128)), cache=people[0] / "cache")


def test_upstreams_way_of_reading_it(people):
    transform = Compose([Resize((256, 128)), PILToTensor()])
    loader = torch.utils.data.DataLoader(MultiLabelDataset(*people, transform), batch_size=4)
    ours = torch.utils.data.DataLoader(MultiLabelDataset(*people), batch_size=4)
    for (images, labels), (our_images, our_labels) in zip(loader, ours, strict=True):
        assert torch.equal(images, our_images)
        assert torch.equal(labels, our_labels)


def test_missing_pictures_are_an_error_that_names_the_first_five(people):
    root, path = people
    for i in range(6):
        (root / f"{i}.png").unlink()
    with pytest.raises(DataError) as error:
        MultiLabelDataset(root, path)
    assert "6 of 7 pictures" in str(error.value)
    assert "0.png, 1.png, 2.png, 3.png, 4.png, ...;" in str(error.value)
    assert "--allow_missing" in str(error.value)


def test_missing_pictures_are_left_out_when_asked(people):
    root, path = people
    whole = MultiLabelDataset(root, path)
    for i in (1, 4):
        (root / f"{i}.png").unlink()
    dataset = MultiLabelDataset(root, path, skip_missing=True)
    assert (len(dataset), dataset.listed, dataset.missing) == (5, 7, ["1.png", "4.png"])
    assert dataset.missing_summary().endswith("1.png, 4.png")
    assert torch.equal(dataset.labels, whole.labels[[0, 2, 3, 5, 6]])
    assert torch.equal(dataset[1][0], whole[2][0])
    with pytest.raises(DataError, match=rf"7 of 7 pictures .* not found in {root / 'empty'}.*--data_root"):
        MultiLabelDataset(root / "empty", path, skip_missing=True)


def test_files_that_are_no_pictures_are_named(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("no picture", encoding="utf-8")
    listed = write_list(tmp_path, [(path.name, (1,))])
    for dataset in (MultiLabelDataset(tmp_path, listed), MultiLabelDataset(tmp_path, listed, Resize(8))):
        with pytest.raises(PictureError, match=r"cannot read picture .*notes\.jpg"):
            dataset[0]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_out_of_the_root_is_refused_unless_it_may_be_followed(people, tmp_path_factory):
    root, path = people
    outside = tmp_path_factory.mktemp("outside") / "a.png"
    (root / "0.png").rename(outside)
    (root / "0.png").symlink_to(outside)
    with pytest.raises(DataError, match="--follow_links"):
        MultiLabelDataset(root, path)
    assert len(MultiLabelDataset(root, path, follow_links=True)) == 7


def test_a_link_to_nothing_a_device_or_a_pipe_is_a_missing_picture(tmp_path):
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    noise().save(tmp_path / "a.png")
    rows = [(f"{name}.png", (1,)) for name in ("gone", "loop", "device", "pipe", "a")]
    dataset = MultiLabelDataset(tmp_path, write_list(tmp_path, rows), skip_missing=True)
    assert dataset.names == ["a.png"]
