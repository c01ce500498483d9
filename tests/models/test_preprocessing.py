"""From uint8 to the network's input, against torchvision's transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

import alm
from alm.constants import MEAN, STD
from alm.models.preprocessing import on_device, preprocess


def test_equals_torchvision_bit_for_bit():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8))
    published = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    assert torch.equal(preprocess(pixels)[0], published(picture))
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert torch.equal(preprocess(pixels, torch.tensor([True]))[0], published(flipped))


def test_mirrors_some_pictures_and_no_others():
    images = torch.randint(0, 256, (3, 3, 8, 4), dtype=torch.uint8)
    plain, mirrored = preprocess(images), preprocess(images, torch.tensor([False, True, False]))
    assert plain.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mirrored[1], plain[1].flip(-1))
    assert torch.equal(mirrored[::2], plain[::2])


def test_other_types_are_refused():
    with pytest.raises(alm.AlmError, match=r"uint8.*not torch\.float32"):
        preprocess(torch.zeros(1, 3, 8, 4))


def test_constants_are_made_once_and_evaluating_first_does_not_spoil_them():
    on_device.cache_clear()
    images = torch.zeros(1, 3, 8, 4, dtype=torch.uint8)
    with torch.inference_mode():
        preprocess(images)
    preprocess(images)
    assert on_device.cache_info().misses == 2
    assert not on_device(MEAN, images.device).is_inference()
    assert preprocess(images).dtype == torch.float32
