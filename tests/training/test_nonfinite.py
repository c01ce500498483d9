"""Training steps that are not finite, left out: nothing of them stays, and they are counted."""

import math

import pytest
import torch
from support.tiny import Batches, Tiny, train, trainer_of
from torch import nn

from alm.training import step_queue as steps_module
from alm.training.trainer import NonFiniteLossError, NonFiniteSteps


@pytest.fixture
def accelerator(monkeypatch):
    """Let the trainer take the CPU for an accelerator."""
    monkeypatch.setattr(steps_module, "is_accelerator", lambda device: True)


@pytest.mark.parametrize("device", ["cpu", "accelerator"])
def test_a_step_that_is_not_finite_can_be_left_out(device, request):
    """Weights, moments and running means are as if it had not been; the log has it, and their number."""
    if device == "accelerator":
        request.getfixturevalue("accelerator")
    batches = Batches()
    trainer, plain = trainer_of(model=Normalized()), trainer_of(model=Normalized())
    trainer.nonfinite = NonFiniteSteps(skip=True)
    trainer.criterion = NotFiniteAt(trainer.criterion, 1)
    train(trainer, batches)
    plain.train([batch for number, batch in enumerate(batches.batches) if number != 1], 0, 0, 4)
    for ours, theirs in zip(
        trainer.model.state_dict().values(), plain.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert trainer.nonfinite.skipped == 1
    ((note,),) = trainer.log.of("loss_not_finite")
    assert (note["epoch"], note["iteration"], note["count"]) == (0, 1, 1)
    assert math.isnan(note["loss"])
    assert [iteration for _, iteration, _ in trainer.log.losses] == [0, 1, 2, 3]


def test_gradients_that_are_not_finite_are_left_out_too():
    trainer = trainer_of()
    trainer.nonfinite = NonFiniteSteps(skip=True)
    trainer.model.first.bias.register_hook(lambda gradient: gradient * torch.inf)
    before = trainer.model.first.weight.detach().clone()
    train(trainer, Batches())
    assert torch.equal(trainer.model.first.weight, before)
    assert [note["count"] for (note,) in trainer.log.of("gradients_not_finite")] == [1, 2, 3, 4]


def test_ten_steps_in_a_row_are_enough():
    trainer = trainer_of()
    trainer.nonfinite = NonFiniteSteps(skip=True)
    criterion = trainer.criterion
    trainer.criterion = NotFiniteAt(criterion, *range(3, 12))
    train(trainer, Batches([3] * 20))
    assert trainer.nonfinite.skipped == 9
    trainer.criterion = NotFiniteAt(criterion, *range(3, 30))
    with pytest.raises(NonFiniteLossError, match="10 iterations in a row, up to epoch 0 iteration 12, "):
        train(trainer, Batches([3] * 20))
    assert trainer.nonfinite.skipped == 19


class Normalized(Tiny):
    """A network with running means."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return super().forward(self.norm(images))


class NotFiniteAt:
    """A criterion whose value is NaN in these steps of a network with two branches."""

    def __init__(self, criterion, *steps):
        self.criterion, self.steps, self.calls = criterion, steps, 0

    def __call__(self, logits, labels):
        step, self.calls = self.calls // 2, self.calls + 1
        return self.criterion(logits, labels) * (torch.nan if step in self.steps else 1)
