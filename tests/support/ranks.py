"""Commands and programs on several ranks, which torchrun starts; each ends in time, whatever happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

import alm
from alm.constants import UNKNOWN
from alm.training import distributed
from alm.training.batch_norm import synchronize
from support import REPOSITORY
from support.tiny import CPU, trainer_of
from utils.data.dataset import MultiLabelDataset
from utils.data.loader import Loader

PATH = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests")))


def torchrun(ranks, *program, options=(), env=None):
    """Return torchrun's process, in a process group of its own, with a program and its words."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks),
         *map(str, (*options, *program))],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATH, **(env or {})},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process, seconds=280):
    """Wait for torchrun; return (status, standard output, standard error). It is ended when its time is."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # it ends its ranks, at last with SIGKILL
        output, errors = process.communicate(timeout=60)
        raise AssertionError(f"torchrun did not end within {seconds} s: {output}\n{errors}") from None
    return process.returncode, output, errors


def train_in_float64(root, labels, backbone):
    """Train ALM in float64 on a list, on as many ranks as there are; return its weights and the losses."""
    torch.manual_seed(0)
    dataset = MultiLabelDataset(root, labels, num_attributes=35)
    model = alm.build_model("alm", 35, backbone=backbone, width=32).double()
    model.register_forward_pre_hook(lambda model, inputs: (inputs[0].double(),))
    if distributed.world() > 1:
        synchronize(model)
    trainer = trainer_of(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-4))
    trainer.criterion = alm.WeightedBCELoss([0.3] * 35)
    trainer.network = distributed.parallel(model, CPU)
    loader = Loader(dataset, 8, shuffle=True, mirror=True)
    trainer.train(loader.epoch(0), 0, 0, len(loader))
    return model.state_dict(), [values[5] for values in trainer.log.of("iteration")]


def with_unknown_labels(source, path):
    """Write a list whose first half has unknown labels, at every fifth place, and its second half none."""
    rows = [line.split() for line in Path(source).read_text(encoding="utf-8").splitlines()]
    for row in rows[: len(rows) // 2]:
        row[1::5] = [str(UNKNOWN)] * len(row[1::5])
    path.write_text("".join(" ".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


if __name__ == "__main__":
    root, labels, out, backbone = sys.argv[1:]
    with distributed.ranks(minutes=3):
        trained = train_in_float64(root, labels, backbone)
        if distributed.is_main():
            torch.save(trained, out)
