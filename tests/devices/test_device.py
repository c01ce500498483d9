"""The device abstraction on a machine without accelerators, and with a stand-in for one."""

import ast
import re
import subprocess
import sys
import types

import pytest
import torch
from support import REPOSITORY

import alm
from alm.devices import device as devices


@pytest.fixture
def machine(monkeypatch):
    """Return a function that says which devices are absent and why; the others are there."""

    def describe(**absent):
        monkeypatch.setattr(devices, "absence", lambda kind: absent.get(kind))
        # Without its extension torch knows no device of that name.
        monkeypatch.setattr(torch, "device", lambda name: types.SimpleNamespace(type=name))

    return describe


@pytest.fixture(autouse=True)
def ask_anew():
    yield
    devices.absence.cache_clear()


@pytest.mark.parametrize("name", ["sdaa", "cuda"])
def test_absent_device_is_an_error_that_says_why_and_what_is_there(machine, name):
    machine(sdaa="torch_sdaa is not installed", cuda="torch finds no such device")
    with pytest.raises(alm.AlmError, match=rf"--device {name}: torch.*; here: cpu"):
        devices.choose_device(name)


def test_a_numbered_device_becomes_the_current_one(machine, monkeypatch):
    chosen = []
    backend = types.SimpleNamespace(
        device_count=lambda: 2, set_device=chosen.append, get_device_name=lambda: "card"
    )
    monkeypatch.setattr(torch, "cuda", backend)
    machine(sdaa="torch_sdaa is not installed")
    device = devices.choose_device("cuda:1")
    assert (device.type, chosen) == ("cuda:1", [1])
    line = devices.explain_choice("cuda:1", types.SimpleNamespace(type="cuda"))
    assert line == "Device: cuda:1, card"
    for name, words in (
        ("cuda:2", "the last one here is cuda:1"),
        ("cuda:x", "name one of"),
        ("gpu", "name one of"),
    ):
        with pytest.raises(alm.AlmError, match=f"--device {name}: {words}"):
            devices.choose_device(name)
    assert chosen == [1]


def test_auto_is_the_first_there_and_says_why(machine):
    machine(sdaa="torch_sdaa is not installed", cuda="torch finds no such device")
    assert devices.choose_device("auto").type == "cpu"
    line = devices.explain_choice("auto", torch.device("cpu"))
    assert line.startswith("Device: cpu, ")
    assert line.endswith("; sdaa: torch_sdaa is not installed; cuda: torch finds no such device")
    machine(sdaa="torch_sdaa is not installed")
    assert devices.choose_device("auto").type == "cuda"
    machine()
    assert devices.choose_device("auto").type == "sdaa"


def test_a_device_that_was_asked_for_needs_no_reason():
    name = devices.device_name(torch.device("cpu"))
    assert name.strip()
    assert devices.explain_choice("cpu", torch.device("cpu")) == f"Device: cpu, {name}"


def test_cuda_that_lands_on_sdaa_is_called_sdaa(machine, monkeypatch):
    backend = types.SimpleNamespace(get_device_name=lambda: "SDAA card")
    monkeypatch.setattr(torch, "sdaa", backend, raising=False)
    machine()
    assert devices.choose_device("cuda").type == "cuda"
    monkeypatch.setenv("TORCH_SDAA_AUTOLOAD", "cuda_migrate")
    assert devices.choose_device("cuda").type == "sdaa"
    for number in ("", ":1"):
        line = devices.explain_choice(f"cuda{number}", types.SimpleNamespace(type="sdaa"))
        assert line == (
            f"Device: sdaa{number}, SDAA card; torch.cuda's calls land on it "
            "(TORCH_SDAA_AUTOLOAD=cuda_migrate)"
        )
    machine(sdaa="torch finds no such device")
    assert devices.choose_device("cuda").type == "cuda"


def test_extension_is_imported_before_torch_is_asked(monkeypatch):
    """torch_sdaa adds torch.sdaa when it is imported; without it there is none."""
    assert devices.absence("sdaa") == "torch_sdaa is not installed"
    devices.absence.cache_clear()
    monkeypatch.setitem(sys.modules, "torch_sdaa", types.ModuleType("torch_sdaa"))
    assert devices.absence("sdaa") == "torch finds no such device"
    devices.absence.cache_clear()
    backend = types.SimpleNamespace(is_available=lambda: True)
    monkeypatch.setattr(torch, "sdaa", backend, raising=False)
    assert devices.absence("sdaa") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raise OSError('libsdaart.so: cannot open')", r"OSError: libsdaart.so: cannot open"),
        ("raise KeyError('SDAA_HOME')", r"KeyError: 'SDAA_HOME'"),
        ("import a_part_of_it_that_is_missing", r"No module named 'a_part_of_it_that_is_missing'"),
    ],
)
def test_a_broken_extension_gives_its_own_error_and_auto_takes_the_next(monkeypatch, tmp_path, line, reason):
    (tmp_path / "torch_sdaa.py").write_text(line)
    monkeypatch.delitem(sys.modules, "torch_sdaa")
    monkeypatch.syspath_prepend(tmp_path)
    assert re.search(rf"torch_sdaa does not work here \(.*{reason}", devices.absence("sdaa"))
    with pytest.raises(alm.AlmError, match=reason):
        devices.choose_device("sdaa")
    assert reason in devices.explain_choice("auto", devices.choose_device("auto"))


@pytest.mark.slow
def test_peak_memory_is_that_of_this_process_alone():
    """The system's resource usage would give the child its parent's peak."""
    program = """
import torch
from alm.devices.device import peak_memory
before = peak_memory(torch.device("cpu"))
torch.ones(25_000_000)
print(before, peak_memory(torch.device("cpu")))
"""
    torch.ones(250_000_000)
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True)
    before, after = map(int, answer.stdout.split())
    assert after - before >= 95e6
    assert after < 1e9 <= devices.peak_memory(torch.device("cpu"))


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


def names_a_device(node) -> bool:
    """Whether a piece of code names or compares a device: "cpu", torch.cuda, .cuda(), x.type == ..."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value.partition(":")[0] in devices.DEVICES
    if isinstance(node, ast.Attribute):
        return node.attr in devices.DEVICES or node.attr == "is_cuda"
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(isinstance(side, ast.Attribute) and side.attr == "type" for side in sides)
    return False


@pytest.mark.parametrize(
    "code",
    ["x = 'cpu'", "y.cuda()", "torch.sdaa.Event", "d.type == kind", "x.cpu()", "torch.device('cuda:1')"],
)
def test_names_are_found(code):
    assert any(names_a_device(node) for node in ast.walk(ast.parse(code)))


def test_no_other_file_names_a_device():
    knowing = [REPOSITORY / "alm" / "devices" / name for name in ("device.py", "host.py")]
    places = []
    for directory in ("alm", "utils", "run_scripts"):
        for path in sorted((REPOSITORY / directory).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if names_a_device(node) and path not in knowing:
                    places.append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert places == []
