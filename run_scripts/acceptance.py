"""The steps of test.sh that need Python.

python acceptance.py install           install what is missing, never over a torch that imports
python acceptance.py device NAME       print the device that NAME means here
python acceptance.py has-data NAME     exit 0 where the data set is in its default place
python acceptance.py same-pictures     warn where the drawn pictures are not the baseline's
"""

import hashlib
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BASELINE = Path(__file__).parent / "baseline"
MODULES = {"pillow": "PIL"}  # where a package is imported under another name
sys.path.insert(0, str(REPOSITORY))


def install() -> None:
    """Install the packages of requirement.txt that do not import, keeping a torch that does as it is."""
    lines = (REPOSITORY / "requirement.txt").read_text(encoding="utf-8").split()
    missing = [line for line in lines if not imports(re.match(r"[\w-]+", line)[0])]
    if "torchvision" in missing and imports("torch"):
        missing.remove("torchvision")  # each of its versions wants one torch; no command needs it
    if not missing:
        return
    command = [sys.executable, "-m", "pip", "install", *missing]
    if not imports("torch"):
        subprocess.run(command, check=True)
        return
    version = importlib.import_module("torch").__version__
    with tempfile.TemporaryDirectory() as directory:
        constraint = Path(directory, "constraint.txt")
        constraint.write_text(f"torch=={version}\n", encoding="utf-8")
        subprocess.run([*command, "--constraint", constraint], check=True)


def imports(package: str) -> bool:
    """Whether a package can be imported here."""
    try:
        importlib.import_module(MODULES.get(package, package))
    except ImportError:
        return False
    return True


def device(name: str) -> None:
    """Print `sdaa`, `cuda` or `cpu`."""
    from alm.device import choose_device

    print(choose_device(name).type)


def has_data(name: str) -> None:
    """Exit with 0 where the data set's root exists, else 1."""
    from utils.experiments import find_root, get_experiment

    sys.exit(0 if find_root(get_experiment(name)).is_dir() else 1)


def same_pictures() -> None:
    """Warn where the synthetic pictures, decoded, are not those that the baseline was trained on."""
    digest = synthetic_digest()
    expected = (BASELINE / "synthetic.sha256").read_text(encoding="utf-8").strip()
    if digest != expected:
        print(
            "warning: the drawn pictures differ from the baseline's (another encoder or decoder version), so "
            "the losses may differ for that reason alone",
            file=sys.stderr,
        )


def synthetic_digest() -> str:
    """Return the SHA-256 of the synthetic training pictures as the network gets them, in the list's order."""
    from utils.dataset import MultiLabelDataset
    from utils.experiments import EXPERIMENTS, resolve_paths

    root, train_list, _ = resolve_paths(EXPERIMENTS["synthetic"])
    digest = hashlib.sha256()
    for image, label in MultiLabelDataset(root, train_list):
        digest.update(image.numpy().tobytes())
        digest.update(label.numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    """Do one step."""
    from run_scripts.command import clear_ending

    with clear_ending():
        steps = {"device": device, "has-data": has_data, "same-pictures": same_pictures}
        steps[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        install()  # before anything that it may have to install is imported
    else:
        main()
