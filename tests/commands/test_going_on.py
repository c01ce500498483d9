"""A run that was interrupted goes on: nothing is lost, and nothing is there twice."""

import json
import re
import shutil
import sys

import pytest
import torch
from support.models import model_of, published_file

from alm import AlmError
from alm.checkpoint.restore import load_checkpoint, save_checkpoint
from utils.runs import sinks as log_sinks

pytestmark = pytest.mark.slow


def test_a_best_that_a_killed_run_left_is_not_written_over(train, run_here, tmp_path):
    run = tmp_path / "run"
    train("--epochs", 2, "--save_freq", 1)
    later = torch.load(run / "2.pth.tar", weights_only=True)
    save_checkpoint(run / "best.pth.tar", later | {"epoch": 3, "best_ma": 0.9})  # then it was killed
    before = (run / "best.pth.tar").read_bytes()
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 3}\n')
    output, _ = run_here("--resume", run / "2.pth.tar", "--epochs", 4)
    assert f"Best: {run / 'best.pth.tar'} is of epoch 3, later than 2; kept as best.3.pth.tar\n" in output
    assert output.endswith(f"Run: {run}\n")
    assert (run / "best.3.pth.tar").read_bytes() == before
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]


def test_scalars_go_on_where_the_checkpoint_was(train, run_here, tmp_path, monkeypatch):
    told = []

    class Scalars:
        def __init__(self, folder, first):
            told.append(("first", first))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add(self, metrics, step):
            if "train.loss" in metrics:
                told.append(step)

    monkeypatch.setattr("utils.runs.training_log.Scalars", Scalars)
    train("--epochs", 2, "--save_freq", 1, "--tensorboard", tmp_path / "scalars")
    checkpoint = tmp_path / "run" / "1.pth.tar"
    run_here("--resume", checkpoint, "--tensorboard", tmp_path / "scalars", "--output_dir", tmp_path / "b")
    assert told == [("first", 0), 0, 1, 2, 3, ("first", 2), 2, 3]
    told.clear()
    run_here("-e", "--resume", checkpoint, "--tensorboard", tmp_path / "scalars")
    assert told == [("first", 0)]  # an evaluation hides nothing of what was trained


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_figures_that_cannot_be_written_cost_no_training(train, tmp_path, monkeypatch, option):
    """They are written when there is room; where there is none to the end, the exit status says so."""

    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("utils.runs.training_log.write_text", full)
    with pytest.warns(UserWarning, match=r"figures: No space left on device; the next evaluation"):
        output, errors = train("--epochs", 2, option, tmp_path / "figures", status=1)
    assert "Report:" not in output
    assert errors.endswith("figures: No space left on device; make room, or name another place\n")
    assert load_checkpoint(tmp_path / "run" / "last.pth.tar")["epoch"] == 2


def test_a_run_that_was_stopped_has_the_report_of_all_of_it(train, tmp_path):
    report = tmp_path / "report.html"
    train("--epochs", 1, "--report", report)
    train("--epochs", 2, "--report", report, "--resume", "auto")
    page = report.read_text(encoding="utf-8")
    assert "<title>peta: bn_inception, epoch 2</title>" in page
    assert re.findall(r'<th scope="row">(\d)</th>', page) == ["1", "2"]
    training = re.search(r'<path class="curve c0" d="M([^"H]+)"', page)[1]
    assert len(training.split("L")) == 4  # steps, of both epochs


def test_a_report_without_an_evaluation_list_is_refused(train, four_pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(four_pictures, data, ignore=shutil.ignore_patterns("PETA_test_list.txt"))
    with pytest.warns(UserWarning, match="no evaluation list"):
        _, errors = train("--data_root", data, "--report", tmp_path / "report.html", status=1)
    assert re.fullmatch(r"error: --report .*--val_list\n", errors)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_log_ends_with_the_reason(train, tmp_path, monkeypatch):
    def evaluate(*_):
        raise AlmError("predictions are NaN")

    monkeypatch.setattr("alm.training.trainer.Trainer.evaluate", evaluate)
    train("--epochs", 1, status=1)
    log = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == "Ended: predictions are NaN"


@pytest.mark.parametrize("option", ["--tensorboard", "--log_json"])
def test_a_place_that_cannot_be_written_leaves_nothing(train, tmp_path, monkeypatch, option):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    monkeypatch.setattr(log_sinks.EventStream, "write", full)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", log_sinks)  # whether it is installed or not
    monkeypatch.setattr(log_sinks, "SummaryWriter", None, raising=False)
    place = tmp_path / "file" / "scalars" if option == "--tensorboard" else tmp_path / "log.json"
    _, errors = train("--epochs", 1, option, place, status=1)
    assert errors.startswith("error: cannot write ")
    assert str(place) in errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_checkpoint_names_no_file_to_write(train, run_here, tmp_path):
    """Neither that of another's, nor of one's own first run, whose figures a second one would write over."""
    (tmp_path / "figures.json").write_text("precious", encoding="utf-8")
    train("--epochs", 1)
    path = tmp_path / "hostile.pth.tar"
    content = torch.load(tmp_path / "run" / "1.pth.tar", weights_only=True)
    content["options"] |= {
        "json": str(tmp_path / "figures.json"), "log_json": str(tmp_path / "figures.json"), "cache": "auto",
        "tensorboard": str(tmp_path / "tb"), "predictions": str(tmp_path / "figures.json"),
    }  # fmt: skip
    save_checkpoint(path, content)
    before = {path.name for path in tmp_path.iterdir()}
    run_here("-e", "--resume", path)
    run_here("--resume", path, "--epochs", 2, "--output_dir", tmp_path / "next")
    assert (tmp_path / "figures.json").read_text(encoding="utf-8") == "precious"
    assert {path.name for path in tmp_path.iterdir()} == before | {"next"}
    assert load_checkpoint(tmp_path / "next" / "2.pth.tar")["options"]["cache"] == "none"


def test_a_checkpoint_of_another_machine_says_which_option_to_name(train, run_here, tmp_path):
    train("--epochs", 1)
    path = tmp_path / "sdaa.pth.tar"
    content = torch.load(tmp_path / "run" / "1.pth.tar", weights_only=True)
    content["options"] |= {"device": "sdaa", "lr": float("nan")}
    save_checkpoint(path, content)
    common = ("--resume", path, "--epochs", 2, "--output_dir", tmp_path / "next")
    _, errors = run_here(*common, status=1)
    assert "its option --lr is nan, not a number above 0" in errors
    _, errors = run_here(*common, "--lr", "1e-4", status=1)
    assert errors.startswith("error: --device sdaa: ")
    assert errors.endswith(f". {path} was trained with --device sdaa\n")
    run_here(*common, "--lr", "1e-4", "--device", "cpu")


def test_a_published_checkpoint_of_the_other_approach_is_not_evaluated(four_pictures, run_here, tmp_path):
    path = published_file(tmp_path / "40.pth.tar", model_of(35))
    common = ("-e", "--experiment", "peta", "--data_root", four_pictures, "--workers", 0, "--resume", path)
    _, errors = run_here(*common, "--approach", "bn_inception", status=1)
    assert errors.startswith(f"error: {path}: this is a checkpoint of inception_iccv; give --approach incep")
