"""The learning rate of each step. It follows from the step's place alone, so nothing of it needs saving."""

import math

SCHEDULES = ("step", "cosine", "onecycle")
ONE_CYCLE_WARMUP = 0.3  # of the training, as in torch's OneCycleLR
START = 1 / 25  # of the rate, with which a warm-up begins, as there


def learning_rate(
    highest: float, done: float, epochs: int, schedule: str, decay_epochs: tuple[int, ...], warmup: float
) -> float:
    """Return the rate of the step that begins when `done` of a training's `epochs` are done, such as 2.5.

    step: the highest one, times 0.1 from each of `decay_epochs` on, counted from 0. cosine: down to 0 along
    half a cosine. onecycle (Smith and Topin, 2018) is the same behind a warm-up. In the first `warmup` of the
    training, a share below 1, the rate rises to the highest one along half a cosine.
    """
    rate, share = highest, done / epochs
    if schedule == "step":
        for decay in decay_epochs:
            if done >= decay:
                rate *= 0.1
    if share < warmup:
        return rate * (1 - (1 - START) * falling(share / warmup))
    if schedule == "step":
        return rate
    return rate * falling((share - warmup) / (1 - warmup))


def falling(share: float) -> float:
    """Return half a cosine, from 1 at 0 to 0 at 1."""
    return (1 + math.cos(math.pi * share)) / 2
