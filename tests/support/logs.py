"""Lines of logs, and logs of them; for the tests of whatever reads logs."""

import json
from pathlib import Path

import numpy as np

from utils.runs.log_reader import read_losses

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"


def line(iteration, loss, epoch=0, rank=0):
    return (
        f"TCAPPDLL 2025-07-06 05:55:46.338889 - Epoch: {epoch} Iteration: {iteration}  rank : {rank}"
        f"  train.loss : {loss}  train.ips : 9.2 imgs/s\n"
    )


def event(iteration, loss, rank=0, as_object=False, **options):
    data = {"rank": str(rank), "train.loss": str(loss), "train.ips": "9.2"}
    head = {"timestamp": "1751752546.3", "elapsedtime": "1.2", "type": "LOG", "step": [0, iteration]}
    return "TCAPPDLL " + json.dumps({**head, "data": data if as_object else str(data)}, **options) + "\n"


def epoch_line(iteration, loss, epoch=0):
    return (
        f"Epoch: [{epoch}][{iteration}/2850]\tTime 0.422 (0.422)\tLoss {loss} (9.0000)\tAccu 0.271 (0.271)\n"
    )


METADATA = (
    'TCAPPDLL {"timestamp": "1.1", "elapsedtime": "0.0", "datetime": "2025-07-06 05:55:45.100000", '
    '"type": "METADATA", "metric": "train.loss", "metadata": {"unit": "", "GOAL": "MINIMIZE"}}\n'
)
EVALUATION = 'TCAPPDLL {"timestamp": "9.9", "type": "LOG", "step": [0], "data": "{\'val.ma\': \'0.8\'}"}\n'
THREE = {(0, 0): 3.5, (0, 1): 3.25, (0, 2): 3.0}
LINES = line(0, 3.5) + line(1, 3.25) + line(2, 3.0)


def reader(folder):
    """Return a function that writes text or bytes to a file and reads its losses."""

    def read(content, **options):
        path = folder / "a.log"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return read_losses(path, **options)

    return read


FALLING = 1 + 2 * np.exp(-np.arange(20) / 30)


def write_log(name, losses, rank=0):
    """Write a log into the working directory; losses are a sequence or (epoch, iteration) -> loss."""
    if not isinstance(losses, dict):
        losses = {(0, i): value for i, value in enumerate(losses)}
    lines = (line(i, float(value), epoch, rank) for (epoch, i), value in losses.items())
    Path(name).write_text("".join(lines), encoding="utf-8")
