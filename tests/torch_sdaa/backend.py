"""`torch.sdaa`, and what torch must know of a device: how to find, guard and pin for it."""

import subprocess
import tempfile
import time
import types
from pathlib import Path

import torch

from torch_sdaa import memory
from torch_sdaa.settings import LACKS


class Event:
    """A point in the work given to the device, which is always done at once."""

    def __init__(self, enable_timing=False):
        self.time = None

    def record(self, stream=None):
        self.time = time.perf_counter()

    def synchronize(self):
        assert self.time is not None, "an event that was never recorded"

    def query(self):
        return True

    def elapsed_time(self, other):
        return (other.time - self.time) * 1000


def module() -> types.ModuleType:
    """Return what becomes `torch.sdaa`."""
    sdaa = types.ModuleType("torch.sdaa")
    sdaa.is_available = lambda: "available" not in LACKS
    sdaa.is_initialized = lambda: True
    sdaa.device_count = lambda: int(sdaa.is_available())
    sdaa.current_device = lambda: 0
    sdaa.set_device = lambda device: None
    sdaa.get_device_name = lambda device=None: "stand-in"
    sdaa.synchronize = lambda device=None: None
    sdaa.max_memory_allocated = lambda device=None: memory.peak
    sdaa.manual_seed_all = lambda seed: None
    sdaa.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    sdaa._is_in_bad_fork = lambda: False
    if "events" not in LACKS:
        sdaa.Event = Event
    return sdaa


def register() -> None:
    """Make the device known to torch."""
    torch._register_device_module("sdaa", module())
    if hasattr(torch._C, "_acc"):
        from torch.utils.backend_registration import _DummyDeviceGuard, _DummyPrivateUse1Hook

        torch._C._acc.register_python_privateuseone_hook(_DummyPrivateUse1Hook())
        torch._C._acc.register_python_privateuseone_device_guard(_DummyDeviceGuard())
    else:
        load_guard()
    torch.utils.generate_methods_for_privateuse1_backend()


def load_guard() -> None:
    """Compile guard.cpp and load it: older torch takes device guards and hooks from C++ alone."""
    root = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory, "guard.so")
        abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
        flags = ["-std=c++17", "-shared", "-fPIC", abi, f"-I{root / 'include'}"]
        links = [f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu"]
        subprocess.run(
            ["g++", *flags, Path(__file__).with_name("guard.cpp"), "-o", library, *links], check=True
        )
        torch.ops.load_library(library)
