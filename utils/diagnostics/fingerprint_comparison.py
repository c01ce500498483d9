"""Two fingerprints of the same iterations compared, in order of execution; needs neither torch nor alm."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import InputError
from utils.io.untrusted import open_regular

FORMAT = "alm-fingerprint-1"
NUMBERS = ("norm", "largest", "nonfinite", "projection_1", "projection_2")
STAGES = ("forward", "gradient", "weight after the step")
PARTS = {  # of an entry, beside its numbers
    "run": {"format": str, "precision": str, "weights": str},
    "batch": {"iteration": int, "images": str, "labels": str, "mirror": str},
    "tensor": {"iteration": int, "stage": str, "name": str, "dtype": str, "shape": list},
}
# How far two right devices may be apart in the first iteration, relative to a tensor's size: four times what
# one CPU was from itself with other threads and instructions. Each layer adds to it, and rounding that turns
# a ReLU on or off comes back enlarged in the gradients, so these say more in float32 than in half precision.
LIMITS = {
    "float32": (2e-3, 0.4, 1e-2),
    "fp16": (0.2, 4.0, 5e-2),
    "bf16": (1.2, 10.0, 8e-2),
}
# In later ones: Adam moves a weight by its rate, however small its gradient, so these start apart.
LATER = {"float32": (0.6, 6.0, 3e-2), "fp16": (3.0, 12.0, 8e-2), "bf16": (7.0, 20.0, 0.12)}
MOST_BYTES = 200 << 20  # files of a default run have half a million


class FingerprintError(InputError):
    """A file that is no fingerprint, or two that do not belong together."""


@dataclass
class Difference:
    """One tensor in both fingerprints: `error` relative to its size, `limit` what its type allows."""

    iteration: int
    stage: str
    name: str
    dtypes: tuple[str, str]
    error: float
    limit: float

    @property
    def beyond(self) -> bool:
        """Whether two right devices would not differ so much."""
        return not self.error <= self.limit


@dataclass
class Fingerprint:
    """A file's entries, by kind."""

    path: str
    run: dict
    batches: list[dict]
    tensors: list[dict]


def read_fingerprint(path: str | Path) -> Fingerprint:
    """Read a file of `run_ALM.py --fingerprint`. Raises FingerprintError where it is something else."""
    try:
        with open_regular(path, MOST_BYTES) as file:
            lines = file.read().decode("utf-8").splitlines()
    except OSError as error:
        raise FingerprintError(f"cannot read {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        lines = []
    kinds = {"run": [], "batch": [], "tensor": []}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            kinds[entry["type"]].append(checked(entry))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FingerprintError(
                f"{path}:{number}: no entry of a fingerprint; run_ALM.py --fingerprint FILE writes one"
            ) from error
    if len(kinds["run"]) != 1 or not kinds["tensor"]:
        raise FingerprintError(f"{path} is no whole fingerprint; run_ALM.py --fingerprint FILE writes one")
    return Fingerprint(str(path), kinds["run"][0], kinds["batch"], kinds["tensor"])


def checked(entry: dict) -> dict:
    """Return an entry; an error of Python's where a part is missing or of another kind."""
    for name, kind in PARTS[entry["type"]].items():
        if not isinstance(entry[name], kind):
            raise TypeError(name)
    if entry["type"] == "run" and (entry["format"] != FORMAT or entry["precision"] not in LIMITS):
        raise ValueError("another format or precision")
    if entry["type"] == "tensor":
        if entry["stage"] not in STAGES:
            raise ValueError("another stage")
        for name in NUMBERS:
            entry[name] = float(entry[name])
    return entry


def starts_apart(first: Fingerprint, second: Fingerprint) -> Iterator[str]:
    """Yield what the two did not have in common before anything was computed: weights, pictures, labels."""
    if first.run["weights"] != second.run["weights"]:
        yield "the weights that they started from"
    for a, b in zip(first.batches, second.batches, strict=False):
        for name in ("images", "labels", "mirror"):
            if a[name] != b[name]:
                yield f"the {name} of iteration {a['iteration']}"


def compare(first: Fingerprint, second: Fingerprint) -> list[Difference]:
    """Return the difference of each tensor that both have, in the first one's order of execution.

    Raises FingerprintError where they have none in common.
    """
    others = {(entry["iteration"], entry["stage"], entry["name"]): entry for entry in second.tensors}
    pairs = [
        (entry, others[key])
        for entry in first.tensors
        if (key := (entry["iteration"], entry["stage"], entry["name"])) in others
    ]
    if not pairs:
        raise FingerprintError(
            f"{first.path} and {second.path} have no tensor in common; are they of one model?"
        )
    sizes = sibling_sizes(pairs)
    coarser = max(first.run["precision"], second.run["precision"], key=list(LIMITS).index)
    return [difference(a, b, sizes, coarser) for a, b in pairs]


def sibling_sizes(pairs: Sequence[tuple[dict, dict]]) -> dict[tuple, float]:
    """Return the largest norm in each layer, of its gradients and of its weights: a bias's gradient may be
    zero but for rounding, as before a batch normalization, and Adam moves the bias all the same.
    """
    sizes: dict[tuple, float] = {}
    for pair in pairs:
        for entry in pair:
            if entry["stage"] != "forward":
                key = entry["iteration"], entry["stage"], layer(entry["name"])
                sizes[key] = max(sizes.get(key, 0.0), entry["norm"] if math.isfinite(entry["norm"]) else 0.0)
    return sizes


def layer(name: str) -> str:
    """Return the layer that a parameter belongs to."""
    return name.rpartition(".")[0]


def difference(a: dict, b: dict, sizes: dict[tuple, float], precision: str) -> Difference:
    """Return how far two entries of one tensor are apart, and may be in a precision."""
    size = max(a["norm"], b["norm"])
    size = max(size, sizes.get((a["iteration"], a["stage"], layer(a["name"])), 0.0))
    if a["nonfinite"] != b["nonfinite"] or a["shape"] != b["shape"]:
        error = math.inf
    elif a["nonfinite"]:
        error = 0.0  # both have them, and the other numbers say nothing
    else:
        apart = max(abs(a[name] - b[name]) for name in ("norm", "projection_1", "projection_2"))
        error = apart / size if size else 0.0
    limit = (LATER if a["iteration"] else LIMITS)[precision][STAGES.index(a["stage"])]
    return Difference(a["iteration"], a["stage"], a["name"], (a["dtype"], b["dtype"]), error, limit)


def by_stage(differences: Sequence[Difference]) -> dict[tuple[int, str], list[Difference]]:
    """Return the differences of each iteration's stages, in order of execution."""
    groups: dict[tuple[int, str], list[Difference]] = {}
    for entry in differences:
        groups.setdefault((entry.iteration, entry.stage), []).append(entry)
    return groups
