"""SDAA, CUDA or CPU: which one is here, and all that depends on its name.

The only file that knows what an accelerator is called.
"""

import contextlib
import importlib
import os
import re
from functools import cache
from pathlib import Path

import torch

from alm.devices.host import HOST, processor_name
from alm.errors import AlmError

CPU = torch.device(HOST)
ACCELERATORS = ("sdaa", "cuda")
DEVICES = (*ACCELERATORS, HOST)
NAME = re.compile(rf"auto|{HOST}|({'|'.join(ACCELERATORS)})(:[0-9]{{1,3}})?")
EXTENSIONS = {"sdaa": "torch_sdaa"}  # packages that add a device to torch when imported
LIBRARIES = {"sdaa": "tccl", "cuda": "nccl"}  # by which devices of a kind exchange tensors
MIGRATION = ("TORCH_SDAA_AUTOLOAD", "cuda_migrate")  # with this in the environment, cuda's calls land on sdaa
CPU_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # as Linux names them on x86 and ARM


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name, such as `cuda` or `cuda:1`, or the first that works here. One with a
    number becomes the current one of its kind, which all that follows asks. Raises AlmError if it does not
    work.
    """
    if name == "auto":
        name = next(kind for kind in DEVICES if absence(kind) is None)
    if not is_device_name(name):
        raise AlmError(f"--device {name}: name one of {', '.join(DEVICES)}, or a numbered one, as in cuda:1")
    kind, _, number = name.partition(":")
    if reason := absence(kind):
        here = ", ".join(kind for kind in DEVICES if absence(kind) is None)
        raise AlmError(f"--device {name}: {reason}; here: {here}")
    kind = "sdaa" if kind == "cuda" and migrates() else kind
    if not number:
        return torch.device(kind)
    backend = getattr(torch, kind)
    if int(number) >= backend.device_count():
        raise AlmError(f"--device {name}: the last one here is {kind}:{backend.device_count() - 1}")
    backend.set_device(int(number))
    return torch.device(f"{kind}:{int(number)}")


def is_device_name(name: str) -> bool:
    """Whether this may be asked of `choose_device`."""
    return NAME.fullmatch(name) is not None


def explain_choice(name: str, device: torch.device) -> str:
    """Return the line that says which device it is, and why."""
    kind, *number = name.partition(":")
    line = f"Device: {device.type}{''.join(number)}, {device_name(device)}"
    if name == "auto":
        passed = DEVICES[: DEVICES.index(device.type)]
        return line + "".join(f"; {kind}: {absence(kind)}" for kind in passed)
    if kind != device.type:
        line += f"; torch.{kind}'s calls land on it ({'='.join(MIGRATION)})"
    return line


@cache
def absence(kind: str) -> str | None:
    """Return why no device of this kind can be used here, or None if one can."""
    if kind == HOST:
        return None
    try:
        if kind in EXTENSIONS:
            importlib.import_module(EXTENSIONS[kind])
        backend = getattr(torch, kind, None)
        return None if backend is not None and backend.is_available() else "torch finds no such device"
    except ModuleNotFoundError as error:
        if error.name == EXTENSIONS.get(kind):
            return f"{error.name} is not installed"
        return f"{EXTENSIONS.get(kind, kind)} does not work here ({error})"
    except Exception as error:  # whatever a broken installation may raise
        reason = " ".join(str(error).split())
        return f"{EXTENSIONS.get(kind, kind)} does not work here ({type(error).__name__}: {reason})"


@cache
def survive_forks() -> None:
    """Let every process that is forked from this one compute with one thread: it has none of the others that
    torch started here, and would wait for them for ever.
    """
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def migrates() -> bool:
    """Whether torch.cuda's calls land on sdaa here."""
    variable, value = MIGRATION
    return os.environ.get(variable) == value and absence("sdaa") is None


def exchange_library(device: torch.device) -> str:
    """Return what torch.distributed calls the library by which such accelerators exchange tensors."""
    return LIBRARIES[device.type]


def is_accelerator(device: torch.device) -> bool:
    """Whether a device works beside the CPU, which then waits wherever it asks for a value."""
    return device.type != HOST


def is_alike(first: torch.device, second: torch.device) -> bool:
    """Whether two devices are of one kind, whatever their numbers."""
    return first.type == second.type


def device_name(device: torch.device) -> str:
    """Return what a device is sold as, or the CPU's architecture if the system does not say."""
    if is_accelerator(device):
        return getattr(torch, device.type).get_device_name()
    return processor_name()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; its emulation is slower than float32."""
    if is_accelerator(device):
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    with contextlib.suppress(OSError):
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        return any(flag in words for flag in CPU_BFLOAT16_FLAGS)
    return False


def compute_exactly(device: torch.device) -> str:
    """Turn TF32 off and make convolutions deterministic, as the published program does; say so in words."""
    if device.type != "cuda":
        return ""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return "; TF32 off, convolutions deterministic"


def is_pinned_for(device: torch.device) -> bool:
    """Whether torch pins for this device by default; before torch.accelerator the default was CUDA."""
    return hasattr(torch, "accelerator") or device.type == "cuda"


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if is_accelerator(device):
        getattr(torch, device.type).synchronize()


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held so far: on an accelerator by tensors, on the CPU by the process.

    Raises OSError if the system does not tell: for the CPU on others than Linux.
    """
    if is_accelerator(device):
        return getattr(torch, device.type).max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage would count the parent too
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    if not peak:
        raise OSError("the system does not tell a process's peak memory")
    return int(peak[1]) * 1024
