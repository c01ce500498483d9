"""What --amp means on each device, and what is set for it."""

import types

import pytest
import torch

import alm
from alm.devices import capabilities as abilities
from alm.devices import precision as precisions


@pytest.fixture(autouse=True)
def able(monkeypatch):
    """Any device can do everything."""
    monkeypatch.setattr(precisions, "abilities", lambda device: abilities.Abilities(*[True] * 5))


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_cuda_computes_in_what_its_card_has(monkeypatch, has_bf16, expected):
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.update(options) or has_bf16)
    assert precisions.choose_precision(torch.device("cuda"), "auto") is expected
    assert asked == {"including_emulation": False}


@pytest.mark.parametrize(
    ("kind", "amp", "expected"),
    [
        ("cpu", "auto", None),
        ("sdaa", "auto", torch.float16),
        ("cpu", "bf16", torch.bfloat16),
        ("cpu", "fp16", torch.float16),
        ("cuda", "off", None),
    ],
)
def test_auto_is_off_on_the_cpu_and_16_bits_on_an_accelerator(kind, amp, expected):
    assert precisions.choose_precision(types.SimpleNamespace(type=kind), amp) is expected


def test_fp16_needs_float64_for_its_scaler(monkeypatch):
    lacking = types.SimpleNamespace(float64=False)
    monkeypatch.setattr(precisions, "abilities", lambda device: lacking)
    with pytest.raises(alm.AlmError, match=r"--amp fp16: .*float64, which sdaa lacks"):
        precisions.choose_precision(types.SimpleNamespace(type="sdaa"), "fp16")


def test_scaler_is_for_fp16_alone():
    cpu = torch.device("cpu")
    enabled = [precisions.gradient_scaler(cpu, x).is_enabled() for x in (torch.float16, torch.bfloat16, None)]
    assert enabled == [True, False, False]


def test_arithmetic_is_exact_and_said():
    assert precisions.set_arithmetic(torch.device("cpu"), None) == "Precision: float32"
    assert precisions.set_arithmetic(torch.device("cpu"), torch.bfloat16) == "Precision: bf16"
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings = [(cudnn, "allow_tf32"), (cudnn, "benchmark"), (cudnn, "deterministic"), (matmul, "allow_tf32")]
    before = [getattr(*setting) for setting in settings]
    try:
        for setting in settings:
            setattr(*setting, setting[1] != "deterministic")  # all wrong
        line = precisions.set_arithmetic(torch.device("cuda"), torch.float16)
        assert [getattr(*setting) for setting in settings] == [False, False, True, False]
        assert line == "Precision: fp16; TF32 off, convolutions deterministic"
    finally:
        for setting, value in zip(settings, before, strict=True):
            setattr(*setting, value)
