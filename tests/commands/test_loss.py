"""The command loss.py: what it prints, its exit status, its files, and outputs that nobody reads."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import REPOSITORY
from support.cli import status_here
from support.logs import FALLING, epoch_line, line, write_log

from run_scripts import loss
from utils.runs import log_text

NOISY = FALLING + 0.2 * np.sin(9 * np.arange(20))
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


def test_the_published_logs_pass(shared, run):
    for device in ("sdaa", "cuda"):
        Path(f"{device}.log").symlink_to(shared / "logs" / f"{device}.log")
    status, output, errors = run()
    assert (status, errors) == (0, "")
    assert output.startswith(OFFICIAL + "strict pass: ")
    assert output.endswith(
        "verdict: pass; 100 of 100 iterations compared; mean relative error -0.001666 <= 0.05, "
        "mean absolute error -0.005065 <= 0.0002; distance 0.152 <= 0.5\n"
    )
    with Image.open("loss.jpg") as picture:
        assert picture.format == "JPEG"


def test_each_strict_figure_has_its_line(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 1.1 * FALLING)
    status, output, errors = run()
    assert status == 1
    official, strict, largest, distance, correlation, diverged, verdict = output.splitlines()[3:]
    assert official.startswith("fail mean_relative_error=0.1")
    assert strict == "strict fail: mean |s - c|/|c| 0.1 > 0.05, 95th percentile 0.1 <= 0.15"
    assert largest.startswith("  largest |s - c|/|c|: 0.1 at epoch 0 iteration ")
    assert distance == "  distance, mean |s - c| by mean step of c: 5.03"
    assert correlation == "  correlation of the curves: 1"
    assert diverged == "  smoothed curves differ by more than 5%: first at epoch 0 iteration 0"
    assert verdict == (
        "verdict: fail; 20 of 20 iterations compared; mean relative error 0.1 > 0.05, "
        "mean absolute error 0.2484 > 0.0002"
    )
    assert errors == ""


def test_a_collapsed_run_fails_though_the_official_rule_says_pass(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", [1e-4] * 20)
    status, output, _ = run()
    assert status == 1
    assert output.splitlines()[3].startswith("pass mean_relative_error=-0.99")
    assert "correlation of the curves: undefined" in output
    assert output.splitlines()[-1].startswith("verdict: fail; 20 of 20 iterations compared; ")


def test_the_limits_are_of_the_strict_rule(run, no_plot):
    write_log("cuda.log", NOISY)
    write_log("sdaa.log", 0.98 * NOISY)
    assert run("--strict")[0] == 0
    assert run("--strict", "--limit", 0.01)[0] == 1
    assert run("--strict", "--limit_p95", 0.01)[0] == 1
    assert run("--limit", 0.01)[0] == 0


@pytest.mark.parametrize(("name", "value"), [("sdaa.log", "nan"), ("cuda.log", "-inf")])
def test_a_loss_that_is_not_finite_fails_and_is_named(run, no_plot, name, value):
    for other in ("sdaa.log", "cuda.log"):
        write_log(other, FALLING)
    write_log(name, [*FALLING[:7], float(value), *FALLING[8:], float("nan")])
    status, output, _ = run()
    assert status == 1
    assert output.splitlines()[3].startswith("fail mean_relative_error=")
    assert output.splitlines()[4].startswith("strict fail: ")
    assert output.splitlines()[-1] == (
        f"verdict: fail; 20 of 21 iterations compared; {name}: the loss is {value} at epoch 0 iteration 7"
    )


def test_what_is_missing_is_in_the_verdict_and_what_is_repeated_beside_it(run, no_plot):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", {(0, i): value for i, value in enumerate(FALLING) if i not in (3, 5)} | {(1, 0): 1})
    with open("sdaa.log", "a", encoding="utf-8") as file:
        file.write(Path("sdaa.log").read_text(encoding="utf-8").splitlines(keepends=True)[0])
    status, output, errors = run()
    lines = output.splitlines()
    assert (status, lines[0]) == (2, "MeanRelativeError: 0.0")
    assert lines[2] == "Rule,mean_relative_error 0.0"  # which is named if both are equal
    assert lines[4].startswith("strict none: ")
    assert lines[-1] == (
        "verdict: none; 18 of 21 iterations compared; sdaa.log has no loss for 2 iterations, the first at "
        "epoch 0 iteration 3; cuda.log ends at epoch 0 iteration 19"
    )
    assert errors == "note: sdaa.log repeats iterations (1 line); the last value of each is used\n"


def test_a_part_is_compared_if_it_is_asked_for(run, no_plot):
    write_log("cuda.log", [*NOISY, *NOISY])
    write_log("sdaa.log", NOISY)
    assert run()[0] == 2
    status, output, _ = run("--iterations", 20)
    assert status == 0
    assert "verdict: pass; 20 of 20 iterations compared; " in output


def test_another_rank_is_read_if_it_is_named(run, no_plot):
    write_log("a.log", FALLING, rank=2)
    assert run("--compare", "a.log", "a.log", "--rank", 2)[0] == 0
    status, output, errors = run("--compare", "a.log", "a.log")
    assert (status, output) == (2, "")
    assert errors.startswith("error: a.log: no losses of rank 0, only of rank 2")


def test_another_rank_that_is_not_finite_fails(run, no_plot):
    content = "".join(line(i, loss) + line(i, loss, rank=1) for i, loss in enumerate(NOISY))
    Path("a.log").write_text(content)
    status, output, _ = run("--compare", "a.log", "a.log")
    assert (status, "; rank 0 of 2 in a.log; " in output) == (0, True)
    Path("b.log").write_text(content + line(20, "nan", rank=1))
    status, output, _ = run("--compare", "a.log", "b.log")
    assert status == 1
    assert output.splitlines()[-1].endswith("; b.log: the loss is nan on rank 1 at epoch 0 iteration 20")


LENGTH = epoch_line(0, "9.9")
ERROR = "error: the loss is not finite\n"


@pytest.mark.parametrize(
    ("before", "behind", "reason"),
    [
        ("", ERROR, f"ends with {ERROR[:-1]!r}"),
        ("", log_text.failure("the disk is full"), "ends with 'Ended: the disk is full'"),
        ("", log_text.interrupted("SIGTERM", Path("last.pth.tar")), "ends with 'Stopped: SIGTERM; "),
        (LENGTH, "", "ends epoch 0 at iteration 19 of 2850"),
        (LENGTH, "Early stopping at iteration 100\n", "ends epoch 0 at iteration 19 of 100"),
        (LENGTH, "Early stopping at iteration 20\n", None),
        (LENGTH, log_text.note("max_iters", epoch=0, iterations=20, of=2850), None),
        (ERROR, "", None),  # and the run was gone on with
        ("", f"{ERROR}{log_text.RUN}runs/peta\n", None),
    ],
)
def test_there_is_no_verdict_if_both_trainings_ended_early(run, no_plot, before, behind, reason):
    Path("a.log").write_text(before + "".join(line(i, loss) for i, loss in enumerate(NOISY)) + behind)
    status, output, _ = run("--compare", "a.log", "a.log")
    assert status == (2 if reason else 0)
    assert (f"verdict: none; 20 of 20 iterations compared; a.log {reason}" in output) == bool(reason)
    assert run("--compare", "a.log", "a.log", "--iterations", 20)[0] == 0


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


def test_several_logs_have_one_status(run, no_plot):
    """A log that disagrees decides, then one without a verdict."""
    write_log("a.log", FALLING)
    write_log("short.log", FALLING[:15])
    write_log("other.log", 1.1 * FALLING)
    assert run("--compare", "a.log", "a.log", "short.log")[0] == 2
    assert run("--compare", "a.log", "short.log", "other.log", "a.log")[0] == 1


def test_json_has_all_figures_of_each_comparison(run):
    write_log("a.log", FALLING)
    write_log("b.log", [*FALLING[:10], float("nan")])
    write_log("c.log", FALLING[:15])
    logs = ["a.log", "a.log", "b.log", "c.log"]
    status, _, errors = run("--compare", *logs, "--json", "figures.json", "--limit", 0.01)
    assert status == 1
    assert "note: figures.json is written" in errors.splitlines()
    text = Path("figures.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert (content["passed"], content["rule"]) == (False, "official")
    assert content["limits"]["mean_difference"] == 0.01
    same, other, short = content["comparisons"]
    assert (same["passed"], same["official_pass"], same["strict_pass"]) == (True, True, True)
    assert same["mean_relative_error"] == 0
    assert (other["candidate"], other["reference"]) == ("b.log", "a.log")
    assert (other["compared"], other["asked"], other["passed"]) == (11, 20, False)
    assert (other["official_pass"], other["mean_relative_error"]) == (False, None)
    assert (short["passed"], short["official_pass"], short["strict_pass"]) == (None, True, None)
    assert short["reason"] == "c.log ends at epoch 0 iteration 14"
    written = ["a.log", "b.log", "c.log", "figures.json", "loss.jpg"]
    assert sorted(path.name for path in Path().iterdir()) == written


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--compare", "a.log"], "at least two logs"),
        (["--compare", "a.log", "b.log", "--cuda-log", "c.log"], "leave out --sdaa-log and --cuda-log"),
        (["--limit_p95", "-1"], "--limit_p95"),
        (["--json", "./sdaa.log"], "--json sdaa.log: the command reads it, and it would be written over"),
        (["--plot", "link.jpg"], "--plot link.jpg: the command reads it"),
        (["--json", "a.png", "--plot", "a.png"], "--plot a.png: --json names it too"),
        (["--plot", "missing/loss.png"], "--plot missing/loss.png: there is no such directory"),
        (["--plot", "loss"], "--plot: cannot draw loss: choose a suffix of "),
        (["--json", "missing/figures.json"], "--json missing/figures.json: there is no such directory"),
    ],
)
def test_a_wrong_option_is_told_in_one_line_and_writes_nothing(run, arguments, reason):
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


def test_a_picture_that_nobody_named_changes_no_verdict(run):
    for name in ("sdaa.log", "cuda.log"):
        write_log(name, FALLING)
    Path("loss.jpg").mkdir()
    status, output, errors = run()
    assert status == 0
    assert output.splitlines()[-1].startswith("verdict: pass; ")
    assert errors == "note: loss.jpg is not drawn: loss.jpg: Is a directory; name a file\n"


@pytest.mark.parametrize("first", [(1, 0), (0, 1), (1, 1)])
def test_a_log_that_counts_from_1(run, no_plot, first):
    losses = {(0, i): value for i, value in enumerate(FALLING)}
    write_log("cuda.log", losses)
    write_log("sdaa.log", {(e + first[0], i + first[1]): value for (e, i), value in losses.items()})
    status, output, errors = run()
    assert (status, errors) == (0, "")
    for what, number in zip(("epochs", "iterations"), first, strict=True):
        assert (f"sdaa.log counts {what} from 1, cuda.log from 0" in output.splitlines()[-1]) == bool(number)


def test_epochs_are_aligned_if_that_is_asked_for(run, no_plot):
    losses = {(0, i): value for i, value in enumerate(FALLING)}
    write_log("cuda.log", losses)
    write_log("sdaa.log", {(e + 2, i): value for (e, i), value in losses.items()})
    status, output, errors = run()
    assert (status, output) == (2, "")
    assert errors.startswith("error: sdaa.log begins with epoch 2, cuda.log with epoch 0; ")
    status, output, errors = run("--align_epochs")
    assert (status, output.splitlines()[0], errors) == (0, "MeanRelativeError: 0.0", "")


def test_epochs_can_be_said_to_be_the_same(run, no_plot):
    write_log("cuda.log", {(e, i): 1 + e for e in range(2) for i in range(2)})
    write_log("sdaa.log", {(e, i): 1 + e for e in (1, 2) for i in range(2)})
    assert "counts epochs from 1" in run()[1]
    status, output, _ = run("--no-align_epochs")
    assert (status, output.splitlines()[0]) == (2, "MeanRelativeError: 0.0")
    assert "verdict: none; 2 of 6 iterations compared; " in output


@pytest.mark.slow
def test_without_standard_output_and_error_it_decides_all_the_same(run):
    write_log("cuda.log", FALLING)
    write_log("sdaa.log", 1.1 * FALLING)
    command = f"{sys.executable} {COMMAND} --json figures.json >&- 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 1
    assert json.loads(Path("figures.json").read_text("utf-8"))["passed"] is False
