"""Runs that are killed at random instants, again and again, come to the same end.

`ALM_THOROUGH=1` kills 25 times, without it 5.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from support import THOROUGH
from support.drawn import drawn_set

from utils.runs.log_reader import read_losses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked, or each would import torch anew"),
]
SEED = 20261125
KILLS = [signal.SIGKILL] * (20 if THOROUGH else 4) + [signal.SIGTERM] * (5 if THOROUGH else 1)
OPTIONS = (
    "--approach", "bn_inception", "--experiment", "peta", "--batch_size", 2, "--epochs", 2, "--workers", 1,
    "--save_every_iters", 2, "--keep", 2, "--device", "cpu", "--resume", "auto",
)  # fmt: skip


def live(slow_seed, output, *options):
    """Run the command in this process, with checkpoints that take their time: kills are to meet them."""
    from alm.checkpoint.files import Writer
    from run_scripts import run_ALM
    from run_scripts.cli.main import clear_ending

    chance, write = random.Random(slow_seed), Writer.write

    def slow_write(self, data):
        if chance.random() < 0.002:
            time.sleep(0.1)
        return write(self, data)

    if slow_seed is not None:
        Writer.write = slow_write
    multiprocessing.set_start_method("fork", force=True)  # of the workers, as in the command's own process
    sys.argv = ["run_ALM.py", *map(str, options)]
    with open(output, "a", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        torch.set_num_threads(1)
        with clear_ending():
            run_ALM.main()


@pytest.fixture(scope="module")
def lives():
    """Return the processes' context: a server that has imported torch and forks one for each life."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["run_scripts.run_ALM"])
    return context


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return drawn_set(tmp_path_factory, train=9, test=2)


@pytest.fixture(scope="module")
def undisturbed(lives, pictures, tmp_path_factory):
    """Return the directory of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("undisturbed")
    process = start(lives, None, pictures, directory)
    process.join()
    assert process.exitcode == 0, (directory / "output.txt").read_text()
    return directory


def start(lives, slow_seed, pictures, directory):
    options = (*OPTIONS, "--data_root", pictures, "--output_dir", directory / "run")
    process = lives.Process(target=live, args=(slow_seed, directory / "output.txt", *options))
    process.start()
    return process


@pytest.mark.timeout(600)
def test_what_is_killed_comes_to_the_same_end(lives, pictures, undisturbed, tmp_path):
    """At any instant, also within a write. One and the same command is given until the run is done; then
    another run begins, until all kills are used up.
    """
    print(f"seed {SEED}")  # pytest shows it if the test fails
    chance = random.Random(SEED)
    kills, runs = chance.sample(KILLS, len(KILLS)), 0
    while kills:
        directory = tmp_path / f"{runs}"
        directory.mkdir()
        while True:
            process = start(lives, chance.random(), pictures, directory)
            process.join(chance.uniform(0.3, 3) if kills else None)
            if not process.is_alive():
                break
            number = kills.pop()
            os.kill(process.pid, number)
            process.join(20)
            assert not process.is_alive()
            # SIGTERM before the training begins ends it as it ends any program.
            assert process.exitcode in {signal.SIGKILL: [-9, 0], signal.SIGTERM: [143, -15, 0]}[number]
        assert process.exitcode == 0, (directory / "output.txt").read_text()
        same_end(directory / "run", undisturbed / "run")
        runs += 1


def same_end(ours: Path, theirs: Path) -> None:
    """Assert that two runs came to the same end: weights, moments, losses, figures; nothing is left over."""
    end, expected = (torch.load(run / "last.pth.tar", weights_only=True) for run in (ours, theirs))
    assert end["epoch"] == expected["epoch"] == 2
    for name, weight in expected["state_dict"].items():
        assert torch.equal(end["state_dict"][name], weight), name
    for index, moments in expected["optimizer"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(end["optimizer"]["state"][index][name], value), (index, name)
    for name in ("iterations", "best_ma", "best_accu"):
        assert end[name] == expected[name]
    log = read_losses(ours / "train.log")
    assert log.losses == read_losses(theirs / "train.log").losses
    assert len(log.losses) == 10
    figures, wanted = ((run / "metrics.jsonl").read_text().splitlines() for run in (ours, theirs))
    assert figures == wanted
    assert [path.name for path in ours.glob(".*")] == [".lock"]
