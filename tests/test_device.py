"""The device abstraction on a machine without accelerators, and with a stand-in for one."""

import subprocess
import sys
import types

import pytest
import torch
from conftest import REPOSITORY

import alm
from alm import device as devices


@pytest.fixture
def only_cpu(monkeypatch):
    monkeypatch.setattr(devices, "is_available", lambda kind: kind == "cpu")


@pytest.mark.parametrize("name", ["sdaa", "cuda"])
def test_absent_device_is_an_error_that_says_what_is_there(only_cpu, name):
    with pytest.raises(alm.AlmError, match=rf"--device {name}.*here: cpu"):
        devices.choose_device(name)


def test_auto_is_the_first_there(only_cpu, monkeypatch):
    assert devices.choose_device("auto").type == "cpu"
    monkeypatch.setattr(devices, "is_available", lambda kind: kind in ("cpu", "cuda"))
    assert devices.choose_device("auto").type == "cuda"


def test_extension_is_imported_before_torch_is_asked(monkeypatch):
    """torch_sdaa adds torch.sdaa when it is imported; without it there is none."""
    assert not devices.is_available("sdaa")
    monkeypatch.setitem(sys.modules, "torch_sdaa", types.ModuleType("torch_sdaa"))
    backend = types.SimpleNamespace(is_available=lambda: True)
    monkeypatch.setattr(torch, "sdaa", backend, raising=False)
    assert devices.is_available("sdaa")


@pytest.mark.parametrize(
    ("kind", "amp", "expected"),
    [
        ("cpu", "auto", None),
        ("cuda", "auto", torch.float16),
        ("cpu", "bf16", torch.bfloat16),
        ("cpu", "fp16", torch.float16),
        ("cuda", "off", None),
    ],
)
def test_precision(kind, amp, expected):
    assert devices.choose_precision(torch.device(kind), amp) is expected


def test_scaler_is_for_fp16_alone():
    cpu = torch.device("cpu")
    assert devices.gradient_scaler(cpu, torch.float16).is_enabled()
    assert not devices.gradient_scaler(cpu, torch.bfloat16).is_enabled()
    assert not devices.gradient_scaler(cpu, None).is_enabled()


def test_readback_keeps_the_values():
    assert devices.Readback(torch.tensor([1.5, -2.0])).read() == [1.5, -2.0]


def test_peak_memory_is_that_of_this_process_alone():
    """A child's first reading would be its parent's peak if the system's resource usage were asked."""
    program = """
import torch
from alm.device import peak_memory
before = peak_memory(torch.device("cpu"))
torch.ones(100_000_000)
print(before, peak_memory(torch.device("cpu")))
"""
    torch.ones(200_000_000)
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True)
    before, after = map(int, answer.stdout.split())
    assert 390e6 < after - before < 450e6
    assert devices.peak_memory(torch.device("cpu")) > before + 400e6


def test_accelerators_are_asked_themselves(monkeypatch):
    calls = []
    backend = types.SimpleNamespace(
        synchronize=lambda: calls.append("waited"),
        max_memory_allocated=lambda: 12_345,
        get_device_name=lambda: "SDAA card",
    )
    monkeypatch.setattr(torch, "sdaa", backend, raising=False)
    stand_in = types.SimpleNamespace(type="sdaa")
    devices.synchronize(stand_in)
    devices.synchronize(torch.device("cpu"))
    assert calls == ["waited"]
    assert devices.peak_memory(stand_in) == 12_345
    assert devices.device_name(stand_in) == "SDAA card"


def test_no_other_file_names_an_accelerator():
    import re
    from pathlib import Path

    package = Path(devices.__file__).parent
    for path in package.glob("*.py"):
        if path.name != "device.py":
            code = path.read_text(encoding="utf-8")
            assert not re.search(r"torch\.(cuda|sdaa)|\.cuda\(|\.sdaa\(|[\"'](cuda|sdaa)", code), path.name
