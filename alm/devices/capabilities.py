"""What a device can do, found by trying it, and what happens instead if it cannot."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alm.devices.device import is_accelerator, is_pinned_for


class Abilities(NamedTuple):
    """What a device may lack; `WITHOUT` says what happens then."""

    pinned: bool
    events: bool
    float64: bool
    fused_adam: bool
    channels_last: bool


WITHOUT = {
    "pinned": "no pinned memory: it waits while a batch is copied",
    "events": "no events: the CPU waits for each step's loss",
    "float64": "no float64: no fp16, whose gradient scaler needs it; fingerprints add up in float32",
    "fused_adam": "no fused Adam: its step takes several kernels",
    "channels_last": "no channels_last: convolutions run in NCHW",
}


def abilities(device: torch.device) -> Abilities:
    """Return what a device can do. The CPU needs neither pinned memory nor events."""
    if not is_accelerator(device):
        return Abilities(False, False, True, True, True)
    return tried(torch.device(device.type))


@cache
def tried(device: torch.device) -> Abilities:
    """Return what an accelerator can do. Each attempt takes time, so the result is kept."""

    def works(attempt) -> bool:
        try:
            attempt()
        except Exception:  # each extension refuses in its own words
            return False
        return True

    def fused_step():
        parameter = nn.Parameter(torch.zeros(1, device=device))
        parameter.grad = torch.ones(1, device=device)
        torch.optim.Adam([parameter], fused=True).step()

    def channels_last():
        images = torch.zeros(1, 4, 4, 4, device=device).contiguous(memory_format=torch.channels_last)
        nn.functional.conv2d(images, images)

    backend = getattr(torch, device.type)
    return Abilities(
        pinned=works(lambda: pin(torch.zeros(1), device)),
        events=works(lambda: backend.Event().record()),
        float64=works(lambda: torch.zeros(1, device=device, dtype=torch.float64).sum()),
        fused_adam=works(fused_step),
        channels_last=works(channels_last),
    )


def explain_abilities(device: torch.device) -> str | None:
    """Return the line that says what a device lacks and what happens instead, or None."""
    if not is_accelerator(device):
        return None
    lacking = [WITHOUT[name] for name, able in abilities(device)._asdict().items() if not able]
    return f"Device: {'; '.join(lacking)}" if lacking else None


def layout(device: torch.device) -> torch.memory_format:
    """Return the memory layout in which convolutions run fastest on a device."""
    return torch.channels_last if abilities(device).channels_last else torch.contiguous_format


def pin(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a copy of a CPU tensor in memory that the device reads by itself."""
    return tensor.pin_memory() if is_pinned_for(device) else tensor.pin_memory(device.type)


def pinning(device: torch.device) -> dict:
    """Return a DataLoader's options for pinning, or {} if the device has no use for pinned memory."""
    if not abilities(device).pinned:
        return {}
    return {"pin_memory": True} | ({} if is_pinned_for(device) else {"pin_memory_device": device.type})
