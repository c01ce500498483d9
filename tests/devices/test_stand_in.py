"""A run on another device than the CPU, from start to end, on the stand-in for SDAA."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from support.stand_in import environment, needs_stand_in, on_stand_in

from run_scripts import locate, loss
from utils.runs.log_reader import read_losses

pytestmark = [needs_stand_in, pytest.mark.slow]


@pytest.fixture(scope="module")
def start(four_pictures, tmp_path_factory):
    """Return a function that trains as a process; it returns the run's directory and its output."""
    root = tmp_path_factory.mktemp("runs")

    def start(name, device, *options, **stand_in):
        data = ("--experiment", "peta", "--data_root", four_pictures, "--batch_size", 2, "--workers", 0)
        common = ("--epochs", 1, "--output_dir", root / name, "--device", device)
        output, _ = on_stand_in("run_ALM", *data, *common, *options, **stand_in)
        return root / name, output

    return start


@pytest.fixture(scope="module")
def fingerprints(tmp_path_factory):
    return tmp_path_factory.mktemp("fingerprints")


@pytest.fixture(scope="module")
def on_cpu(start, fingerprints):
    return start("cpu", "cpu", "--amp", "off", "--fingerprint", fingerprints / "cpu.jsonl")


@pytest.fixture(scope="module")
def on_sdaa(start, fingerprints):
    options = ("--amp", "off", "--fingerprint", fingerprints / "sdaa.jsonl")
    return start("sdaa", "sdaa", *options, "--workers", 1)  # whose pictures are pinned by a thread


@pytest.fixture
def two_threads():
    """Let this process sum in the order of those that it starts."""
    torch.set_num_threads(2)


def losses(directory):
    return read_losses(directory / "train.log").losses


def figures(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_float32_is_the_cpus(on_cpu, on_sdaa, start_here, tmp_path):
    """Losses of an epoch and the figures of its evaluation."""
    assert "Device: sdaa, stand-in\n" in on_sdaa[1]
    assert losses(on_sdaa[0]) == losses(on_cpu[0])
    assert len(losses(on_cpu[0])) == 2
    assert figures(on_sdaa[0]) == figures(on_cpu[0])
    logs = ("--sdaa-log", on_sdaa[0] / "train.log", "--cuda-log", on_cpu[0] / "train.log")
    verdict, _ = start_here(loss, "--strict", "--plot", tmp_path / "loss.png", *logs)
    assert "strict pass" in verdict


def test_two_machines_are_compared(on_cpu, on_sdaa, start, fingerprints, start_here, tmp_path):
    names = {name: fingerprints / f"{name}.jsonl" for name in ("cpu", "sdaa", "bad")}
    options = ("--amp", "off", "--max_iters", 1, "--fingerprint", names["bad"])
    start("bad", "sdaa", *options, wrong="aten::sigmoid:1e-2")
    assert names["cpu"].stat().st_size < 5e6
    output, _ = start_here(locate, "--compare", names["cpu"], names["sdaa"])
    assert output.splitlines()[-1].startswith("pass")
    files = ("--plot", tmp_path / "a.png", "--json", tmp_path / "a.json")
    output, _ = start_here(locate, "--compare", names["cpu"], names["bad"], *files, status=1)
    assert "iteration 0, forward, network.lateral.3b, call 2" in output
    assert json.loads((tmp_path / "a.json").read_text())["first_beyond"]["stage"] == "forward"
    assert (tmp_path / "a.png").exists()


def test_a_checkpoint_goes_to_another_device_and_back(start, train, two_threads, tmp_path):
    """With the losses of a run that stays on the CPU."""
    train("--epochs", 3, "--save_freq", 1, "--amp", "off")
    first = tmp_path / "run" / "1.pth.tar"
    there, output = start("there", "sdaa", "--resume", first, "--epochs", 2)
    assert f"--device sdaa, cpu in {first}" in output
    second = there / "2.pth.tar"
    content = torch.load(second, weights_only=True)
    assert {type(tensor) for tensor in content["state_dict"].values()} == {torch.Tensor}
    output, _ = train("--resume", second, "--epochs", 3, "--output_dir", tmp_path / "back")
    assert f"--device cpu, sdaa in {second}" in output
    assert losses(there) | losses(tmp_path / "back") == {
        step: loss for step, loss in losses(tmp_path / "run").items() if step[0]
    }


def test_fp16_is_the_default(start):
    directory, output = start("fp16", "auto", "--max_iters", 1, "--approach", "bn_inception")
    assert "Precision: fp16\n" in output
    assert len(losses(directory)) == 1
    assert 0 <= figures(directory)[0]["ma"] <= 1


def test_what_is_lacking_is_said_and_done_without(start, on_cpu):
    lacks = "pinned,events,float64,fused_adam,channels_last"
    directory, output = start("lacking", "auto", lacks=lacks)
    assert "Precision: float32\n" in output
    [line] = re.findall("Device: no .*", output)
    for words in ("no pinned memory", "no events", "no float64", "no fused Adam", "no channels_last"):
        assert words in line
    expected = list(losses(on_cpu[0]).values())
    assert list(losses(directory).values()) == pytest.approx(expected, rel=1e-3)  # another layout


def test_wrong_operators_are_named_with_their_places(tmp_path):
    wrong = "aten::sigmoid:1e-2,aten::convolution_backward:1e-2,aten::_fused_adam_:1e-2"
    options = ("--batch_size", 1, "--device", "sdaa", "--amp", "off", "--approach", "bn_inception")
    output, _ = on_stand_in("locate", *options, "--json", tmp_path / "a.json", status=1, wrong=wrong)
    assert "Device: sdaa, stand-in" in output
    assert "aten::sigmoid, forward, loss" in output.splitlines()[-2]
    first = {}
    for result in json.loads((tmp_path / "a.json").read_text())["over_limit"]:
        first.setdefault(result["operator"], (result["stage"], result["place"]))
    assert first.pop("aten::sigmoid") == ("forward", "loss")
    stage, place = first.pop("aten::convolution_backward")
    assert (stage, place.startswith("backbone.inception.5b.")) == ("backward", True)
    assert first == {"aten::_fused_adam_": ("optimizer", "backbone.conv1.conv.weight")}


STAND_IN = """
import torch, torch_sdaa
here, there = torch.ones(3), torch.ones(3, device="sdaa")
for operation in (lambda: here + there, lambda: torch.mm(there[:, None], here[None]), lambda: there.numpy()):
    try:
        operation()
    except (RuntimeError, TypeError) as error:
        print(str(error).partition(",")[0])
print((there * 2).to("cpu").tolist(), (there + torch.tensor(1.0)).tolist())
zeros = torch.zeros(3, device="sdaa")
print(zeros.sigmoid().tolist(), (zeros + 1).mul_(2).tolist())
"""


def test_stand_in_refuses_the_cpus_company_and_is_wrong_where_asked():
    env = os.environ | environment(wrong="aten::sigmoid:1,aten::mul_:1")
    ended = subprocess.run([sys.executable, "-c", STAND_IN], env=env, capture_output=True, text=True)
    first, second, third, *last = ended.stdout.splitlines()
    assert first == second == "Expected all tensors to be on the same device"
    assert "numpy" in third
    assert last == ["[2.0, 2.0, 2.0] [2.0, 2.0, 2.0]", "[1.0, 1.0, 1.0] [4.0, 4.0, 4.0]"]
