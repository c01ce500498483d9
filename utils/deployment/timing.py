"""How several things are timed beside each other. Imports no torch."""

import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

Step = Callable[[], None]


def in_turn(
    steps: Sequence[Step],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    pause: float = 0.0,
) -> dict[Step, list[float]]:
    """Return the seconds of each step in each round.

    All steps are timed in turn, so that drift hits all; one that is named several times once a round. Before
    each are `pause` seconds: threads wait for more work for a while, and would take the next one's cores.
    """
    steps = list(dict.fromkeys(steps))
    for step in steps:
        step()  # the first call builds what later ones reuse
    seconds: dict[Step, list[float]] = {step: [] for step in steps}
    for _ in tqdm(range(rounds), "Measure", leave=False, disable=None):
        steps.reverse()  # no step always runs on what the same one left in caches and heap
        for step in steps:
            time.sleep(pause)
            start = clock()
            step()
            seconds[step].append(clock() - start)
    return seconds
