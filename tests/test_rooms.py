"""The rooms: who may import whom, without circles, and what starts without torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from support import REPOSITORY

BELOW = {  # room of alm -> rooms that it may import
    "constants": set(),
    "errors": set(),
    "devices": {"constants", "errors"},
    "models": {"constants", "errors", "devices"},
    "checkpoint": {"constants", "errors", "devices", "models"},
    "inference": {"constants", "errors", "devices", "models", "checkpoint"},
    "training": {"constants", "errors", "devices", "models", "checkpoint"},
}
TORCH_FREE = """alm.errors alm.constants alm.devices.host alm.inference.image_io alm.inference.prediction
utils.io.* utils.runs.* utils.evaluation.* utils.prepare.* utils.deployment.onnx_predictor"""
WITH_TORCH = {"utils.runs.directory"}
WRITES_DOCS = "run_scripts.cli.reference"  # no command needs it: it lists the options of all


def modules(*tops):
    for top in tops:
        for path in sorted((REPOSITORY / top).rglob("*.py")):
            yield ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"), path


def imports(path):
    """Yield the modules of ours that a file imports anywhere but for type checkers."""
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


def test_alm_imports_what_is_below_it_and_nothing_around_it():
    for module, imported in edges("alm"):
        assert imported.startswith("alm"), f"{module} imports {imported}"
        own = module.split(".")[1:2]
        below = imported.split(".")[1:2]
        if own and below and own != below:
            assert below[0] in BELOW[own[0]], f"{module} imports {imported}"


def test_utils_imports_no_command_and_no_command_another():
    for module, imported in edges("utils", "run_scripts"):
        if imported.startswith("run_scripts."):
            shared = room(imported) in ("run_scripts.cli", "run_scripts.training")
            assert shared, f"{module} imports {imported}"
            assert module.startswith("run_scripts"), f"{module} imports {imported}"


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
