"""A batch of pictures as they were read -> the network's input, on the device."""

from functools import cache

import torch
from torch import Tensor

from alm.devices.capabilities import layout
from alm.errors import AlmError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def preprocess(images: Tensor, mirror: Tensor | None = None) -> Tensor:
    """Return normalized float32 images (B, 3, H, W) of uint8 `images` (B, 3, H, W), on the same device.

    `mirror` (B,) bool says which to flip left to right; whoever reads the pictures decides it.
    Raises AlmError where the images are not uint8: they would be divided by 255 twice.
    """
    if images.dtype != torch.uint8:
        raise AlmError(f"preprocess takes pictures as uint8, 0 to 255, not {images.dtype}")
    if mirror is not None:
        images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    mean, std = normalization(images.device)
    normalized = (images.float() / 255 - mean) / std
    return normalized.contiguous(memory_format=layout(images.device))


@cache
def normalization(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (3, 1, 1) on a device: made once, as an accelerator waits for it."""
    with torch.inference_mode(False):  # else whoever evaluates first would spoil them for training
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    return mean, std
