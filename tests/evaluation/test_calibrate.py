"""run_ALM.py -e --calibrate, and predict.py with what it writes."""

import json

import numpy as np
import pytest
from support.models import model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from run_scripts import predict
from utils.data.catalog import EXPERIMENTS


@pytest.mark.slow
def test_thresholds_that_an_evaluation_chose(run_here, start_here, four_pictures, tmp_path):
    attributes = EXPERIMENTS["peta"].attributes
    path = tmp_path / "7.pth.tar"
    content = own_checkpoint(model_of(35), attributes=attributes, experiment="peta")
    save_checkpoint(path, content | {"options": {"experiment": "peta", "approach": "inception_iccv"}})
    options = ("--data_root", four_pictures, "--device", "cpu")
    chosen, held_out = tmp_path / "t.json", four_pictures / "PETA_train_list.txt"
    calibrated, _ = run_here(
        "-e", "--resume", path, "--val_list", held_out, "--calibrate", chosen, "--workers", 0, *options
    )
    assert "is the test list" not in calibrated
    thresholds = json.loads(chosen.read_text())["thresholds"]
    assert set(thresholds.values()) != {0.5}
    options = ("--checkpoint", path, "--threshold", chosen, "--as_trained", "--json", "-", *options)
    output, _ = start_here(predict, *options, held_out)
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == 4
    labels = np.array([line.split()[-35:] for line in held_out.read_text().splitlines()], dtype=int)
    accuracies = []
    for k, name in enumerate(attributes):
        about = [line["attributes"][name] for line in lines]
        assert all(a["positive"] == (a["probability"] > thresholds[name]) for a in about)
        positive, there = np.array([a["positive"] for a in about]), labels[:, k] == 1
        if there.any() and not there.all():
            accuracies.append((positive[there].mean() + (~positive[~there]).mean()) / 2)
    told = (
        f"Thresholds: {chosen}, of best balanced accuracy on {held_out}: mA {np.mean(accuracies):.4f} there"
    )
    assert told in calibrated
    other = tmp_path / "list.txt"
    other.write_text("something else")
    again = (
        "-e",
        "--resume",
        path,
        "--val_list",
        held_out,
        "--calibrate",
        other,
        "--data_root",
        four_pictures,
    )
    _, errors = run_here(*again, status=2)
    assert (
        f"--calibrate {other} is where thresholds are written, and that file holds something else" in errors
    )
    assert other.read_text() == "something else"
