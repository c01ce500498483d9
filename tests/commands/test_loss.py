"""The command loss.py: what it prints, its exit status, its files, and outputs that nobody reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import REPOSITORY
from support.cli import status_here
from support.logs import FALLING, write_log

from run_scripts import loss

COMMAND = REPOSITORY / "run_scripts" / "loss.py"
OFFICIAL = """\
MeanRelativeError: -0.0016660199986437566
MeanAbsoluteError: -0.005064936876296997
Rule,mean_absolute_error -0.005064936876296997
pass mean_relative_error=-0.0016660199986437566 <= 0.05 or mean_absolute_error=-0.005064936876296997 <= 0.0002
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in tmp_path and gives status, output and errors."""
    monkeypatch.chdir(tmp_path)
    return lambda *options: (status_here(loss, *options), *capsys.readouterr())


@pytest.fixture
def no_plot(monkeypatch):
    """Do without the plot, which takes half a second."""
    monkeypatch.setattr(loss, "plot_losses", lambda *_: None)


def test_published_logs(shared, run):
    for device in ("sdaa", "cuda"):
        Path(f"{device}.log").symlink_to(shared / "logs" / f"{device}.log")
    status, output, errors = run()
    assert (status, errors) == (0, "")
    assert output.startswith(OFFICIAL + "strict pass: ")
    with Image.open("loss.jpg") as picture:
        assert picture.format == "JPEG"


def test_strict_lines(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 1.1 * FALLING)
    status, output, errors = run()
    assert status == 1
    verdict, strict, largest, correlation, diverged = output.splitlines()[3:]
    assert verdict.startswith("fail mean_relative_error=0.1")
    assert strict == "strict fail: mean |s - c|/|c| 0.1 <= 0.05 and 95th percentile 0.1 <= 0.15"
    assert largest.startswith("  largest |s - c|/|c|: 0.1 at epoch 0 iteration ")
    assert correlation == "  correlation of the curves: 1"
    assert diverged == "  smoothed curves differ by more than 5%: first at epoch 0 iteration 0"
    assert errors == ""


def test_a_collapsed_run_passes_unless_strict(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 0.01 * FALLING)
    assert run()[0] == 0
    assert run("--strict")[0] == 1
    assert run("--strict", "--limit", 1)[0] == 1
    assert run("--strict", "--limit", 1, "--limit_p95", 1)[0] == 0


@pytest.mark.parametrize(("name", "value"), [("sdaa.log", "nan"), ("cuda.log", "-inf")])
def test_a_loss_that_is_not_finite_fails_and_is_named(run, no_plot, name, value):
    for other in ("sdaa.log", "cuda.log"):
        write_log(other, FALLING)
    write_log(name, [*FALLING[:7], float(value), *FALLING[8:], float("nan")])
    status, output, _ = run()
    assert status == 1
    assert output.splitlines()[3].startswith("fail mean_relative_error=")
    assert output.splitlines()[4] == f"fail {name}: the loss is {value} at epoch 0 iteration 7"
    assert output.splitlines()[5].startswith("strict fail")


def test_what_is_missing_or_repeated_is_noted_beside_the_output(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", {(0, i): value for i, value in enumerate(FALLING) if i not in (3, 5)} | {(1, 0): 1})
    with open("sdaa.log", "a", encoding="utf-8") as file:
        file.write(Path("sdaa.log").read_text(encoding="utf-8").splitlines(keepends=True)[0])
    status, output, errors = run()
    lines = output.splitlines()
    assert (status, lines[0]) == (0, "MeanRelativeError: 0.0")
    assert lines[2] == "Rule,mean_relative_error 0.0"  # which is named if both are equal
    assert errors.splitlines() == [
        "note: sdaa.log lacks 2 of cuda.log's iterations, the first at epoch 0 iteration 3; compared: 18",
        "note: sdaa.log repeats iterations (1 line); the last value of each is used",
        "note: cuda.log lacks 1 of sdaa.log's iterations, the first at epoch 1 iteration 0; compared: 18",
    ]


def test_rank(run, no_plot):
    write_log("a.log", FALLING, rank=2)
    assert run("--compare", "a.log", "a.log", "--rank", 2)[0] == 0
    status, output, errors = run("--compare", "a.log", "a.log")
    assert (status, output) == (2, "")
    assert errors.startswith("error: a.log: no losses of rank 0, only of rank 2")


def test_compare_judges_each_later_log_by_the_first(run):
    write_log("a.log", FALLING)
    write_log("b.log", FALLING)
    write_log("c.log", 1.1 * FALLING)
    status, output, _ = run("--compare", "a.log", "b.log", "c.log")
    assert status == 1
    lines = output.splitlines()
    assert [line for line in lines if " against " in line] == ["b.log against a.log", "c.log against a.log"]
    assert [line.split()[0] for line in lines if "mean_relative_error=" in line] == ["pass", "fail"]
    assert run("--compare", "a.log", "b.log", "b.log", "--plot", "curves.png")[0] == 0
    with Image.open("curves.png") as picture:
        assert picture.format == "PNG"


def test_json(run):
    write_log("a.log", FALLING)
    write_log("b.log", [*FALLING[:10], float("nan")])
    assert run("--compare", "a.log", "a.log", "b.log", "--json", "figures.json", "--limit", 0.01)[0] == 1
    text = Path("figures.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert (content["passed"], content["rule"]) == (False, "official")
    assert content["limits"]["mean_difference"] == 0.01
    same, other = content["comparisons"]
    assert (same["official_pass"], same["strict_pass"], same["mean_relative_error"]) == (True, True, 0)
    assert (other["candidate"], other["reference"]) == ("b.log", "a.log")
    assert (other["common"], other["missing_in_candidate"], other["missing_in_reference"]) == (11, 9, 0)
    assert (other["official_pass"], other["mean_relative_error"]) == (False, None)
    assert sorted(path.name for path in Path().iterdir()) == ["a.log", "b.log", "figures.json", "loss.jpg"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--compare", "a.log"], "at least two logs"),
        (["--compare", "a.log", "b.log", "--cuda-log", "c.log"], "leave out --sdaa-log and --cuda-log"),
        (["--limit_p95", "-1"], "--limit_p95"),
        (["--json", "./sdaa.log"], "--json sdaa.log: the command reads it, and it would be written over"),
        (["--plot", "link.jpg"], "--plot link.jpg: the command reads it"),
        (["--json", "a.png", "--plot", "a.png"], "--plot a.png: --json names it too"),
    ],
)
def test_usage_errors(run, arguments, reason):
    for name in ("sdaa.log", "cuda.log"):
        write_log(name, FALLING)
    Path("link.jpg").symlink_to("cuda.log")
    before = Path("cuda.log").read_bytes()
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert reason in errors
    assert errors.endswith(" (loss.py --help shows the options)\n")
    assert len(errors.splitlines()) == 1
    assert Path("cuda.log").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--plot", "missing/loss.png"], "missing/loss.png: No such file or directory"),
        (["--plot", "loss"], "cannot draw loss: choose a suffix of "),
        (["--json", "missing/figures.json"], "missing/figures.json: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_error_after_the_figures(run, arguments, reason):
    for name in ("sdaa.log", "cuda.log"):
        write_log(name, FALLING)
    status, output, errors = run(*arguments)
    assert status == 2
    assert output.splitlines()[3].startswith("pass ")
    assert errors.startswith(f"error: {reason}")


def test_epochs_counted_from_1(run, no_plot):
    losses = {(0, i): value for i, value in enumerate(FALLING)}
    write_log("cuda.log", losses)
    write_log("sdaa.log", {(e + 1, i): value for (e, i), value in losses.items()})
    status, output, errors = run()
    assert (status, output) == (2, "")
    assert errors.startswith("error: sdaa.log begins with epoch 1, cuda.log with epoch 0; ")
    status, output, errors = run("--align_epochs")
    assert (status, output.splitlines()[0], errors) == (0, "MeanRelativeError: 0.0", "")


def test_epochs_can_be_said_to_be_the_same(run, no_plot):
    write_log("cuda.log", {(e, i): 1 + e for e in range(2) for i in range(2)})
    write_log("sdaa.log", {(e, i): 1 + e for e in (1, 2) for i in range(2)})
    assert run()[0] == 2
    status, output, _ = run("--no-align_epochs")
    assert (status, output.splitlines()[0]) == (0, "MeanRelativeError: 0.0")


@pytest.mark.slow
def test_without_standard_output_and_error_it_decides_all_the_same(run):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 1.1 * FALLING)
    command = f"{sys.executable} {COMMAND} --json figures.json >&- 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 1
    assert json.loads(Path("figures.json").read_text("utf-8"))["passed"] is False
