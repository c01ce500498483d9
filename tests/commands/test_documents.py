"""What the documents say is what the program does."""

import json
import re
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

PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "run_scripts/README.md")
    for path in REPOSITORY.glob(pattern)
)
FIGURE = re.compile(r"\d+(\.\d+)?( \(\d[\d.]* to \d[\d.]*\))?")  # a median, and its quartiles


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(text, language=""):
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_ci_runs_the_readmes_test_command():
    command = text_of(".ci/run").rstrip().splitlines()[-1]
    assert command in text_of("README.md").splitlines()


def test_the_reference_of_the_commands_is_what_their_parsers_say():
    assert text_of("docs/cli.md").splitlines() == "\n".join(reference_lines()).splitlines(), (
        "docs/cli.md is out of date: python -m run_scripts.cli.reference > docs/cli.md"
    )


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/cli.md"])
def test_every_option_of_a_command_on_a_page_is_one_that_it_has(page):
    options = {
        section.partition("\n")[0].split()[0]: set(re.findall(r"`(--?[\w-]+)", section))
        for section in re.split(r"^## ", text_of("docs/cli.md"), flags=re.MULTILINE)
    }
    code = "\n".join(blocks(text_of(page), r"\w*")).replace("\\\n", " ")
    for command, arguments in re.findall(r"(\w+\.py) ([^\n|&]*)", code):
        named = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", f" {arguments}"))
        assert named <= options[command], f"{command} {arguments}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of(page)):
        path, _, heading = target.partition("#")
        linked = ((REPOSITORY / page).parent / path).resolve() if path else REPOSITORY / page
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


def test_the_chinese_readme_follows_the_english_one():
    """The same headings' order, commands, tables and pictures."""
    english, chinese = text_of("README.md"), text_of("README.zh-CN.md")
    parts = re.compile(r"^(#+|```.*?^```|\|---|!\[)", re.MULTILINE | re.DOTALL)
    assert parts.findall(english) == parts.findall(chinese)


def test_every_figure_of_the_benchmark_is_as_it_was_measured():
    """The rows that benchmark.py prints, in its order; its goals are its own affair."""
    rows = [
        line.split("|")[1:-1] for line in text_of("docs/results/performance.md").splitlines() if "|" in line
    ]
    goals = [goal for goals in GOALS.values() for goal in goals]
    for (what, measured), goal in zip(rows[2:], goals, strict=True):
        assert what.strip() == goal.what.format(few=35, many=350)
        assert FIGURE.fullmatch(measured.strip())


@pytest.fixture
def examples_of(tmp_path, monkeypatch, capsys):
    """Return a function that runs a page's examples in Python where a checkpoint and a picture lie, and
    returns what each prints.
    """
    model = model_of()
    with torch.no_grad():  # one of the three is not there, on any level
        for bias in (model.classifier.bias, *(level.logit_bias for level in model.localization.values())):
            bias[1] = -9
    save_checkpoint(tmp_path / "60.pth.tar", own_checkpoint(model))
    Image.effect_mandelbrot((60, 150), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "person.jpg")
    monkeypatch.chdir(tmp_path)

    def run(page):
        for example in blocks(text_of(page), "python"):
            if "import alm" in example:
                exec(compile(example, page, "exec"), {})
                yield capsys.readouterr().out

    return run


def test_the_examples_do_what_they_say(examples_of, tmp_path):
    (in_readme,) = examples_of("README.md")
    by_predictor, by_model = examples_of("docs/library.md")
    (prediction,) = alm.Predictor.from_checkpoint(tmp_path / "60.pth.tar")(tmp_path / "person.jpg")
    names = [name for name, positive in zip(ATTRIBUTES, prediction.positive(), strict=True) if positive]
    assert names == ["Hat", "Skirt"]
    assert in_readme == f"{names}\n"
    assert by_model == f"{names}\n"
    lines = by_predictor.splitlines()
    for k, (line, regions) in zip((0, 2), zip(lines[::2], lines[1::2], strict=True), strict=True):
        assert float(line.split()[1]) == pytest.approx(prediction.probabilities[k])
        assert line.split()[2] == prediction.level[k]
        assert list(re.findall(r"'(\w+)': array", regions)) == ["3b", "4d", "5b"]


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
