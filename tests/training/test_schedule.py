"""The learning rate of each step, against torch's own schedules."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from alm.training.schedule import ONE_CYCLE_WARMUP, learning_rate

STEPS, EPOCHS = 10_000, 4  # so many that it does not show if the last step, or the end behind it, is at 0


def rates(schedule, warmup, decay_epochs=()):
    """Return the rate of every step."""
    points = (EPOCHS * step / STEPS for step in range(STEPS))
    return [learning_rate(0.5, done, EPOCHS, schedule, decay_epochs, warmup) for done in points]


@pytest.mark.parametrize(
    ("schedule", "warmup", "theirs"),
    [
        ("cosine", 0.0, lambda optimizer: CosineAnnealingLR(optimizer, STEPS)),
        ("onecycle", ONE_CYCLE_WARMUP, lambda optimizer: OneCycleLR(optimizer, 0.5, STEPS)),
        ("onecycle", 0.1, lambda optimizer: OneCycleLR(optimizer, 0.5, STEPS, pct_start=0.1)),
    ],
)
def test_schedules_are_torchs(schedule, warmup, theirs):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5, momentum=0.9)
    scheduler, expected = theirs(optimizer), []
    for _ in range(STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates(schedule, warmup) == pytest.approx(expected, abs=0.5e-3)


def test_a_step_falls_at_its_epochs_behind_a_warm_up():
    of = STEPS // EPOCHS
    plain, warm = rates("step", 0.0, (2, 3)), rates("step", 0.25, (2, 3))
    assert plain == [0.5] * (2 * of) + [0.5 * 0.1] * of + [0.5 * 0.1 * 0.1] * of
    assert warm[of:] == plain[of:]
    assert warm[0] == pytest.approx(0.5 / 25)
    assert warm[: of + 1] == sorted(warm[: of + 1])
