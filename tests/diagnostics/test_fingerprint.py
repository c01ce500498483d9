"""Fingerprints: what is written of a step, and how two are compared."""

import json
import math
import re

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


def save(entries, path):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def written(tmp_path, change=lambda trainer: None, batches=None, precision=None):
    """Train a small network with a fingerprint of two iterations; return its file."""
    trainer, entries = trainer_of(precision), []
    change(trainer)
    about = {"device": "cpu", "precision": "fp16" if precision else "float32"}
    trainer.watch = Fingerprint(trainer.model, trainer.criterion, trainer.scaler, 2, entries.append, about)
    train(trainer, batches or Batches())
    return save(entries, tmp_path / "a.jsonl")


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Return the fingerprint of a right run."""
    return written(tmp_path_factory.mktemp("right"))


def test_every_output_gradient_and_weight_is_told_in_order(right):
    fingerprint = read_fingerprint(right)
    assert [batch["iteration"] for batch in fingerprint.batches] == [0, 1]
    names = [(entry["stage"], entry["name"]) for entry in fingerprint.tensors if entry["iteration"] == 0]
    parameters = ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert names[:6] == [
        ("forward", "network.first"), ("forward", "network.second"), ("forward", "network[0]"),
        ("forward", "network[1]"), ("forward", "loss"), ("forward", "loss, call 2"),
    ]  # fmt: skip
    assert sorted(name for stage, name in names[6:10] if stage == "gradient") == sorted(parameters)
    assert names[10:] == [("weight after the step", name) for name in parameters]


def test_numbers_are_what_they_are_called():
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


def test_gradients_are_without_the_scale_of_fp16(right, tmp_path):
    def gradients(path):
        entries = read_fingerprint(path).tensors
        return {entry["name"]: entry["norm"] for entry in entries if entry["stage"] == "gradient"}

    half = written(tmp_path, precision=torch.float16)
    assert gradients(right) == pytest.approx(gradients(half), rel=0.05)


def compared(*paths):
    return compare_fingerprints(*map(read_fingerprint, paths))


def test_equal_runs_pass(right, tmp_path):
    comparison = compared(right, written(tmp_path))
    assert {entry.error for entry in comparison.differences} == {0.0}
    assert list(fingerprint_lines(comparison))[-1] == (
        "pass: none of 28 tensors of 2 iterations differs by more than its type allows"
    )
    assert fingerprint_record(comparison)["passed"]


def test_first_difference_is_named_and_drawn(right, tmp_path):
    def wrong_second(trainer):
        trainer.model.second.register_forward_hook(lambda module, inputs, output: output * 1.05)

    comparison = compared(right, written(tmp_path, change=wrong_second))
    assert comparison.beyond[0].name == "network.second"
    report = list(fingerprint_lines(comparison))
    assert "iteration 0, forward, network.second (float32)" in report[-2]
    assert max(len(line.replace(str(tmp_path.parent), "")) for line in report) <= 110
    plot_fingerprints(comparison, tmp_path / "where.svg")  # it has its texts as comments
    texts = re.findall("<!-- (.*?) -->", (tmp_path / "where.svg").read_text(), re.DOTALL)
    assert {"network.second", "forward, iteration 0"} <= {text.strip() for text in texts}


def test_other_pictures_and_weights_are_said_first(right, tmp_path):
    def other_weights(trainer):
        with torch.no_grad():
            trainer.model.first.bias += 1

    batches = Batches()
    images, labels, mirror = batches.batches[1]
    batches.batches[1] = images.flip(0), labels, ~mirror
    comparison = compared(right, written(tmp_path, change=other_weights, batches=batches))
    assert comparison.apart == [
        "the weights that they started from", "the images of iteration 1", "the mirror of iteration 1"
    ]  # fmt: skip
    assert not comparison.passed
    assert "; ".join(comparison.apart) in list(fingerprint_lines(comparison))[2]


def altered(right, tmp_path, kind="tensor", **changes):
    """Return a copy of a file with changes in the first entry of a kind; None takes a part out."""
    entries = [json.loads(line) for line in right.read_text().splitlines()]
    entry = next(entry for entry in entries if entry["type"] == kind)
    entry.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del entry[name]
    return save(entries, tmp_path / "altered.jsonl")


@pytest.mark.parametrize("change", [{"nonfinite": 1, "norm": math.nan}, {"projection_1": math.inf}])
def test_values_that_are_not_finite_never_agree(right, tmp_path, change):
    other = altered(right, tmp_path, **change)
    for files, words in (
        ((right, other), f"not finite in {other}"),
        ((other, other), f"{other} and {other}"),
    ):
        comparison = compared(*files)
        assert not comparison.passed
        report = list(fingerprint_lines(comparison))
        assert report[-3:-1] == [
            "fail: the first that is not finite, in order of execution:",
            "  iteration 0, forward, network.first (float32)",
        ]
        assert report[-1].endswith(words)
        assert fingerprint_record(comparison)["first_beyond"]["error"] is None


def without(right, tmp_path, *left_out, asked=2):
    """Return a copy of a file without some entries, each (iteration, kind or name)."""
    entries = [json.loads(line) for line in right.read_text().splitlines()]
    entries[0]["iterations"] = asked
    kept = [
        entry for entry in entries
        if not any((entry.get("iteration"), entry.get(part)) in left_out for part in ("type", "name"))
    ]  # fmt: skip
    return save(kept, tmp_path / "short.jsonl")


ENDS_EARLY = [(1, "batch"), (1, "tensor")]


@pytest.mark.parametrize(
    ("left_out", "asked", "words"),
    [
        (ENDS_EARLY, 2, "has 1 of 2 iterations"),
        (ENDS_EARLY[1:], 2, "lacks 14 of 30 entries, the first: iteration 1, forward, network.first"),
        ([(1, "second.bias")], 2, "lacks 2 of 30 entries, the first: iteration 1, gradient, second.bias"),
        ([(1, "batch")], 2, "lacks 1 of 30 entries, the first: iteration 1, batch"),
        ([], 3, "has 2 of 3 iterations"),
    ],
)
@pytest.mark.parametrize("in_both", [False, True])
def test_what_was_not_compared_does_not_agree(right, tmp_path, left_out, asked, words, in_both):
    short = without(right, tmp_path, *left_out, asked=asked)
    comparison = compared(short if in_both else right, short)
    assert {entry.error for entry in comparison.differences} == {0.0}
    assert not comparison.passed
    assert not fingerprint_record(comparison)["passed"]
    report = list(fingerprint_lines(comparison))
    assert any(line.startswith(f"{short} {words}") for line in report)
    assert report[-1] == "fail: not all was compared"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_neither_file_has_is_a_gap(right, tmp_path, stage):
    lines = right.read_text().splitlines(keepends=True)
    short = tmp_path / "short.jsonl"
    short.write_text("".join(line for line in lines if f'"stage": "{stage}"' not in line))
    comparison = compared(short, short)
    assert not comparison.passed
    assert comparison.gaps == [f"{short} and {short} have no entry of the stage {stage!r}"]


def test_files_that_do_not_say_how_many_iterations_they_were_to_have_are_read(right, tmp_path):
    old = altered(right, tmp_path, "run", iterations=None)
    assert compared(old, old).passed
    assert compared(right, old).passed


def test_a_run_that_dies_leaves_its_last_step(tmp_path):
    batches = Batches()
    trainer = trainer_of()
    forward = trainer.model.forward
    trainer.model.forward = lambda images: tuple(
        logits * math.nan if trainer.log.losses else logits for logits in forward(images)
    )
    entries = []
    trainer.watch = Fingerprint(trainer.model, trainer.criterion, trainer.scaler, 3, entries.append, {})
    with pytest.raises(AlmError, match="the loss is nan"):
        train(trainer, batches)
    assert entries[0]["iterations"] == 3
    [*_, last] = entries
    assert (last["iteration"], last["stage"]) == (1, "weight after the step")
    found = next(entry for entry in entries if entry.get("nonfinite"))
    assert (found["iteration"], found["name"]) == (1, "network[0]")


@pytest.mark.parametrize(
    "text",
    ["", "{}\n", "not JSON\n", "[" * 100_000, '{"type": "run", "format": "another"}\n', "\xff", "null\n"],
)
def test_what_is_no_fingerprint_is_refused(tmp_path, text):
    path = tmp_path / "other.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AlmError, match=r"other.jsonl.* --fingerprint FILE writes one"):
        read_fingerprint(path)


DAMAGES = [
    ("run", {"weights": None}), ("batch", {"images": None}), ("tensor", {"dtype": None}),
    ("tensor", {"norm": "x"}), ("tensor", {"norm": 10**400}), ("tensor", {"stage": "other"}),
    ("tensor", {"shape": 3}), ("run", {"iterations": "2"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), DAMAGES)
def test_damaged_entries_are_refused_by_line(right, tmp_path, kind, change):
    with pytest.raises(AlmError, match=r"altered.jsonl:\d+: .*no entry of a fingerprint"):
        read_fingerprint(altered(right, tmp_path, kind, **change))


def test_runs_of_different_models_are_refused(right, tmp_path):
    other = tmp_path / "b.jsonl"
    other.write_text(right.read_text().replace('"name": "', '"name": "other.'))
    with pytest.raises(AlmError, match="no tensor in common"):
        compared(right, other)


def test_limits_are_for_every_stage_and_grow_with_the_roundings():
    table = np.array(list(LIMITS.values()))
    assert table.shape == (3, len(STAGES))
    assert (np.diff(table, axis=0) > 0).all()
