"""An optimizer's saved state: what of it comes back, and what is refused."""

import copy

import pytest
import torch
from support.tiny import Batches, load, run_of, trainer_of

import alm


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
    "a list": ("adam", lambda saved: saved.update(state=[1]), "it has no state of parameters"),
    "empty": ("adam", lambda saved: saved["state"].clear(), "0 entries, not one for each of 4 parameters"),
    "empty momentum": ("momentum", lambda saved: saved["state"].clear(), "0 entries, not one for each of 4"),
    "one missing": ("adam", lambda saved: saved["state"].pop(2), "3 entries, not one for each of 4"),
    "one too many": ("adam", lambda saved: saved["state"].update({99: {}}), "5 entries, not one for each"),
    "another's": ("adam", lambda saved: saved["state"].update({4: saved["state"].pop(3)}), "4 entries, not"),
    "no entry": ("adam", lambda saved: saved["state"].update({1: 7}), "parameter 1 has none"),
    "no step": ("adam", lambda saved: saved["state"][0].pop("step"), "parameter 0 has no number of steps"),
    "endless": ("adam", lambda saved: saved["state"][0]["step"].fill_(torch.inf), "no number of steps"),
    "step zero": ("adam", lambda saved: saved["state"][0]["step"].zero_(), "no number of steps"),
    "no squares": ("adam", lambda saved: saved["state"][3].pop("exp_avg_sq"), "3 has no exp_avg_sq"),
    "text": ("adam", lambda saved: saved["state"][3].update(exp_avg="x"), "3 has no exp_avg"),
    "whole": ("momentum", lambda saved: saved["state"][3].update(momentum_buffer=torch.ones(2).int()),
              "3 has no momentum_buffer"),
    "none": ("momentum", lambda saved: saved["state"][3].update(momentum_buffer=None), "no momentum_buffer"),
    "shape": ("adam", lambda saved: saved["state"][0].update(exp_avg=torch.zeros(7)),
              r"exp_avg \(7,\) instead of \(2, 3\)"),
    "nan": ("adam", lambda saved: saved["state"][0]["exp_avg"].fill_(torch.nan), "nothing can go on from"),
    "inf": ("momentum", lambda saved: saved["state"][0]["momentum_buffer"].fill_(torch.inf), "nothing can"),
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
    for other in {kind, *({"plain", "momentum"} if kind != "adam" else ())}:  # momentum may be changed
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
