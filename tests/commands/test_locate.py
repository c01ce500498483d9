"""locate.py as a user starts it: on a right device, on wrong ones, on two fingerprints."""

import json
import subprocess
import sys

import pytest
from support import REPOSITORY
from support.stand_in import needs_stand_in, python

LOCATE = REPOSITORY / "run_scripts" / "locate.py"
RUN = REPOSITORY / "run_scripts" / "run_ALM.py"
pytestmark = pytest.mark.slow
ONE = ("--batch_size", 1, "--device")


def locate(*options, status=0):
    process = subprocess.run(
        [sys.executable, str(LOCATE), *map(str, options)], capture_output=True, text=True, timeout=280
    )
    assert process.returncode == status, process.stdout + process.stderr
    return process.stdout, process.stderr


def test_right_device_passes(tmp_path):
    output, _ = locate(*ONE, "cpu", "--amp", "bf16", "--json", tmp_path / "found.json")
    assert output.splitlines()[-1].startswith("pass: every result is within its limit")
    assert (
        max(map(len, output.splitlines()[output.splitlines().index("By kind of operator, error/limit:") :]))
        <= 100
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["passed"], found["first_over_limit"], found["not_checked"]) == (True, None, [])
    assert found["operators"] > 2000
    assert {kind["dtype"] for kind in found["kinds"]} > {"bfloat16", "float32"}


@needs_stand_in
@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("aten::sigmoid:1e-2", "aten::sigmoid, forward, localization.5b.attention"),
        ("aten::convolution_backward:1e-2", "aten::convolution_backward, backward, backbone.inception.5b."),
        ("aten::_fused_adam_:1e-2", "aten::_fused_adam_, optimizer, backbone.conv1.conv.weight"),
    ],
)
def test_wrong_operator_is_named_with_its_place(wrong, line):
    output, _ = python(LOCATE, *ONE, "sdaa", "--amp", "off", status=1, wrong=wrong)
    assert "Device: sdaa, stand-in" in output
    assert line in output.splitlines()[-2]
    worst = output.split("or beyond:")[1].split("By kind")[0].splitlines()[2:-1]
    assert all(wrong.rpartition(":")[0] in row for row in worst)


@needs_stand_in
def test_lacking_operator_is_one_line():
    _, errors = python(LOCATE, *ONE, "sdaa", status=2, lacks="aten::native_batch_norm")
    assert errors == (
        "error: the device has no aten::native_batch_norm, needed forward in backbone.conv1.bn\n"
    )


@needs_stand_in
def test_two_machines_are_compared(tmp_path):
    from utils.synthetic import ensure_dataset

    ensure_dataset(tmp_path / "data", train=4, test=1)
    step = ["--experiment", "peta", "--data_root", tmp_path / "data", "--batch_size", 4, "--epochs", 1]
    for name, device, wrong in (
        ("cpu", "cpu", ""),
        ("sdaa", "sdaa", ""),
        ("bad", "sdaa", "aten::sigmoid:1e-2"),
    ):
        places = ["--output_dir", tmp_path / name, "--fingerprint", tmp_path / f"{name}.jsonl"]
        python(RUN, *step, "--amp", "off", "--device", device, *places, wrong=wrong)
        assert (tmp_path / f"{name}.jsonl").stat().st_size < 5e6
    files = [str(tmp_path / f"{name}.jsonl") for name in ("cpu", "sdaa", "bad")]
    output, _ = locate("--compare", *files[:2])
    assert output.splitlines()[-1].startswith("pass")
    output, _ = locate(
        "--compare", files[0], files[2], "--plot", tmp_path / "a.png", "--json", tmp_path / "a.json", status=1
    )
    assert "iteration 0, forward, network.lateral.3b, call 2" in output
    assert json.loads((tmp_path / "a.json").read_text())["first_beyond"]["stage"] == "forward"
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "3"], "--epochs has no meaning for single steps"),
        (["-e", "--resume", "x.pth.tar"], "--evaluate has no meaning for single steps"),
        (["--plot", "a.png"], "--plot goes with --compare"),
        (["--compare", "a", "b", "--device", "cpu"], "--device has no meaning for --compare"),
        (["--compare", "missing.jsonl", "b"], "cannot read missing.jsonl"),
        (["--json", "no/where.json"], "--json no/where.json: there is no such directory"),
        (["--device", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_wrong_options_are_one_line(options, message):
    _, errors = locate(*options, status=2)
    assert message in errors
    assert len(errors.splitlines()) == 1
