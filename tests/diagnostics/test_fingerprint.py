"""Fingerprints: what is written of a step, and how two are compared."""

import json
import math

import numpy as np
import pytest
import torch
from support.tiny import Batches, train, trainer_of

from alm.errors import AlmError
from utils.diagnostics.fingerprint import NUMBERS, PERIOD, Fingerprint, numbers
from utils.diagnostics.fingerprint_comparison import (
    LIMITS,
    STAGES,
    compare_fingerprints,
    fingerprint_lines,
    fingerprint_record,
    plot_fingerprints,
    read_fingerprint,
)


def written(tmp_path, name="a", iterations=2, change=lambda trainer: None, batches=None, precision=None):
    """Train a small network with a fingerprint; return its file."""
    trainer, path = trainer_of(precision), tmp_path / f"{name}.jsonl"
    change(trainer)
    entries = []
    about = {"device": name, "precision": "fp16" if precision else "float32"}
    trainer.watch = Fingerprint(
        trainer.model, trainer.criterion, trainer.scaler, iterations, entries.append, about
    )
    train(trainer, batches or Batches())
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_every_output_gradient_and_weight_is_told_in_order(tmp_path):
    fingerprint = read_fingerprint(written(tmp_path))
    assert [batch["iteration"] for batch in fingerprint.batches] == [0, 1]
    names = [(entry["stage"], entry["name"]) for entry in fingerprint.tensors if entry["iteration"] == 0]
    parameters = ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert names[:6] == [
        ("forward", "network.first"), ("forward", "network.second"), ("forward", "network[0]"),
        ("forward", "network[1]"), ("forward", "loss"), ("forward", "loss, call 2"),
    ]  # fmt: skip
    assert sorted(name for stage, name in names[6:10] if stage == "gradient") == sorted(parameters)
    assert names[10:] == [("weight after the step", name) for name in parameters]


def test_numbers_are_what_they_are_called(tmp_path):
    values = torch.randn(3, 5, 40, 30, generator=torch.Generator().manual_seed(1))
    directions = torch.randint(0, 2, (2, PERIOD), generator=torch.Generator().manual_seed(2)).double() * 2 - 1
    row = dict(zip(NUMBERS, numbers(values, directions).tolist(), strict=True))
    flat = values.permute(0, 2, 3, 1).reshape(-1).double()
    repeated = directions.repeat(1, len(flat) // PERIOD + 1)[:, : len(flat)]
    assert row["norm"] == pytest.approx(flat.norm().item())
    assert row["largest"] == values.abs().max()
    assert row["nonfinite"] == 0
    assert [row[f"projection_{i}"] for i in (1, 2)] == pytest.approx((repeated @ flat).tolist())
    channels_last = values.contiguous(memory_format=torch.channels_last)
    assert numbers(channels_last, directions).tolist() == pytest.approx(list(row.values()))
    values[0, 0, 0, :2] = torch.tensor([math.inf, math.nan])
    assert numbers(values, directions)[2] == 2


def test_watching_changes_nothing():
    plain, watched = trainer_of(), trainer_of()
    watched.watch = Fingerprint(watched.model, watched.criterion, watched.scaler, 2, lambda entry: None, {})
    for trainer in (plain, watched):
        train(trainer, Batches())
    assert plain.log.losses == watched.log.losses
    assert watched.model.first._forward_hooks == {}


def test_gradients_are_without_the_scale_of_fp16(tmp_path):
    fingerprints = [
        read_fingerprint(written(tmp_path, name, precision=precision))
        for name, precision in (("a", None), ("b", torch.float16))
    ]
    norms = [
        {entry["name"]: entry["norm"] for entry in fingerprint.tensors if entry["stage"] == "gradient"}
        for fingerprint in fingerprints
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def compared(*paths):
    return compare_fingerprints(*map(read_fingerprint, paths))


def test_equal_runs_pass(tmp_path):
    comparison = compared(written(tmp_path), written(tmp_path, "b"))
    assert comparison.apart == []
    assert {entry.error for entry in comparison.differences} == {0.0}
    assert list(fingerprint_lines(comparison))[-1].startswith("pass")
    assert fingerprint_record(comparison)["passed"]


def wrong_second(trainer):
    trainer.model.second.register_forward_hook(lambda module, inputs, output: output * 1.05)


def test_first_difference_is_named_and_drawn(tmp_path):
    comparison = compared(written(tmp_path), written(tmp_path, "b", change=wrong_second))
    assert comparison.beyond[0].name == "network.second"
    report = list(fingerprint_lines(comparison))
    assert "iteration 0, forward, network.second (float32)" in report[-2]
    assert max(map(len, report)) <= 110
    plot_fingerprints(comparison, tmp_path / "where.png")
    assert (tmp_path / "where.png").stat().st_size > 10_000


def test_other_pictures_and_weights_are_said_first(tmp_path):
    def other_weights(trainer):
        with torch.no_grad():
            trainer.model.first.bias += 1

    batches = Batches()
    images, labels, mirror = batches.batches[1]
    batches.batches[1] = images.flip(0), labels, ~mirror
    comparison = compared(written(tmp_path), written(tmp_path, "b", change=other_weights, batches=batches))
    assert comparison.apart == [
        "the weights that they started from", "the images of iteration 1", "the mirror of iteration 1"
    ]  # fmt: skip
    assert not comparison.passed
    assert "; ".join(comparison.apart) in list(fingerprint_lines(comparison))[2]


def altered(path, **changes):
    """Change entries of the first tensor in a file; return the file."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    next(entry for entry in entries if entry["type"] == "tensor").update(changes)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_values_that_are_not_finite_differ_from_those_that_are(tmp_path):
    first, second = written(tmp_path), altered(written(tmp_path, "b"), nonfinite=1, norm=math.nan)
    assert compared(first, second).differences[0].is_beyond
    assert compared(second, second).differences[0].error == 0
    assert fingerprint_record(compared(first, second))["first_beyond"]["error"] is None


@pytest.mark.parametrize(
    "text",
    ["", "{}\n", "not JSON\n", "[" * 100_000, '{"type": "run", "format": "another"}\n', "\xff", "null\n"],
)
def test_what_is_no_fingerprint_is_refused(tmp_path, text):
    path = tmp_path / "other.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AlmError, match=r"other.jsonl.* --fingerprint FILE writes one"):
        read_fingerprint(path)


@pytest.mark.parametrize(
    "change", [{"norm": "x"}, {"norm": 10**400}, {"stage": "other"}, {"iteration": None}, {"shape": None}]
)
def test_damaged_entries_are_refused_by_line(tmp_path, change):
    path = altered(written(tmp_path), **change)
    with pytest.raises(AlmError, match=r"a.jsonl:\d+: .*no entry of a fingerprint"):
        read_fingerprint(path)


@pytest.mark.parametrize("part", ["weights", "images", "dtype"])
def test_entries_without_a_part_are_refused_by_line(tmp_path, part):
    path = written(tmp_path)
    path.write_text(path.read_text().replace(f'"{part}"', '"other"'))
    with pytest.raises(AlmError, match=r"a.jsonl:\d+: .*no entry of a fingerprint"):
        read_fingerprint(path)


def test_runs_of_different_models_are_refused(tmp_path):
    path = written(tmp_path)
    other = tmp_path / "b.jsonl"
    other.write_text(path.read_text().replace('"network', '"net').replace("first", "1").replace("second", "2")
                     .replace('"loss', '"l'))  # fmt: skip
    with pytest.raises(AlmError, match="no tensor in common"):
        compared(path, other)


def test_limits_are_for_every_stage_and_grow_with_the_roundings():
    table = np.array(list(LIMITS.values()))
    assert table.shape == (3, len(STAGES))
    assert (np.diff(table, axis=0) > 0).all()
