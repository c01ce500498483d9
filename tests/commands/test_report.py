"""run_ALM.py --report, and true boxes beside the list: what is printed, what is kept, what is refused."""

import json

import pytest
from support.models import model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from utils.data.catalog import EXPERIMENTS
from utils.evaluation.pointing import MEASURES
from utils.synthetic import ensure_dataset

PETA = EXPERIMENTS["peta"].attributes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Draw a few people, with true boxes."""
    root = tmp_path_factory.mktemp("data") / "peta"
    ensure_dataset(root, train=4, test=6)
    return root


def checkpoint(folder, approach="inception_iccv"):
    path = folder / f"{approach}.pth.tar"
    content = own_checkpoint(model_of(35, approach), attributes=PETA, experiment="peta")
    content["options"] = {"experiment": "peta", "approach": approach}
    save_checkpoint(path, content)
    return path


def evaluated(run_here, data, path, *options, status=0):
    return run_here(
        "-e",
        "--resume",
        path,
        "--data_root",
        data,
        "--workers",
        0,
        "--device",
        "cpu",
        *options,
        status=status,
    )


@pytest.mark.slow
def test_an_evaluation_writes_its_report_and_scores_its_regions(run_here, data, tmp_path):
    report, figures = tmp_path / "report.html", tmp_path / "figures.json"
    output, _ = evaluated(run_here, data, checkpoint(tmp_path), "--report", report, "--json", figures)
    pointing = json.loads(figures.read_text())["pointing"]
    assert f"Regions against {pointing['boxes']} true boxes" in output
    assert output.endswith(f"Report: {report}\n")
    assert output.index("F1_Score:") < output.index("Regions against")
    sources = ["3b", "4d", "5b", "winning level", "whole picture", "average box", "chance"]
    assert list(pointing["mean"]) == sources
    assert list(pointing["mean"]["3b"]) == list(MEASURES)
    assert pointing["boxes"] == sum(row["boxes"] for row in pointing["attributes"]) > 20
    page = report.read_text(encoding="utf-8")
    assert "The published evaluation list of this data set is its test list." in page
    assert "Regions against true boxes" in page
    assert page.count("data:image/jpeg;base64,") > 10


@pytest.mark.slow
def test_a_network_without_regions_has_a_report_without_them(run_here, data, tmp_path):
    report = tmp_path / "report.html"
    output, _ = evaluated(run_here, data, checkpoint(tmp_path, "bn_inception"), "--report", report)
    assert "Regions against" not in output
    assert "Which level decides" not in report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_training_writes_the_report_of_its_last_epoch(run_here, data, tmp_path):
    run_here(
        "--experiment", "peta", "--data_root", data, "--epochs", 2, "--batch_size", 4, "--workers", 0,
        "--device", "cpu", "--output_dir", tmp_path / "run", "--report", tmp_path / "report.html",
    )  # fmt: skip
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>peta: inception_iccv, epoch 2</title>" in page
    assert "Loss by epoch" in page
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all("pointing" in record for record in records)


def test_true_boxes_that_are_none_are_refused_before_anything_is_evaluated(run_here, data, tmp_path):
    (tmp_path / "regions.json").write_text("{}}")
    (tmp_path / "test.txt").write_text((data / "PETA_test_list.txt").read_text())
    path = checkpoint(tmp_path)
    output, errors = evaluated(run_here, data, path, "--val_list", tmp_path / "test.txt", status=1)
    assert errors.startswith(f"error: {tmp_path / 'regions.json'} is no JSON of the form")
    assert "Test:" not in output
