"""What the CPU is, and how much of it may be used. Imports no torch."""

import ctypes
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

HOST = "cpu"  # as torch calls it


def processor_name() -> str:
    """Return what the CPU is sold as, or its architecture if the system does not say."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if name := re.search(r"model name\s*: (.*)", text):
            return name[1].strip()
    return platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container or a scheduler may grant only some
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Return how many threads a network gets: OMP_NUM_THREADS, as in torch, else the usable cores."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(threads)) if re.fullmatch("[0-9]{1,4}", threads) else usable_cores()


def keep_freed_memory() -> None:
    """Let this process keep what it frees for its next arrays, if its C library is glibc.

    glibc gives large arrays back to the system at once, which clears each page before it lends it again. A
    step of training frees all of its maps: without this it takes 1.4 times as long (EfficientNet-Lite0).
    """
    if platform.libc_ver()[0] == "glibc":
        library, trim_threshold, most_mappings = ctypes.CDLL(None), -1, -4  # M_..., as malloc.h numbers them
        library.mallopt(most_mappings, 0)
        library.mallopt(trim_threshold, -1)  # never
