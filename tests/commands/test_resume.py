"""run_ALM.py --resume: what goes on, and from which checkpoints nothing does."""

import re

import pytest
import torch
from support.commands import TABLE, custom_lists, damaged, losses, run

from alm.checkpoint.restore import load_checkpoint
from run_scripts import run_ALM
from run_scripts.training import resume


@pytest.mark.slow
def test_nothing_but_resume_goes_on_bit_for_bit(trained, tmp_path):
    """Every option comes from the checkpoint; what a machine reads with changes no number."""
    directory, (output, _) = trained
    resumed, errors = run(
        "--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--workers", 2
    )
    assert losses(resumed) == losses(output)[3:]
    assert TABLE.findall(resumed) == TABLE.findall(output)[1:]
    assert f"Learning Rate: {0.0002 * 0.1}" in resumed
    assert [line for line in resumed.split("\n") if line.startswith("Opti")] == [
        f"Option: --workers 2, 0 in {directory / '1.pth.tar'}",
        f"Optimizer: adam goes on from {directory / '1.pth.tar'}",
    ]
    assert errors == ""
    first, second = (load_checkpoint(path / "2.pth.tar") for path in (directory, tmp_path / "run"))
    assert all(
        torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in first["state_dict"]
    )
    assert (first["best_ma"], first["iterations"]) == (second["best_ma"], second["iterations"])


@pytest.mark.slow
def test_an_option_that_is_named_is_used_and_told(trained, run_here, tmp_path):
    directory, (output, _) = trained
    resumed, _ = run_here(
        "--resume", directory / "1.pth.tar", "--weight_decay", "0.5", "--ratios", "list", "--start-epoch",
        "0", "--output_dir", tmp_path / "run", "--max_iters", "2", "--epochs", "1",
    )  # fmt: skip
    path = directory / "1.pth.tar"
    for line in (f"--weight_decay 0.5, 0.01 in {path}", f"--ratios list, published in {path}",
                 f"--epochs 1, 2 in {path}"):  # fmt: skip
        assert f"Option: {line}\n" in resumed
    assert [key[:2] for key in losses(resumed)] == [(0, 0), (0, 1)]
    assert losses(resumed)[0][2] != losses(output)[0][2]
    saved = load_checkpoint(tmp_path / "run" / "1.pth.tar")
    assert saved["optimizer"]["param_groups"][0]["weight_decay"] == saved["options"]["weight_decay"] == 0.5
    assert saved["positive_ratio"] != load_checkpoint(path)["positive_ratio"]


@pytest.mark.slow
def test_a_run_goes_on_in_its_directory(data, tmp_path, run_here):
    directory = tmp_path / "run"
    common = ("--max_iters", 1, "--batch_size", 2)
    run_here("--experiment", "peta", "--data_root", data, *common, "--epochs", 1, "--output_dir", directory)
    output, _ = run_here("--resume", directory / "1.pth.tar", "--epochs", 2)
    assert output.endswith(f"Run: {directory}\n")
    log = (directory / "train.log").read_text(encoding="utf-8")
    assert [key[:2] for key in losses(log)] == [(0, 0), (1, 0)]
    assert {"options.json", "options.jsonl", "2.pth.tar"} < {path.name for path in directory.iterdir()}


@pytest.mark.slow
def test_published_checkpoint_is_evaluated_and_gone_on_from(untrained, pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--resume", untrained)
    assert "Sampling: align_corners True (auto)" in run_here(*common, "-e")[0]
    assert "Sampling: align_corners False (false)" in run_here(*common, "-e", "--align_corners", "false")[0]
    output, _ = run_here(*common, "--epochs", 41, "--max_iters", 1, "--output_dir", tmp_path / "run")
    assert losses(output)[0][:2] == (40, 0)
    assert load_checkpoint(tmp_path / "run" / "41.pth.tar")["align_corners"] is True
    _, errors = run_here(*common, "--epochs", 40, status=1)
    assert re.search(r"40 of 40 are done\. .*add -e; .*--init_from instead of --resume; .*--epochs", errors)


@pytest.mark.slow
def test_baseline_warms_alm_up(pictures, tmp_path, run_here):
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 1, "--max_iters", 1,
              "--batch_size", 4)  # fmt: skip
    run_here(*common, "--approach", "bn_inception", "--output_dir", tmp_path / "baseline")
    checkpoint = tmp_path / "baseline" / "1.pth.tar"
    output, _ = run_here(*common, "--init_from", checkpoint, "--output_dir", tmp_path / "alm")
    assert f"Weights: backbone and global classifier from {checkpoint}, the rest from scratch" in output
    _, errors = run_here("--approach", "inception_iccv", "--resume", checkpoint, "--epochs", 2, status=1)
    assert "--approach bn_inception" in errors
    assert "--init_from" in errors


def test_another_attribute_count_is_refused(pictures, tmp_path, untrained, run_here):
    options = custom_lists(pictures, tmp_path, ["Hat"])
    _, errors = run_here(*options, "--attributes", tmp_path / "names.txt", "--resume", untrained, status=1)
    assert re.search(r"it is of 35 attributes, and the experiment has 1; --init_from takes", errors)


@pytest.mark.slow
def test_checkpoints_that_are_wrong_inside_are_one_line(trained, tmp_path, run_here):
    directory, _ = trained
    good = torch.load(directory / "1.pth.tar", weights_only=True)
    state = good["optimizer"]["state"]
    cases = {
        "its `epoch` is 'three'": {"epoch": "three"},
        "update the program": {"format": "alm-99"},
        "its option --device is 'abacus', not one of auto, sdaa": {
            "options": {**good["options"], "device": "abacus"}
        },
        "optimizer's state does not fit this model: parameter 0 has": {
            "optimizer": {**good["optimizer"], "state": {**state, 0: {"exp_avg": torch.zeros(2)}}}
        },
        "the weights do not fit this model; entries 1 missing: classifier.weight": {
            "state_dict": {k: v for k, v in good["state_dict"].items() if k != "classifier.weight"}
        },
    }  # fmt: skip
    for message, parts in cases.items():
        path = damaged(directory / "1.pth.tar", tmp_path / "1.pth.tar", **parts)
        _, errors = run_here("--resume", path, "--output_dir", tmp_path / "run", status=1)
        assert message in errors
        assert len(errors.splitlines()) == 1
        assert {file.name for file in tmp_path.iterdir()} == {"1.pth.tar"}


@pytest.mark.slow
def test_another_runs_directory_is_refused(trained, pictures, run_here):
    directory, _ = trained
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    common = ("--experiment", "peta", "--data_root", pictures, "--epochs", 3, "--output_dir", directory)
    assert "--resume" in run_here(*common, status=1)[1]
    assert "2.pth.tar" in run_here(*common, "--resume", directory / "1.pth.tar", status=1)[1]
    assert before == {path: path.stat().st_mtime_ns for path in directory.iterdir()}


def test_weights_that_are_not_finite_are_refused_by_name(untrained, pictures, tmp_path, run_here):
    """Whatever they are given to; it is not the learning rate's fault."""
    content = torch.load(untrained, weights_only=False)
    content["state_dict"]["module.main_branch.conv1_7x7_s2.weight"][0] = torch.nan
    torch.save(content, tmp_path / "nan.pth.tar")
    for option in ("--resume", "--init_from"):
        _, errors = run_here(
            "--experiment", "peta", "--data_root", pictures, option, tmp_path / "nan.pth.tar", "--output_dir",
            tmp_path / "run", status=1,
        )  # fmt: skip
        assert errors.startswith(f"error: {tmp_path / 'nan.pth.tar'}: the weights are not finite: ")
    assert [path.name for path in tmp_path.iterdir()] == ["nan.pth.tar"]


@pytest.mark.slow
def test_the_checkpoint_is_dropped_when_it_is_restored(trained, tmp_path, monkeypatch, run_here):
    """180 MB for ALM; they would lie beside the weights and moments for the whole run."""
    import weakref

    directory, _ = trained
    tensors = []
    load = resume.load_checkpoint

    def loaded(path):
        content = load(path)
        tensors.extend(map(weakref.ref, content["state_dict"].values()))
        return content

    left = []
    fit = run_ALM.Run.fit
    monkeypatch.setattr(resume, "load_checkpoint", loaded)
    monkeypatch.setattr(
        run_ALM.Run, "fit", lambda *args: left.append(sum(t() is not None for t in tensors)) or fit(*args)
    )
    run_here("--resume", directory / "1.pth.tar", "--output_dir", tmp_path / "run", "--max_iters", 1)
    assert len(tensors) > 500
    assert left == [0]
