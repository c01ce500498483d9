"""A batch of pictures as they were read -> the network's input, on the device."""

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def preprocess(images: Tensor, mirror: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return normalized images (B, 3, H, W) of uint8 `images` (B, 3, H, W) on the same device.

    `mirror` (B,) bool says which to flip left to right; whoever reads the pictures decides it.
    """
    if mirror is not None:
        images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    mean = torch.tensor(MEAN, device=images.device, dtype=dtype).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device, dtype=dtype).view(3, 1, 1)
    normalized = (images.to(dtype) / 255 - mean) / std
    return normalized.contiguous(memory_format=torch.channels_last)
