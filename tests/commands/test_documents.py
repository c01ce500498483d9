"""What the documents say is what the program does."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from support import REPOSITORY
from support.models import ATTRIBUTES, model_of, own_checkpoint

import alm
from alm.checkpoint.restore import save_checkpoint
from run_scripts.benchmark import GOALS
from run_scripts.cli.reference import reference_lines


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command():
    command = text_of(".ci/run").rstrip().splitlines()[-1]
    assert command in text_of("README.md").splitlines()


PYTHON = """#!/bin/sh
mkdir -p .venv/bin
touch .venv/new
printf '#!/bin/sh\\n' > .venv/bin/pip
printf '#!/bin/sh\\nls .venv; exit 3\\n' > .venv/bin/pytest
chmod +x .venv/bin/*
"""


@pytest.fixture
def ci(tmp_path):
    """Return what runs a copy of .ci/run, with a python3 whose environments do next to nothing."""
    (tmp_path / "clone" / ".ci").mkdir(parents=True)
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / "clone" / ".ci" / "run")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\nexit 1\n")  # no browser is to be had
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def run():
        command = ["bash", str(tmp_path / "clone" / ".ci" / "run")]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_ci_keeps_an_environment_that_was_there(ci, tmp_path):
    """And tests in one of its own; its exit status is pytest's."""
    clone = tmp_path / "clone"
    end = ci()
    assert (end.returncode, end.stdout.split()) == (3, ["bin", "new"])
    (clone / ".venv" / "mine").touch()
    (clone / ".venv" / "new").unlink()
    end = ci()
    assert (end.returncode, end.stdout.split()) == (3, ["bin", "new"])
    assert sorted(path.name for path in clone.iterdir()) == [".ci", ".venv"]
    assert sorted(path.name for path in (clone / ".venv").iterdir()) == ["bin", "mine"]


def test_ci_does_not_mix_up_two_environments(ci, tmp_path):
    (tmp_path / "clone" / ".venv.kept").mkdir()
    end = ci()
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr.startswith("error: .venv.kept is there, from a run that was killed; ")


def test_the_reference_of_the_commands_is_what_their_parsers_say():
    assert text_of("docs/cli.md").splitlines() == "\n".join(reference_lines()).splitlines(), (
        "docs/cli.md is out of date: python -m run_scripts.cli.reference > docs/cli.md"
    )


@pytest.mark.parametrize(
    ("document", "heading"), [("README.md", "What it costs"), ("README.zh-CN.md", "开销")]
)
def test_every_figure_is_in_the_readme_as_it_was_measured(document, heading):
    """The rows that benchmark.py prints, in its order; its goals are its own affair."""
    table = section(text_of(document), heading)
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")][2:]
    goals = [goal for goals in GOALS.values() for goal in goals]
    for (what, measured), goal in zip(rows, goals, strict=True):
        assert what.strip() == goal.what.format(few=35, many=350) or document != "README.md"
        assert re.fullmatch(r"\d+(\.\d+)?( \(\d[\d.]* to \d[\d.]*\))?", measured.strip())
    assert not re.search(r"missed|未达到|<=|>=", table)


@pytest.fixture
def answer_to(tmp_path):
    """Return a function that starts one of README's examples in Python, as it stands, where a checkpoint and
    a picture lie, and returns its output.
    """
    model = model_of()
    with torch.no_grad():  # one of the three is not there, on any level
        for bias in (model.classifier.bias, *(level.logit_bias for level in model.localization.values())):
            bias[1] = -9
    save_checkpoint(tmp_path / "60.pth.tar", own_checkpoint(model))
    Image.effect_mandelbrot((60, 150), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "person.jpg")

    def answer_to(heading):
        section_of = section(text_of("README.md"), heading)
        (example,) = re.findall(r"^```python\n(.*?)^```", section_of, re.MULTILINE | re.DOTALL)
        return subprocess.run(
            [sys.executable, "-c", example], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    return answer_to


@pytest.mark.slow
def test_the_predictor_example_does_what_it_says(answer_to, tmp_path):
    lines = answer_to("Predict").splitlines()
    (prediction,) = alm.Predictor.from_checkpoint(tmp_path / "60.pth.tar")(tmp_path / "person.jpg")
    assert [line.split()[0] for line in lines[::2]] == ["Hat", "Skirt"]
    for line, regions, k in zip(lines[::2], lines[1::2], (0, 2), strict=True):
        assert float(line.split()[1]) == pytest.approx(prediction.probabilities[k])
        assert line.split()[2] == prediction.level[k]
        assert list(re.findall(r"'(\w+)': array", regions)) == ["3b", "4d", "5b"]


@pytest.mark.slow
def test_the_library_example_does_what_it_says(answer_to, tmp_path):
    """From a file to named attributes."""
    answer = answer_to("As a library")
    model = alm.load_model(tmp_path / "60.pth.tar")
    images = alm.preprocess(alm.read_pictures([tmp_path / "person.jpg"]))
    logits = alm.vote(model(images))[0]
    expected = [name for name, logit in zip(ATTRIBUTES, logits, strict=True) if logit > 0]
    assert answer == f"{expected}\n"
    assert 0 < len(expected) < len(ATTRIBUTES)


def test_what_is_installed_is_what_is_needed():
    """The method: three packages. The commands: these and more; the tests: all of both."""
    setup = {}
    program = (
        "import setuptools; setuptools.setup = lambda **k: print(__import__('json').dumps(k)); import setup"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    if "No module named 'setuptools'" in answer.stderr:
        pytest.skip("setuptools is not installed")
    setup = json.loads(answer.stdout)
    names = [re.match(r"[\w-]+", line)[0] for line in setup["install_requires"]]
    assert names == ["torch", "numpy", "pillow"]
    assert all(name.split(".")[0] == "alm" for name in setup["packages"])
    assert {"alm", "alm.models", "alm.checkpoint"} <= set(setup["packages"])
    assert setup["version"] == alm.__version__
    commands = text_of("requirement.txt").split()
    assert {*setup["install_requires"], "torchvision", "tqdm"} <= set(commands)
    assert set(commands) <= {*setup["install_requires"], *setup["extras_require"]["test"]}


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of("README.md")):
        assert (REPOSITORY / target).exists(), target


def test_the_chinese_readme_follows_the_english_one():
    """The same headings' order and the same commands."""
    english, chinese = text_of("README.md"), text_of("README.zh-CN.md")
    assert commands(english) == commands(chinese)
    assert outline(english) == outline(chinese)
    assert len(outline(english)) > 10


def section(text, heading):
    """Return what stands under a heading, up to the next."""
    return re.search(rf"^## {re.escape(heading)}[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def commands(text):
    return re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)


def outline(text):
    """Return headings by level, with the commands, tables and pictures between them in order."""
    return re.findall(r"^(#+|```\w*|\|---|!\[)", text, re.MULTILINE)
