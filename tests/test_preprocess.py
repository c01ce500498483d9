"""From uint8 to the network's input, against torchvision's transforms."""

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from alm.preprocess import MEAN, STD, preprocess


def test_equals_torchvision_bit_for_bit():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 128, 3), dtype=np.uint8))
    published = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    assert torch.equal(preprocess(pixels)[0], published(picture))
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert torch.equal(preprocess(pixels, torch.tensor([True]))[0], published(flipped))


def test_mirrors_the_pictures_named_and_no_others():
    images = torch.randint(0, 256, (3, 3, 8, 4), dtype=torch.uint8)
    plain, mirrored = preprocess(images), preprocess(images, torch.tensor([False, True, False]))
    assert torch.equal(mirrored[1], plain[1].flip(-1))
    assert torch.equal(mirrored[::2], plain[::2])


def test_gives_channels_last_memory():
    images = torch.zeros(2, 3, 8, 4, dtype=torch.uint8)
    assert preprocess(images).is_contiguous(memory_format=torch.channels_last)
