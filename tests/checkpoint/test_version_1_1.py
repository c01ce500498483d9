"""What version 1.1.0 saved is still resumed, evaluated and predicted with.

version_1_1.json is a checkpoint that version 1.1.0 wrote within the second epoch of a run: all its plain
parts (but for two paths), and of each tensor the type and shape. It is filled here with numbers that follow
from the names.
"""

import json
import zlib
from pathlib import Path

import pytest
import torch
from support.commands import losses

import alm

PLAIN = Path(__file__).with_name("version_1_1.json")


def filled(content, name=""):
    """Return a part of the checkpoint, with a tensor for each that is described."""
    if isinstance(content, list):
        return [filled(entry, name) for entry in content]
    if not isinstance(content, dict):
        return content
    if content.keys() == {"tuple"}:
        return tuple(content["tuple"])
    if content.keys() != {"tensor"}:
        return {key: filled(entry, f"{name}.{key}") for key, entry in content.items()}
    dtype, *shape = content["tensor"]
    if dtype != "float32" or name.endswith(".step"):
        return torch.full(shape, 3, dtype=getattr(torch, dtype))
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if name.endswith(("running_var", "exp_avg_sq")):
        return torch.rand(shape, generator=generator) + 0.5
    return torch.randn(shape, generator=generator) * 0.05


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Return the checkpoint's file."""
    content = filled(json.loads(PLAIN.read_text(encoding="utf-8")))
    content["optimizer"]["state"] = {int(key): entry for key, entry in content["optimizer"]["state"].items()}
    path = tmp_path_factory.mktemp("old") / "1+1.pth.tar"
    torch.save(content, path)
    return path


@pytest.mark.slow
def test_its_network_computes_what_version_1_1_computed(old):
    model = alm.load_model(old)
    assert (model.approach, model.attributes[:2], model.align_corners) == (
        "inception_iccv", ("Age16-30", "Age31-45"), False
    )  # fmt: skip
    images = (torch.arange(3 * 256 * 128) % 251).to(torch.uint8).view(1, 3, 256, 128)
    with torch.no_grad():
        predictions = model(alm.preprocess(images))
    for logits, expected in zip(predictions, EXPECTED, strict=True):
        torch.testing.assert_close(logits[0, :3], torch.tensor(expected), rtol=1e-3, atol=1e-4)


# Logits of the first three attributes, of 3b, 4d, 5b and the global branch, as version 1.1.0 computed them.
EXPECTED = [
    [-0.05733, -0.03783, -0.12474], [-0.19536, 0.15233, -0.09733], [-0.05474, 0.17018, 0.1348],
    [-0.02075, 0.01649, 0.07471],
]  # fmt: skip


@pytest.mark.slow
def test_it_is_evaluated_and_resumed(old, pictures, run_here, tmp_path):
    output, _ = run_here("-e", "--resume", old, "--data_root", pictures)
    assert "\tmA: " in output
    command = ("--resume", old, "--data_root", pictures, "--output_dir", tmp_path / "run")
    _, errors = run_here(*command, status=1)
    assert "its pictures or labels are not those that" in errors
    output, _ = run_here(*command, "--force")
    assert f"Optimizer: adam with its state in {old}" in output
    assert [step[:2] for step in losses(output)] == [(1, 1), (1, 2)]
    end = torch.load(tmp_path / "run" / "last.pth.tar", weights_only=True)
    assert (end["epoch"], end["iterations"], end["optimizer"]["state"][0]["step"]) == (2, 5, 5)
