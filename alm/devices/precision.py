"""The precision that a network runs in."""

import torch

from alm.devices.capabilities import abilities
from alm.devices.device import choose_device, compute_exactly, has_bfloat16, is_accelerator
from alm.errors import AlmError

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_precision(device: torch.device, amp: str) -> torch.dtype | None:
    """Return what `--amp` means on a device: autocast's type, or None for float32 throughout.

    `auto` is off on the CPU, bf16 on a CUDA card that has it, and fp16 on others. torch's gradient scaler
    computes in float64: on a device without it `auto` is off, and fp16 raises AlmError.
    """
    if amp == "auto":
        if not is_accelerator(device):
            amp = "off"
        elif has_bfloat16(device):
            amp = "bf16"
        else:
            amp = "fp16" if abilities(device).float64 else "off"
    elif amp == "fp16" and not abilities(device).float64:
        raise AlmError(
            f"--amp fp16: its gradient scaler needs float64, which {device.type} lacks; take bf16 or off"
        )
    return PRECISIONS.get(amp)


def fast_amp(name: str) -> str:
    """Return the `--amp` for a run whose numbers nobody compares: bf16 on a CPU that has it, else auto."""
    device = choose_device(name)
    return "bf16" if not is_accelerator(device) and has_bfloat16(device) else "auto"


def set_arithmetic(device: torch.device, precision: torch.dtype | None) -> str:
    """Turn off what makes float32 inexact on a device; return the line that says so."""
    return f"Precision: {precision_name(precision)}{compute_exactly(device)}"


def precision_name(precision: torch.dtype | None) -> str:
    """Return fp16, bf16 or float32."""
    return next((name for name, dtype in PRECISIONS.items() if dtype == precision), "float32")


def autocast(device: torch.device, precision: torch.dtype | None):
    """Return the context in which the network runs in `precision`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not None)


def gradient_scaler(device: torch.device, precision: torch.dtype | None) -> torch.amp.GradScaler:
    """Return the scaler that keeps small gradients from underflow in fp16; other precisions need none."""
    return torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
