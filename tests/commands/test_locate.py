"""locate.py on a right device, and its options; wrong devices are in tests/devices/test_stand_in.py."""

import json

import pytest
from support.cli import process
from support.tiny import Batches, train, trainer_of

from run_scripts import locate
from utils.diagnostics.fingerprint import Fingerprint


@pytest.mark.slow
def test_right_device_passes(start_here, tmp_path):
    options = ("--batch_size", 1, "--device", "cpu", "--amp", "bf16", "--json", tmp_path / "a.json")
    lines = start_here(locate, *options)[0].splitlines()
    assert lines[-1].startswith("pass: every result is within its limit")
    assert max(map(len, lines[lines.index("By kind of operator, error/limit:") :])) <= 100
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["passed"], record["first_over_limit"], record["not_checked"]) == (True, None, [])
    assert record["operators"] > 2000
    assert {kind["dtype"] for kind in record["kinds"]} > {"bfloat16", "float32"}


@pytest.mark.slow
def test_files_are_compared_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    trainer, entries = trainer_of(), []
    about = {"precision": "float32"}
    trainer.watch = Fingerprint(trainer.model, trainer.criterion, trainer.scaler, 1, entries.append, about)
    train(trainer, Batches())
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)))
    output, _ = process("locate", "--compare", path, path, env={"PYTHONPATH": str(tmp_path)})
    assert output.splitlines()[-1].startswith("pass")


@pytest.mark.slow
def test_a_finished_checkpoint_and_other_lists_make_a_step(train, pictures, start_here, tmp_path):
    train("--epochs", 1, "--max_iters", 1, "--amp", "off")
    other = "--resume", tmp_path / "run" / "1.pth.tar", "--data_root", pictures, "--batch_size", 2
    assert "go on with this one with --force" in start_here(locate, *other, status=2)[1]
    assert "pass: " in start_here(locate, *other, "--force")[0]
    _, errors = start_here(locate, *other, "--force", "--iterations", 6, status=2)
    assert errors == "error: --iterations 6: an epoch has 5 iterations; lower it, or lower --batch_size\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", "3"], "--epochs has no meaning for single steps"),
        (["-e", "--resume", "x.pth.tar"], "--evaluate has no meaning for single steps"),
        (["--resume", "auto"], "--resume auto has no meaning for single steps; name a checkpoint"),
        (["--plot", "a.png"], "--plot goes with --compare"),
        (["--compare", "a", "b", "--device", "cpu"], "--device has no meaning for --compare"),
        (["--compare", "missing.jsonl", "b"], "cannot read missing.jsonl"),
        (["--json", "no/where.json"], "--json no/where.json: there is no such directory"),
        (["--compare", "a", "b", "--plot", "a.xyz"], "--plot: cannot draw a.xyz: choose a suffix of"),
        (["--data_root", "mine"], "--data_root: say which data set it is of with --experiment"),
        (["--device", "abacus"], "'abacus' is none of auto, "),
    ],
)
def test_wrong_options_are_one_line(start_here, options, words):
    _, errors = start_here(locate, *options, status=2)
    assert words in errors
    assert errors.count("\n") == 1
