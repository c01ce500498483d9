"""A run on another device than the CPU, from start to end, on the stand-in for SDAA."""

import json
import re

import pytest
import torch
from support import REPOSITORY
from support.stand_in import needs_stand_in, python

from utils.runs.log_reader import read_losses
from utils.synthetic import ensure_dataset

RUN = REPOSITORY / "run_scripts" / "run_ALM.py"
pytestmark = [needs_stand_in, pytest.mark.slow]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Draw a few people, in PETA's format."""
    root = tmp_path_factory.mktemp("data") / "peta"
    ensure_dataset(root, train=8, test=4)
    return root


@pytest.fixture(scope="module")
def train(data, tmp_path_factory):
    """Return a function that trains on a device; it returns the run's directory and what it printed."""
    root = tmp_path_factory.mktemp("runs")

    def train(name, device, *options, **told):
        output, _ = python(
            RUN, "--experiment", "peta", "--data_root", data, "--batch_size", 4, "--epochs", 1,
            "--save_freq", 1, "--output_dir", root / name, "--device", device, *options, **told,
        )  # fmt: skip
        return root / name, output

    return train


@pytest.fixture(scope="module")
def on_cpu(train):
    return train("cpu", "cpu", "--amp", "off", "--epochs", 2)


@pytest.fixture(scope="module")
def on_sdaa(train):
    return train("sdaa", "sdaa", "--amp", "off", "--epochs", 2)


def losses(directory):
    return read_losses(directory / "train.log").losses


def figures(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_float32_is_the_cpus(on_cpu, on_sdaa):
    """Losses of two epochs, the figures of their evaluations, and the weights in the checkpoints."""
    assert "Device: sdaa, stand-in\n" in on_sdaa[1]
    assert losses(on_sdaa[0]) == losses(on_cpu[0])
    assert len(losses(on_cpu[0])) == 4
    assert figures(on_sdaa[0]) == figures(on_cpu[0])
    command = [REPOSITORY / "run_scripts" / "loss.py", "--strict", "--plot", on_cpu[0] / "loss.png"]
    verdict, _ = python(
        *command, "--sdaa-log", on_sdaa[0] / "train.log", "--cuda-log", on_cpu[0] / "train.log"
    )
    assert "strict pass" in verdict


@pytest.mark.parametrize(("start", "end"), [("cpu", "sdaa"), ("sdaa", "cpu")])
def test_checkpoint_goes_on_on_another_device(on_cpu, on_sdaa, train, start, end):
    """With the losses of the run that stayed where it was."""
    checkpoint = {"cpu": on_cpu, "sdaa": on_sdaa}[start][0] / "1.pth.tar"
    content = torch.load(checkpoint, weights_only=True)
    assert {type(tensor) for tensor in content["state_dict"].values()} == {torch.Tensor}
    directory, output = train(f"{start}-{end}", end, "--resume", checkpoint, "--epochs", 2)
    assert f"Option: --device {end}, {start} in {checkpoint}" in output
    assert losses(directory) == {step: loss for step, loss in losses(on_cpu[0]).items() if step[0] == 1}


def test_fp16_is_the_default(train):
    directory, output = train("fp16", "auto", "--max_iters", 1)
    assert "Precision: fp16\n" in output
    assert len(losses(directory)) == 1
    assert 0 <= figures(directory)[0]["ma"] <= 1


def test_what_is_lacking_is_said_and_done_without(train, on_cpu, data, tmp_path):
    lacks = "pinned,events,float64,fused_adam,channels_last"
    directory, output = train("lacking", "auto", lacks=lacks)
    assert "Precision: float32\n" in output
    [line] = re.findall("Device: no .*", output)
    for words in ("no pinned memory", "no events", "no float64", "no fused Adam", "no channels_last"):
        assert words in line
    expected = [loss for step, loss in losses(on_cpu[0]).items() if step[0] == 0]
    assert list(losses(directory).values()) == pytest.approx(expected, rel=1e-3)  # another layout
    options = ["--experiment", "peta", "--data_root", data, "--amp", "fp16", "--output_dir", tmp_path / "run"]
    _, errors = python(RUN, *options, status=1, lacks=lacks)
    assert errors.startswith("error: --amp fp16: its gradient scaler needs float64, which sdaa lacks")


def test_lacking_operator_is_one_line(data, tmp_path):
    options = ["--experiment", "peta", "--data_root", data, "--batch_size", 4, "--amp", "off"]
    _, errors = python(
        RUN, *options, "--output_dir", tmp_path / "run", status=1, lacks="aten::native_batch_norm"
    )
    assert errors.splitlines()[-1] == (
        "error: sdaa has no aten::native_batch_norm; `python locate.py --device sdaa` says where it is needed"
    )


def test_broken_extension_is_named(data, tmp_path):
    options = ["--experiment", "peta", "--data_root", data, "--output_dir", tmp_path / "run"]
    _, errors = python(RUN, *options, "--device", "sdaa", status=1, lacks="import")
    assert errors == (
        "error: --device sdaa: torch_sdaa does not work here (OSError: libsdaart.so: cannot open shared "
        "object file); here: cpu\n"
    )


REFUSALS = """
import torch, torch_sdaa
here, there = torch.ones(3), torch.ones(3, device="sdaa")
for operation in (lambda: here + there, lambda: torch.mm(there[:, None], here[None]), lambda: there.numpy()):
    try:
        operation()
    except (RuntimeError, TypeError) as error:
        print(str(error).partition(",")[0])
print((there * 2).to("cpu").tolist(), (there + torch.tensor(1.0)).tolist())
"""


def test_stand_in_refuses_the_cpus_company():
    output, _ = python("-c", REFUSALS)
    first, second, third, last = output.splitlines()
    assert first == second == "Expected all tensors to be on the same device"
    assert "numpy" in third
    assert last == "[2.0, 2.0, 2.0] [2.0, 2.0, 2.0]"


WRONG = """
import torch, torch_sdaa
zeros = torch.zeros(3, device="sdaa")
print(zeros.sigmoid().tolist(), (zeros + 1).mul_(2).tolist())
"""


def test_stand_in_is_wrong_where_it_is_told_to_be():
    assert python("-c", WRONG, wrong="aten::sigmoid:1")[0] == "[1.0, 1.0, 1.0] [2.0, 2.0, 2.0]\n"
    assert python("-c", WRONG, wrong="aten::mul_:1")[0] == "[0.5, 0.5, 0.5] [4.0, 4.0, 4.0]\n"
