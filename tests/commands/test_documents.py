"""What the documents say is what the program does."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import REPOSITORY
from support.models import ATTRIBUTES, model_of, own_checkpoint

import alm
from alm.checkpoint.restore import save_checkpoint
from alm.inference.export import describe_onnx
from alm.inference.onnx_metadata import Metadata
from alm.inference.onnx_predictor import OnnxPredictor
from run_scripts import run_ALM
from run_scripts.benchmark import GOALS
from run_scripts.cli.reference import reference_lines
from run_scripts.training.resolve import resolve
from utils.synthetic import ensure_dataset

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


def commands_of(page):
    """Yield a page's commands in their order: the file that each starts, and its words. A page begins in the
    repository, and `cd` changes that.
    """
    directory = REPOSITORY
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    code = "".join(block for language, block in fences if language in ("", "sh", "bash"))
    for line in code.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\||2>&1", line.removeprefix("$ ").partition(" # ")[0]):
            if place := re.fullmatch(r"cd (\S+)", command.strip()):
                directory = directory / place[1]
            if words := re.match(r"\s*\S*python (\S+\.py)(.*)", command):
                yield (directory / words[1]).resolve(), shlex.split(words[2])


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/cli.md"])
def test_every_command_of_a_page_can_be_typed_where_the_page_is_and_has_its_inputs(
    page, tmp_path, monkeypatch
):
    """Its file is there, it takes the words, and a run's checkpoint is one that an earlier command saves."""
    monkeypatch.chdir(tmp_path)
    saved = set()
    for file, words in commands_of(page):
        command = import_module(f"run_scripts.{file.stem}")
        assert file == Path(command.__file__)
        monkeypatch.setattr(sys, "argv", [str(file), *words])
        for word in words:
            if re.fullmatch(r"runs/(?!RUN/).*\.pth\.tar", word):
                assert word in saved
        if command is not run_ALM:
            getattr(command, "parse_options", command.build_parser().parse_args)()
            continue
        typed = command.build_parser().parse_args()
        resumed = {"epoch": 1, "options": {"experiment": "peta"}} if "resume" in typed else None
        options, _ = resolve(typed, resumed)
        saved.add(f"{options.output_dir}/{options.epochs}.pth.tar")
        if options.output_dir:
            Path(options.output_dir).mkdir(parents=True, exist_ok=True)


@pytest.mark.slow
def test_the_readmes_commands_do_what_they_say_in_their_order(tmp_path, monkeypatch, start_here):
    """On a few drawn people, and for one step in the place of 60 epochs."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_ALM, "REPOSITORY", tmp_path)
    ensure_dataset(tmp_path / "PETA", train=4, test=2)
    shutil.copytree(tmp_path / "PETA" / "synthetic", tmp_path / "pictures")
    Image.new("RGB", (60, 150)).save(tmp_path / "photo.jpg")
    short = ("--epochs", 1, "--batch_size", 2, "--max_iters", 1, "--workers", 0, "--device", "cpu")
    for file, words in commands_of("README.md"):
        if "synthetic" not in words:  # the one that trains for minutes
            words = [word.replace("60.pth.tar", "1.pth.tar") for word in words]
            more = short if file.stem == "run_ALM" else ()
            start_here(import_module(f"run_scripts.{file.stem}"), *words, *more)
    assert len(list((tmp_path / "runs").glob("*/1.pth.tar"))) == 2
    assert "<title>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    pictures, sheets = (list((tmp_path / name).glob("*/*")) for name in ("pictures", "sheets"))
    assert len(sheets) == len(pictures) > 0
    assert (tmp_path / "model.onnx").is_file()


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


def test_every_goal_of_the_benchmark_has_a_row_with_a_figure():
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
            if "import ray" in example:
                continue
            if "import alm" in example or "import onnxruntime" in example:
                exec(compile(example, page, "exec"), {})
                yield capsys.readouterr().out

    return run


def test_the_examples_do_what_they_say(examples_of, tmp_path):
    (in_readme,) = examples_of("README.md")
    by_predictor, _, by_model = examples_of("docs/library.md")
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


@pytest.mark.slow
def test_the_example_of_onnxruntime_finds_what_predict_finds(examples_of, model_file):
    (prediction,) = OnnxPredictor(model_file)("person.jpg")
    thresholds = prediction.probabilities.astype(float) + np.array([-1e-4, 1e-4, -1e-4])
    shutil.copy(model_file, "model.onnx")
    describe_onnx("model.onnx", Metadata(ATTRIBUTES, "", tuple(thresholds), False).texts())
    assert list(examples_of("docs/deploy.md")) == ["['Hat', 'Skirt']\n"]


FORKED = """
import io, os, sys, signal, service
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
signal.alarm(60)
for body in open("person.jpg", "rb").read(), b"no picture":
    environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    (answer,) = service.app(environ, lambda status, headers: print(status))
    print(answer.decode())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_the_service_answers_from_a_process_that_is_forked_after_it_is_loaded(examples_of, tmp_path):
    list(examples_of("README.md"))
    (service,) = (text for text in blocks(text_of("docs/library.md"), "python") if "def app" in text)
    (tmp_path / "service.py").write_text(service)
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(tmp_path))),
        "OMP_NUM_THREADS": "2",
    }
    ended = subprocess.run([sys.executable, "-c", FORKED], env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    good, answer, bad, refusal = ended.stdout.splitlines()
    (prediction,) = alm.Predictor.from_checkpoint("60.pth.tar")("person.jpg")
    assert (good, bad) == ("200 OK", "400 Bad Request")
    assert "this is no picture that can be read" in json.loads(refusal)["error"]
    attributes = json.loads(answer)["attributes"]
    probabilities = [attributes[name]["probability"] for name in ATTRIBUTES]
    assert probabilities == pytest.approx(prediction.probabilities.tolist())


CLUSTER = """
import os, ray, sys
environ = {"PYTHONPATH": os.environ["PYTHONPATH"]}
small = {"num_cpus": 3, "object_store_memory": 2**27, "include_dashboard": False, "logging_level": "ERROR"}
ray.init(_temp_dir=sys.argv[1], runtime_env={"env_vars": environ}, **small)
exec(compile(open("people.py").read(), "people.py", "exec"))
"""


@pytest.mark.slow
def test_the_example_of_ray_predicts_a_folder_of_archives_on_two_workers(examples_of, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    list(examples_of("README.md"))
    (example,) = (text for text in blocks(text_of("docs/library.md"), "python") if "import ray" in text)
    assert "concurrency=2" in example
    (tmp_path / "people.py").write_text(example)
    (tmp_path / "shards").mkdir()
    for shard in "ab":
        with tarfile.open(tmp_path / "shards" / f"{shard}.tar", "w") as file:
            for k in range(3):
                file.add("person.jpg", f"in/{shard}{k}.jpg")
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}
    with tempfile.TemporaryDirectory(prefix="ray") as directory:  # a socket's path has 107 bytes
        ended = subprocess.run(
            [sys.executable, "-c", CLUSTER, directory],
            env=environ | {"RAY_USAGE_STATS_ENABLED": "0"}, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    rows = [row for path in (tmp_path / "people").iterdir() for row in csv.DictReader(path.open())]
    (prediction,) = alm.Predictor.from_file("60.pth.tar")("person.jpg")
    assert sorted(row.pop("path") for row in rows) == [f"in/{shard}{k}" for shard in "ab" for k in range(3)]
    for row in rows:
        assert list(row) == list(ATTRIBUTES)
        assert list(map(float, row.values())) == pytest.approx(prediction.probabilities.tolist())


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


def test_the_names_that_the_page_lists_are_there():
    page = text_of("docs/library.md")
    names = re.findall(r"^\| `alm\.(\w+)", page, re.M)
    assert len(names) > 8
    assert all(hasattr(alm, name) for name in {*names, *alm.__all__})
    [row] = re.findall(r"^\| `alm\.checkpoint` \| (.*) \|$", page, re.M)
    assert all(hasattr(alm.checkpoint, name) for name in re.findall(r"`(\w+)`", row))
