"""The steps of test.sh that need Python.

python acceptance.py install         install what is missing, never over a torch
python acceptance.py device NAME     print the device that NAME means here
python acceptance.py has-data NAME   exit 0 if that data set is in its place
python acceptance.py same-pictures   exit 0 if they are drawn as for the baseline

`install` imports nothing that it may have to install.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.acceptance")

import argparse
import hashlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

from alm.errors import AlmError
from run_scripts.cli.parser import Parser
from utils.io.process import tell, temporary_directory

REPOSITORY = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).parent / "baseline"
MODULES = {"pillow": "PIL"}  # packages that are imported under another name


def main() -> int:
    options = build_parser().parse_args()
    return options.take(options)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    steps = parser.add_subparsers(metavar="STEP", required=True)
    steps.add_parser("install").set_defaults(take=lambda _: install())
    steps.add_parser("same-pictures").set_defaults(take=lambda _: same_pictures())
    for name, take in (("device", device), ("has-data", has_data)):
        step = steps.add_parser(name)
        step.add_argument("name", metavar="NAME")
        step.set_defaults(take=lambda options, take=take: take(options.name))
    return parser


def install() -> int:
    """Install the packages of requirement.txt that do not import, keeping a torch that does as it is.

    Raises AlmError if pip fails.
    """
    lines = (REPOSITORY / "requirement.txt").read_text(encoding="utf-8").split()
    missing = [line for line in lines if not imports(re.match(r"[\w-]+", line)[0])]
    if "torchvision" in missing and imports("torch"):
        missing.remove("torchvision")  # each of its versions wants one torch; no command needs it
    if not missing:
        return 0
    with temporary_directory("installing") as directory:
        constraint = directory / "constraint.txt"
        kept = f"torch=={importlib.import_module('torch').__version__}\n" if imports("torch") else ""
        constraint.write_text(kept, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", *missing, "--constraint", str(constraint)]
        status = subprocess.run(command).returncode
    if status:
        raise AlmError(
            f"pip could not install {', '.join(missing)} (exit status {status}; it says why above); install "
            "them, and start again"
        )
    return 0


def imports(package: str) -> bool:
    try:
        importlib.import_module(MODULES.get(package, package))
    except ImportError:
        return False
    return True


def device(name: str) -> int:
    """Print `sdaa`, `cuda` or `cpu`."""
    from alm.devices.device import choose_device

    tell(choose_device(name).type)
    return 0


def has_data(name: str) -> int:
    """Return 0 if the data set's root has a training list, else say what is missing and return 1."""
    from utils.data.catalog import find_root, get_experiment

    experiment = get_experiment(name)
    root = find_root(experiment)
    if any((root / each).is_file() for each in experiment.train_lists):
        return 0
    tell(f"note: {root} has no {experiment.train_lists[0]}, or is not there", to=sys.stderr)
    return 1


def same_pictures() -> int:
    """Return 0 if the drawn pictures, decoded, are the ones that the baseline was trained on, else 1."""
    return 0 if synthetic_digest() == (BASELINE / "synthetic.sha256").read_text("utf-8").strip() else 1


def synthetic_digest() -> str:
    """Return the SHA-256 of the synthetic training pictures as the network gets them, in the list's order."""
    from utils.data.catalog import EXPERIMENTS, resolve_paths
    from utils.data.dataset import MultiLabelDataset

    root, train_list, _ = resolve_paths(EXPERIMENTS["synthetic"])
    digest = hashlib.sha256()
    for image, label in MultiLabelDataset(root, train_list):
        digest.update(image.numpy().tobytes())
        digest.update(label.numpy().tobytes())
    return digest.hexdigest()
