"""The device abstraction on a machine without accelerators, and with a stand-in for one."""

import ast
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


def test_arithmetic_is_exact_and_said():
    assert devices.set_arithmetic(torch.device("cpu"), None) == "Precision: float32"
    assert devices.set_arithmetic(torch.device("cpu"), torch.bfloat16) == "Precision: bf16"
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings = [(cudnn, "allow_tf32"), (cudnn, "benchmark"), (cudnn, "deterministic"), (matmul, "allow_tf32")]
    before = [getattr(*setting) for setting in settings]
    try:
        for setting in settings:
            setattr(*setting, setting[1] != "deterministic")  # all wrong
        line = devices.set_arithmetic(torch.device("cuda"), torch.float16)
        assert [getattr(*setting) for setting in settings] == [False, False, True, False]
        assert line == "Precision: fp16; TF32 off, convolutions deterministic"
    finally:
        for setting, value in zip(settings, before, strict=True):
            setattr(*setting, value)


@pytest.mark.parametrize(("kind", "expected"), [("cpu", False), ("cuda", True), ("sdaa", True)])
def test_what_works_beside_the_cpu_is_an_accelerator(kind, expected):
    assert devices.is_accelerator(types.SimpleNamespace(type=kind)) is expected


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
    torch.ones(400_000_000)
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True)
    before, after = map(int, answer.stdout.split())
    assert after - before >= 390e6  # what was written to
    assert after < 1.6e9 <= devices.peak_memory(torch.device("cpu"))


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


def test_no_other_file_names_a_device():
    """Read as Python reads it: torch.cuda, .cuda(), and strings that are a device's name."""
    found = []
    for path in sorted((REPOSITORY / "alm").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Constant) and node.value in devices.DEVICES
            asked = isinstance(node, ast.Attribute) and node.attr in ("cuda", "sdaa")
            if (named or asked) and path.name != "device.py":
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
