"""The rooms: their size, who may import whom, without circles, and what starts without torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from support import REPOSITORY

ALM = {  # room -> rooms that it may import
    "constants": "",
    "errors": "",
    "untrusted": "errors",
    "devices": "constants errors",
    "models": "constants errors devices",
    "checkpoint": "constants errors devices models",
    "inference": "constants errors untrusted devices models checkpoint",
    "training": "constants errors devices models checkpoint",
}
UTILS = {  # the same, beside all of alm
    "errors": "",
    "io": "errors",
    "data": "errors io",
    "dataset": "data",
    **dict.fromkeys(("evaluation", "runs", "synthetic", "prepare", "diagnostics"), "errors io data"),
    "deployment": "errors io data synthetic prediction",
    **dict.fromkeys(("prediction", "report"), "errors io data evaluation runs synthetic prepare"),
}
OTHER_ARROWS = {
    ("report", "prediction"): "its pictures get their boxes as the sheets of predict.py do",
}
TORCH_FREE = """alm.errors alm.constants alm.untrusted alm.devices.host alm.inference.image_io
alm.inference.prediction alm.inference.predictor utils.io.* utils.runs.*
utils.evaluation.* utils.prepare.*"""
WITH_TORCH = {"utils.runs.directory"}
WRITES_DOCS = "run_scripts.cli.reference"  # no command needs it: it lists the options of all


def modules(*tops):
    for top in tops:
        for path in sorted((REPOSITORY / top).rglob("*.py")):
            yield ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path):
    """Yield the modules that a file imports, but for type checkers."""
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".")
            yield from (
                f"{node.module}.{alias.name}" if len(base) == 1 else node.module for alias in node.names
            )
        nodes += ast.iter_child_nodes(node)


def room(module):
    return ".".join(module.split(".")[:2])


def edges(*tops):
    for module, path in modules(*tops):
        for imported in imports(path):
            if imported.split(".")[0] in ("alm", "utils", "run_scripts"):
                yield module, imported


@pytest.mark.parametrize(("top", "below", "others"), [("alm", ALM, {}), ("utils", UTILS, OTHER_ARROWS)])
def test_a_room_imports_what_is_below_it(top, below, others):
    drawn = set()
    for module, imported in edges(top):
        own, other = module.split(".")[1:2], imported.split(".")[1:2]
        if imported.split(".")[0] != top:
            assert (top, imported.split(".")[0]) == ("utils", "alm"), f"{module} imports {imported}"
        elif own and other and own != other:
            arrow = own[0], other[0]
            assert other[0] in below[own[0]].split() or arrow in others, f"{module} imports {imported}"
            drawn.add(arrow)
    assert others.keys() <= drawn  # else the table is out of date


def test_no_command_imports_another():
    for module, imported in edges("run_scripts"):
        if imported.startswith("run_scripts."):
            shared = room(imported) in ("run_scripts.cli", "run_scripts.training")
            assert shared, f"{module} imports {imported}"


def test_a_room_has_3_to_9_modules_and_says_in_a_sentence_what_it_is():
    rooms = [path.parent for name, path in modules("alm", "utils", "run_scripts")
             if path.name == "__init__.py" and name.count(".")]  # fmt: skip
    assert len(rooms) >= 16
    for folder in rooms:
        sentence = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        sentence = sentence.partition("\n\n")[0]
        assert sentence.endswith("."), folder
        assert ". " not in sentence, folder
        assert 3 <= len(list(folder.glob("*.py"))) - 1 <= 9, folder


def test_there_is_no_circle_of_rooms():
    graph = {}
    for module, imported in edges("alm", "utils", "run_scripts"):
        if module != WRITES_DOCS and module.count(".") and room(module) != room(imported):
            graph.setdefault(room(module), set()).add(room(imported))
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.slow
def test_these_start_without_torch():
    names = {name for name, _ in modules("alm", "utils")}
    free = []
    for pattern in TORCH_FREE.split():
        prefix = pattern.removesuffix(".*")
        free += [n for n in names if n == prefix or (pattern != prefix and n.startswith(f"{prefix}."))]
    program = (
        "import importlib, sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': raise ImportError('torch')\n"
        "sys.meta_path.insert(0, NoTorch())\n"
    ) + "".join(f"importlib.import_module({name!r})\n" for name in sorted(set(free) - WITH_TORCH))
    ran = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_a_training_starts_without_scipy():
    program = "import sys, run_scripts.run_ALM; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY).returncode == 0
