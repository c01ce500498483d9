"""run_ALM.py --report: the page of an evaluation, and regions against the true boxes beside the list."""

import json

import pytest
from support.models import model_of, own_checkpoint

from alm.checkpoint import save_checkpoint
from utils.data.catalog import EXPERIMENTS
from utils.evaluation.pointing import MEASURES

PETA = EXPERIMENTS["peta"].attributes


@pytest.fixture
def evaluate(run_here, pictures, tmp_path):
    """Return a function that evaluates an untrained network on drawn people."""
    content = own_checkpoint(model_of(35), attributes=PETA, experiment="peta")
    save_checkpoint(tmp_path / "7.pth.tar", content | {"options": {"experiment": "peta"}})
    common = ("-e", "--resume", tmp_path / "7.pth.tar", "--data_root", pictures, "--workers", 0)
    return lambda *options, status=0: run_here(*common, "--device", "cpu", *options, status=status)


@pytest.mark.slow
def test_an_evaluation_writes_its_report_and_scores_its_regions(evaluate, tmp_path):
    report, figures = tmp_path / "report.html", tmp_path / "figures.json"
    output, _ = evaluate("--report", report, "--json", figures)
    pointing = json.loads(figures.read_text())["pointing"]
    assert f"Regions and evidence against {pointing['boxes']} true boxes" in output
    assert output.endswith(f"Report: {report}\n")
    assert output.index("F1_Score:") < output.index("Regions and evidence against")
    evidence = [f"evidence {name}" for name in ("3b", "4d", "5b", "main", "all")]
    baselines = ["whole picture", "average box", "chance"]
    assert list(pointing["mean"]) == ["3b", "4d", "5b", "winning level", *evidence, *baselines]
    assert list(pointing["mean"]["3b"]) == list(MEASURES)
    assert pointing["boxes"] == sum(row["boxes"] for row in pointing["attributes"]) > 20
    page = report.read_text(encoding="utf-8")
    assert "The published evaluation list of this data set is its test list." in page
    assert "Regions and evidence against true boxes" in page
    assert 10 < page.count("data:image/jpeg;base64,") <= 60  # of the ten weakest of 35 attributes


@pytest.mark.slow
def test_a_training_writes_the_report_of_its_last_epoch(train, tmp_path):
    """That of a network without regions has none."""
    output, _ = train("--epochs", 2, "--report", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>peta: bn_inception, epoch 2</title>" in page
    assert "Loss by epoch" in page
    assert "true boxes" not in output + page
    assert "Which level decides" not in page


@pytest.mark.slow
def test_true_boxes_that_are_none_are_refused_before_anything_is_evaluated(evaluate, pictures, tmp_path):
    (tmp_path / "regions.json").write_text("{}}")
    (tmp_path / "test.txt").write_text((pictures / "PETA_test_list.txt").read_text())
    output, errors = evaluate("--val_list", tmp_path / "test.txt", status=1)
    assert errors.startswith(f"error: {tmp_path / 'regions.json'} is no JSON")
    assert "Test:" not in output
