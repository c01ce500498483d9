"""Shared by all tests: data, runs and checkpoints to read, and the start of a command in this process."""

import io
import os
import shutil
import signal
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

import pytest
from support import REPOSITORY

if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # they share the cores; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // int(processes))))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before a test imports onnxruntime
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's `pytest &`
    signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup pytest` hands on, ignored
sys.modules["torch_sdaa"] = None  # the stand-in beside these tests is for processes that ask for it


def pytest_configure(config):
    """Keep the order of the files if several processes share them: else the longest one comes last."""
    config.option.loadscopereorder = False


@pytest.fixture(autouse=True)
def threads():
    """Give torch its threads back: predict.py and others set their number for the whole process."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    if before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared():
    """Return the folder of reference numbers, label lists and logs; skip if it is missing."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "reference").is_dir():
        pytest.skip("reference data not found")
    return folder


@pytest.fixture
def start_here(capsys):
    """Return a function that starts a command in this process, which has imported torch already; it returns
    (standard output, standard error).
    """
    from support.cli import status_here

    def start_here(command, *options, status=0):
        code = status_here(command, *options)
        output, errors = capsys.readouterr()
        assert code == status, output + errors
        return output, errors

    return start_here


@pytest.fixture
def run_here(start_here):
    """Return a function that starts run_ALM.py so."""
    from run_scripts import run_ALM

    return partial(start_here, run_ALM)


@pytest.fixture(scope="session")
def four_pictures(tmp_path_factory):
    """Return a data set in PETA's format, drawn: four pictures to train on, two to evaluate."""
    from support.drawn import drawn_set

    return drawn_set(tmp_path_factory, train=4, test=2)


@pytest.fixture
def train(four_pictures, run_here, tmp_path):
    """Return a function that trains the baseline, two steps an epoch, in `tmp_path / "run"`."""

    def train(*options, status=0):
        common = ("--approach", "bn_inception", "--experiment", "peta", "--data_root", four_pictures,
                  "--batch_size", 2, "--workers", 0, "--device", "cpu")  # fmt: skip
        return run_here(*common, "--output_dir", tmp_path / "run", *options, status=status)

    return train


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Return a small data set in PETA's format, drawn."""
    from support.drawn import drawn_set

    return drawn_set(tmp_path_factory, train=10, test=6)


@pytest.fixture
def data(pictures, tmp_path):
    """Return a copy of the small data set that a test may damage."""
    return shutil.copytree(pictures, tmp_path / "peta")


@pytest.fixture(scope="session")
def trained(pictures, tmp_path_factory):
    """Train for two epochs with options of all kinds; return the run's directory and what it printed."""
    from support.cli import status_here

    from run_scripts import run_ALM

    directory = tmp_path_factory.mktemp("run") / "trained"
    options = (
        "--approach", "inception_iccv", "--experiment", "peta", "--data_root", pictures, "--epochs", 2,
        "--batch_size", 4, "--lr", 0.0002, "--weight_decay", 0.01, "--loss", "paper", "--decay_epoch", "(1,)",
        "--save_freq", 1, "--output_dir", directory, "--workers", 0,
    )  # fmt: skip
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()) as output,
        redirect_stderr(io.StringIO()) as errors,
    ):
        warnings.simplefilter("error", UserWarning)
        assert status_here(run_ALM, *options) == 0, errors.getvalue()
    return directory, (output.getvalue(), errors.getvalue())


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Return a published checkpoint of epoch 40."""
    from support.models import model_of, published_file

    return published_file(tmp_path_factory.mktemp("published") / "40.pth.tar", model_of(35))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return a checkpoint of ours, of three attributes."""
    from support.models import model_of, own_checkpoint

    from alm.checkpoint.restore import save_checkpoint

    path = tmp_path_factory.mktemp("checkpoint") / "7.pth.tar"
    save_checkpoint(path, own_checkpoint(model_of()))
    return path


@pytest.fixture(scope="session")
def predictor(checkpoint):
    """Return what predicts with it."""
    import alm

    return alm.Predictor.from_checkpoint(checkpoint, "cpu")


@pytest.fixture(scope="session")
def model_file(checkpoint, tmp_path_factory):
    """Return what export.py --to onnx makes of it, with thresholds of 0.9."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from support.cli import status_here

    from run_scripts import export

    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert status_here(export, "--to", "onnx", "--threshold", 0.9, checkpoint, path) == 0
    return path
