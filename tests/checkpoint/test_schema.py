"""What each part of a checkpoint must be, the optimizer's state too."""

import copy
import math
from pathlib import Path

import pytest
import torch
from support.models import model_of, own_checkpoint
from support.tiny import Batches, load, run_of, trainer_of

import alm
from alm.checkpoint.restore import load_checkpoint
from alm.checkpoint.schema import DEFAULTS, check_parts

GOOD = DEFAULTS | {
    "format": "alm-1", "approach": "bn_inception", "attributes": ["Hat", "Bag"], "positive_ratio": [0.5, 0.5],
    "align_corners": False, "epoch": 3, "best_accu": 0.5, "options": {"lr": 0.1, "seed": None},
    "optimizer": {"state": {}}, "scaler": {},
}  # fmt: skip
SCALER = {
    "scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000,
    "_growth_tracker": 3,
}  # fmt: skip
LOG = {"sums": [1.0, 2.0, 3.0], "iterations": 3, "pictures": 96}


def deep():
    """Return a list with ten to the thirtieth entries, in lists that hold each other."""
    content = [1]
    for _ in range(30):
        content = [content] * 10
    return content


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("approach", "resnet50", "is 'resnet50', not one of inception_iccv, bn_inception"),
        ("approach", ["inception_iccv"], "not one of"),
        ("backbone", None, "not text"),
        ("mean", [0.5, 0.5], "not a list of 3, each entry a finite number"),
        ("std", [0.5, 0.0, 0.5], "not a list of 3, each entry a finite number"),
        ("attributes", ["Hat", 3], "not a list, each entry text"),
        ("attributes", ["Hat", "Hat"], "or one of them twice"),
        ("attributes", [], "has no `attributes`"),
        ("positive_ratio", [0.5, 1.5], "a finite number from 0 to 1"),
        ("positive_ratio", [0.5, math.nan], "a finite number from 0 to 1"),
        ("positive_ratio", [0.5], "not one positive ratio for each attribute"),
        ("align_corners", 1, "not True or False"),
        ("epoch", "three", "is 'three', not a whole number from 0 on"),
        ("epoch", -1, "not a whole number"),
        ("epoch", True, "not a whole number"),
        ("epoch", 2**63, "not a whole number"),
        ("epoch", 1.0, "not a whole number"),
        ("best_accu", math.nan, "not a finite number"),
        ("best_ma", math.inf, "number from -inf to 1"),
        ("options", {1: 2}, "not a dict"),
        ("raw_weights", {"a": 1}, "not a dict"),
        ("optimizer", [1], "not a dict"),
        ("scaler", {"scale": "x"}, "a dict of scale, growth_factor"),
        ("scaler", SCALER | {"scale": 0.0}, "a dict of"),
        ("scaler", SCALER | {"backoff_factor": 1.0}, "a dict of"),
        ("scaler", SCALER | {"growth_factor": 1.0}, "a dict of"),
        ("saved", ["../../etc/1.pth.tar"], "a list, each entry a checkpoint's name"),
        ("saved", ["a\0_1.pth.tar"], "a checkpoint's name"),
        ("saved", ["best.pth.tar"], "a checkpoint's name"),
        ("log", LOG | {"sums": [1.0, 2.0]}, "a dict of sums, iterations, pictures"),
        ("log", {"sums": [1.0, 2.0, 3.0]}, "a dict of sums"),
        ("data", [], "not a dict"),
        ("options", deep(), "not a dict"),
        ("epoch", "x" * 10_000, "not a whole number"),
    ],
)
def test_a_part_that_is_wrong_is_named_in_one_short_line(name, value, words):
    with pytest.raises(alm.AlmError) as error:
        check_parts(Path("7.pth.tar"), GOOD | {name: value})
    message = str(error.value)
    assert message.startswith("7.pth.tar: this checkpoint is damaged: ")
    assert words in message
    assert len(message) < 300
    assert "\n" not in message


@pytest.mark.parametrize("name", ["options", "state_dict"])
def test_a_part_that_is_missing_is_named(tmp_path, name):
    content = own_checkpoint(model_of(approach="bn_inception"))
    del content[name]
    torch.save(content, tmp_path / "7.pth.tar")
    with pytest.raises(alm.AlmError, match=rf"7\.pth\.tar: this .* no `{name}`"):
        load_checkpoint(tmp_path / "7.pth.tar")


@pytest.mark.parametrize(
    "parts",
    [
        {"scaler": SCALER, "log": LOG, "saved": ["1.pth.tar", "a_b_2+10.pth.tar"]},
        {"scaler": torch.amp.GradScaler("cpu", init_scale=8.0).state_dict(), "best_ma": 0.7, "best_accu": 1},
        {"data": {"train": "ab", "val": None}, "levels": 3, "attributes": ("Hat", "Bag")},
    ],
)
def test_parts_that_are_right_are_taken(parts):
    check_parts(Path("7.pth.tar"), GOOD | parts)


def test_a_newer_version_is_named(tmp_path):
    torch.save(own_checkpoint(model_of(approach="bn_inception"), format="alm-2"), tmp_path / "7.pth.tar")
    with pytest.raises(alm.AlmError, match=r"newer version .*format alm-2, .*alm-1.*; update the program"):
        load_checkpoint(tmp_path / "7.pth.tar")


# The optimizer's state.


def test_options_of_the_optimizer_are_the_runs_not_the_checkpoints(tmp_path):
    """Moments come back; weight decay, momentum, and what the device can do (fused) do not."""
    first = trainer_of()
    first.optimizer = torch.optim.Adam(first.model.parameters(), weight_decay=5e-4, fused=True)
    run = run_of(tmp_path, 1, first)
    run.fit(Batches())
    second = trainer_of()
    second.optimizer = torch.optim.Adam(second.model.parameters(), weight_decay=0.05, fused=False)
    resumed = run_of(tmp_path, 2, second)
    resumed.load_state_dict(load(tmp_path / "1.pth.tar"))
    (group,) = second.optimizer.param_groups
    assert (group["weight_decay"], group["fused"]) == (0.05, False)
    for ours, theirs in zip(second.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(second.optimizer.state[ours]["exp_avg"], first.optimizer.state[theirs]["exp_avg"])
        assert second.optimizer.state[ours]["step"] == 4
    resumed.fit(Batches())


OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "plain": lambda parameters: torch.optim.SGD(parameters, lr=0.01),
}


def trained(directory, kind):
    """Return a run, and its state after an epoch."""
    trainer = trainer_of()
    trainer.optimizer = OPTIMIZERS[kind](trainer.model.parameters())
    run = run_of(directory, 1, trainer)
    run.fit(Batches())
    return run, copy.deepcopy(run.state_dict())


DAMAGE = {
    "no state": ("adam", lambda saved: saved.pop("state"), "it has no state of parameters"),
    "empty": ("adam", lambda saved: saved["state"].clear(), "0 entries, not one for each of 4 parameters"),
    "one missing": ("adam", lambda saved: saved["state"].pop(2), "3 entries, not one for each of 4"),
    "no entry": ("adam", lambda saved: saved["state"].update({1: 7}), "parameter 1 has none"),
    "no step": ("adam", lambda saved: saved["state"][0].pop("step"), "parameter 0 has no number of steps"),
    "step zero": ("adamw", lambda saved: saved["state"][0]["step"].zero_(), "no number of steps"),
    "no squares": ("adam", lambda saved: saved["state"][3].pop("exp_avg_sq"), "3 has no exp_avg_sq"),
    "text": ("adam", lambda saved: saved["state"][3].update(exp_avg="x"), "3 has no exp_avg"),
    "none": ("momentum", lambda saved: saved["state"][3].update(momentum_buffer=None), "no momentum_buffer"),
    "shape": ("adam", lambda saved: saved["state"][0].update(exp_avg=torch.zeros(7)),
              r"exp_avg \(7,\) instead of \(2, 3\)"),
    "nan": ("adamw", lambda saved: saved["state"][0]["exp_avg"].fill_(torch.nan), "nothing can go on from"),
    "negative": ("adam", lambda saved: saved["state"][0]["exp_avg_sq"].fill_(-1), "nothing can go on from"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_an_optimizers_state_that_does_not_fit_is_refused(tmp_path, case):
    kind, damage, message = DAMAGE[case]
    run, state = trained(tmp_path, kind)
    before = str(run.state_dict())
    damage(state["optimizer"])
    state["epoch"] = 9
    with pytest.raises(alm.AlmError, match=rf"state does not fit this model: .*{message}.*--init_from"):
        run.load_state_dict(state)
    assert str(run.state_dict()) == before


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizers_own_state_is_taken(tmp_path, kind):
    _, state = trained(tmp_path, kind)
    for other in {kind, *({"plain", "momentum"} if "adam" not in kind else ())}:  # momentum may be changed
        again = trainer_of()
        again.optimizer = OPTIMIZERS[other](again.model.parameters())
        resumed = run_of(tmp_path, 2, again)
        resumed.load_state_dict(state)
        resumed.fit(Batches())


def test_in_fp16_there_may_be_no_step_yet(tmp_path):
    """While the scale is found steps overflow; a run of a few iterations may have none but these."""
    trainer = trainer_of(precision=torch.float16)
    trainer.optimizer = OPTIMIZERS["adam"](trainer.model.parameters())
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    run = run_of(tmp_path, 1, trainer)
    run.fit(Batches())
    assert run.state_dict()["optimizer"]["state"] == {}
    run.load_state_dict(copy.deepcopy(run.state_dict()))
    assert run.progress.epoch == 1
