"""SDAA, CUDA or CPU: choice, autocast, gradient scaler, reading values back without a stall.

The only file that knows what an accelerator is called.
"""

import contextlib
import importlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from alm.errors import AlmError

CPU = torch.device("cpu")
DEVICES = ("sdaa", "cuda", "cpu")  # the first that is there is `auto`
EXTENSIONS = {"sdaa": "torch_sdaa"}  # packages that add a device to torch when imported
PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the devices put it
CPU_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # as Linux names them on x86 and ARM


def choose_device(name: str = "auto") -> torch.device:
    """Return the named device, or the first there is. Raises AlmError where the named one is not there."""
    if name == "auto":
        return torch.device(next(kind for kind in DEVICES if is_available(kind)))
    if not is_available(name):
        here = ", ".join(kind for kind in DEVICES if is_available(kind))
        raise AlmError(f"--device {name}: there is no such device on this machine; here: {here}")
    return torch.device(name)


def is_available(kind: str) -> bool:
    """Whether torch can use a device of this kind here."""
    if kind == "cpu":
        return True
    if kind in EXTENSIONS:
        with contextlib.suppress(ImportError):
            importlib.import_module(EXTENSIONS[kind])
    backend = getattr(torch, kind, None)
    return backend is not None and backend.is_available()


def is_accelerator(device: torch.device) -> bool:
    """Whether a device works beside the CPU, which then waits wherever it asks for a value."""
    return device.type != "cpu"


def choose_precision(device: torch.device, amp: str) -> torch.dtype | None:
    """Return what `--amp` means on a device: autocast's type, or None for float32 throughout.

    `auto` is fp16 on an accelerator and off on the CPU.
    """
    if amp == "auto":
        amp = "fp16" if is_accelerator(device) else "off"
    return PRECISIONS.get(amp)


def set_arithmetic(device: torch.device, precision: torch.dtype | None) -> str:
    """Make float32 mean float32 and convolutions repeat themselves, as the published program does; return a
    line that says what is set.
    """
    name = next((name for name, dtype in PRECISIONS.items() if dtype == precision), "float32")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        return f"Precision: {name}; TF32 off, convolutions deterministic"
    return f"Precision: {name}"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself; emulated, it is slower than float32."""
    with contextlib.suppress(OSError):
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        return any(flag in words for flag in CPU_BFLOAT16_FLAGS)
    return False


def autocast(device: torch.device, precision: torch.dtype | None):
    """Return the context in which the network runs in `precision`."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not None)


def gradient_scaler(device: torch.device, precision: torch.dtype | None) -> torch.amp.GradScaler:
    """Return the scaler that keeps small gradients alive in fp16; it does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == torch.float16)


def has_fused_adam(device: torch.device) -> bool:
    """Whether PyTorch has Adam in one kernel for this device."""
    return device.type in ("cuda", "cpu")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if is_accelerator(device):
        getattr(torch, device.type).synchronize()


def device_name(device: torch.device) -> str:
    """Return what a device is sold as, or, where the system does not tell, the CPU's architecture."""
    if is_accelerator(device):
        return getattr(torch, device.type).get_device_name()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if name := re.search(r"model name\s*: (.*)", text):
            return name[1].strip()
    return platform.machine()


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held so far: on an accelerator by tensors, on the CPU by the process.

    Raises OSError where the system does not tell: for the CPU on others than Linux.
    """
    if is_accelerator(device):
        return getattr(torch, device.type).max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage would count the parent too
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    if not peak:
        raise OSError("the system does not tell a process's peak memory")
    return int(peak[1]) * 1024


@contextlib.contextmanager
def memory_for(pictures: int) -> Iterator[None]:
    """Turn a lack of memory within a step over so many pictures into an AlmError that says so."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise AlmError(
                f"out of memory in a step over {pictures} pictures; lower --batch_size, "
                "or use less for each with --amp bf16 or fp16"
            ) from error
        raise


class Readback:
    """Values on their way from the device to the CPU: started now, read later, no stall between."""

    def __init__(self, values: Tensor):
        self._event = None
        self._values = values
        if is_accelerator(values.device):
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = getattr(torch, values.device.type).Event()
            self._event.record()

    def read(self) -> list[float]:
        """Wait for the values, not for what the device was given after them."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()
