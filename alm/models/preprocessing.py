"""A batch of pictures as they were read -> the network's input, on the device."""

from functools import cache

import torch
from torch import Tensor

from alm.constants import MEAN, STD
from alm.devices.capabilities import layout
from alm.errors import AlmError

Colour = tuple[float, float, float]  # red, green and blue


def preprocess(
    images: Tensor, mirror: Tensor | None = None, mean: Colour = MEAN, std: Colour = STD
) -> Tensor:
    """Return normalized float32 images (B, 3, H, W) of uint8 `images` (B, 3, H, W), on the same device.

    `mirror` (B,) bool says which pictures to flip left to right. `mean` and `std` are the backbone's
    (`model.mean`, `model.std`), by default the published ones. Raises AlmError if the images are not uint8:
    they would be divided by 255 twice.
    """
    if images.dtype != torch.uint8:
        raise AlmError(f"preprocess takes pictures as uint8, 0 to 255, not {images.dtype}")
    if mirror is not None:
        images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    mean, std = on_device(mean, images.device), on_device(std, images.device)
    normalized = (images.float() / 255 - mean) / std
    return normalized.contiguous(memory_format=layout(images.device))


@cache
def on_device(colour: Colour, device: torch.device) -> Tensor:
    """Return a colour (3, 1, 1) on a device: made once, because the copy waits for an accelerator."""
    with torch.inference_mode(False):  # a tensor of inference mode could not be trained with
        return torch.tensor(colour, device=device).view(3, 1, 1)
