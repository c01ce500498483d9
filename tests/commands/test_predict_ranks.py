"""predict.py on several processes of torchrun: the files of one, and nothing lost."""

import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from support import REPOSITORY
from support.drawn import files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# What is said of a picture depends on its batch. One process may be killed when it comes to a batch.
PROGRAM = """
import os, signal
from support.known import Known, prediction_of
from run_scripts import predict
from run_scripts.cli.main import clear_ending

class Batches(Known):
    def predict(self, pixels, sizes):
        rank, _, last = os.environ.get("KILLED", "").partition(":")
        if rank == os.environ.get("RANK") and len(self.batches) == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
        self.batches.append(len(sizes))
        return [prediction_of(size, (0.9, k / 7, len(sizes) / 7)) for k, size in enumerate(sizes)]

predict.load_predictor = lambda *_, **__: (Batches(), ["assumed"])
with clear_ending():
    predict.main()
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that predicts on so many processes, in a folder with 17 pictures, three of which
    cannot be read, in folders and in an archive; it returns standard output and standard error.
    """
    monkeypatch.chdir(tmp_path)
    for k in range(9):
        path = tmp_path / "in" / f"{k % 2}" / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + k, 50 + k)).save(path)
    (tmp_path / "in" / "0" / "8.png").write_bytes(b"no picture")
    with tarfile.open("in.tar", "w") as file:
        file.add("in")
    os.truncate("in.tar", os.path.getsize("in.tar") // 2)
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(processes, *options, status=0, killed=""):
        command = [sys.executable]
        if processes:
            command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        paths = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
        environ = {**os.environ, "PYTHONPATH": paths, "KILLED": killed, "OMP_NUM_THREADS": "1"}
        command += [
            "program.py",
            "--checkpoint",
            "program.py",
            "--device",
            "cpu",
            "--batch_size",
            "2",
            *options,
        ]
        with subprocess.Popen(
            command,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(timeout=120)
            finally:
                with pytest.raises(ProcessLookupError):  # nobody is left
                    os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == status, output + errors
        return output, errors

    return start


def told(errors):
    return [line for line in errors.splitlines() if re.match(r"error: |note: |\S+\.part", line)]


def test_the_files_are_those_of_one_process_also_if_one_is_killed(start, tmp_path):
    outputs = "--csv", "o.csv", "--json", "o.json", "--regions", "sheets", "--resume", "in", "in.tar"
    whole = start(0, *outputs, status=1)
    (tmp_path / "one").mkdir()
    for name in ("o.csv", "o.json", "sheets"):
        os.rename(name, tmp_path / "one" / name)
    before = set(os.listdir())
    output, errors = start(3, *outputs, status=1)
    assert output == whole[0]
    assert told(errors) == told(whole[1])
    for name in set(os.listdir()) - before:
        os.rename(name, tmp_path / "one" / f"{name}.3")
    assert files(Path("one/sheets.3")) == files(Path("one/sheets"))
    for name in ("o.csv", "o.json"):
        assert (tmp_path / "one" / f"{name}.3").read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert len(os.listdir("one")) == 6

    _, errors = start(3, *outputs, status=1, killed="1:1")
    assert "the same command with --resume goes on" in errors
    left = {name for name in os.listdir() if name.startswith("o.")}
    assert left <= {f"o.csv.part.{k}of3" for k in (1, 2, 3)}
    assert left
    _, errors = start(2, *outputs, status=1)
    assert told(errors) == [
        "note: assumed",
        f"error: {min(left)} is of a run on another number of processes; start as many, or remove the file",
    ]
    start(3, *outputs, status=1)
    assert files(Path("sheets")) == files(Path("one/sheets"))
    for name in ("o.csv", "o.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert {name for name in os.listdir() if name.startswith("o.")} == {"o.csv", "o.json"}


def test_more_processes_than_pictures_and_what_only_one_can_do(start, tmp_path):
    start(3, "--csv", "o.csv", "in/0/0.png")
    assert (tmp_path / "o.csv").read_text().count("\n") == 2
    (error,) = told(start(2, "--csv", "-", "in/0/0.png", status=1)[1])[1:]
    assert error.startswith("error: several processes write files alone, and count no votes")
