"""How many cores and threads there are to use."""

import platform
import subprocess
import sys

import pytest

from alm.devices import host as processor


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(processor.os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert processor.usable_cores() == 1
    monkeypatch.delattr(processor.os, "sched_getaffinity")
    monkeypatch.setattr(processor.os, "cpu_count", lambda: 6)
    assert processor.usable_cores() == 6


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("0", 1), ("2,1", 5), ("", 5), ("9" * 50, 5)])
def test_threads_are_what_torch_heeds_too(variable, threads, monkeypatch):
    monkeypatch.setattr(processor, "usable_cores", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert processor.default_threads() == threads


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's malloc")
def test_freed_memory_is_kept():
    program = """
from pathlib import Path
from alm.devices.host import keep_freed_memory
def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
for keeps in (False, True):
    if keeps:
        keep_freed_memory()
    before = megabytes()
    array = bytearray(100 << 20)
    del array
    print(megabytes() - before > 90)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
