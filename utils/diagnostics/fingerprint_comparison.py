"""Two fingerprints of the same iterations compared, in order of execution; needs neither torch nor alm."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from alm.errors import AlmError
from utils.diagnostics.operator_report import finite, ratio, row
from utils.io.figure import cut, drawable, drawn_figure
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
    """Read a file of `run_ALM.py --fingerprint`. Raises AlmError where it is something else."""
    try:
        with open_regular(path, MOST_BYTES) as file:
            lines = file.read().decode("utf-8").splitlines()
    except OSError as error:
        raise AlmError(f"cannot read {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        lines = []
    kinds = {"run": [], "batch": [], "tensor": []}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            kinds[entry["type"]].append(checked(entry))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise AlmError(
                f"{path}:{number}: no entry of a fingerprint; run_ALM.py --fingerprint FILE writes one"
            ) from error
    if len(kinds["run"]) != 1 or not kinds["tensor"]:
        raise AlmError(f"{path} is no whole fingerprint; run_ALM.py --fingerprint FILE writes one")
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

    Raises AlmError where they have none in common.
    """
    others = {(entry["iteration"], entry["stage"], entry["name"]): entry for entry in second.tensors}
    pairs = [
        (entry, others[key])
        for entry in first.tensors
        if (key := (entry["iteration"], entry["stage"], entry["name"])) in others
    ]
    if not pairs:
        raise AlmError(f"{first.path} and {second.path} have no tensor in common; are they of one model?")
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


RUN = ("device", "machine", "torch", "precision", "batch_size", "seed")
STAGE_TITLES = (
    ("iteration", 9), ("stage", 21), ("tensors", 7), ("median", 9), ("largest", 9), ("limit", 9), ("", 0),
)  # fmt: skip


def lines(
    first: Fingerprint, second: Fingerprint, apart: Sequence[str], differences: Sequence[Difference]
) -> Iterator[str]:
    """Yield the report: what both started from, each stage's differences, the first that is too large."""
    for fingerprint in (first, second):
        about = ", ".join(f"{name} {fingerprint.run[name]}" for name in RUN if name in fingerprint.run)
        yield f"{fingerprint.path}: {about}"
    if apart:
        yield f"They did not start alike; different are {'; '.join(apart)}. That alone explains what follows."
    else:
        yield "Both started from the same weights and saw the same pictures, labels and mirroring."
    yield from ("", row(STAGE_TITLES, *(name for name, _ in STAGE_TITLES)))
    for (iteration, stage), group in by_stage(differences).items():
        errors = [entry.error for entry in group]
        beyond = sum(entry.beyond for entry in group)
        yield row(
            STAGE_TITLES, str(iteration), stage, str(len(group)), ratio(median(errors)), ratio(max(errors)),
            ratio(max(entry.limit for entry in group)), f"{beyond} beyond" if beyond else "",
        )  # fmt: skip
    yield from ("", *verdict(apart, differences))


def verdict(apart: Sequence[str], differences: Sequence[Difference]) -> Iterator[str]:
    """Yield the verdict, and the first tensor that differs too much, in order of execution."""
    first = next((entry for entry in differences if entry.beyond), None)
    if first is not None:
        kinds = " and ".join(dict.fromkeys(first.dtypes))
        yield "fail: the first that differs by more than its type allows, in order of execution:"
        yield f"  iteration {first.iteration}, {first.stage}, {first.name} ({kinds})"
        yield f"  apart by {ratio(first.error)} of its size; the limit is {ratio(first.limit)}"
    elif apart:
        yield "fail: they did not start alike"
    else:
        yield "pass: no tensor differs by more than its type allows"


def record(
    first: Fingerprint, second: Fingerprint, apart: Sequence[str], differences: Sequence[Difference]
) -> dict:
    """Return the findings for JSON."""
    beyond = [entry for entry in differences if entry.beyond]
    return {
        "passed": not apart and not beyond,
        "runs": [first.run, second.run],
        "apart_from_the_start": list(apart),
        "first_beyond": asdict(beyond[0]) | {"error": finite(beyond[0].error)} if beyond else None,
        "differences": [asdict(entry) | {"error": finite(entry.error)} for entry in differences],
    }


SIZE = 10, 5.5
COLORS = {"forward": "#0072b2", "gradient": "#d55e00", "weight after the step": "#009e73"}  # Okabe and Ito
LEAST = 1e-12  # where equal tensors are drawn


def plot_fingerprints(differences: Sequence[Difference], first: str, second: str, path: str | Path) -> None:
    """Draw each tensor's difference, in order of execution, below or above its limit. Raises AlmError."""
    names = cut(first, 40), cut(second, 40)
    beyond = next((index for index, entry in enumerate(differences) if entry.beyond), None)
    with drawn_figure(path, SIZE, "".join(names)) as figure:
        axes = figure.add_subplot()
        start = 0
        for (iteration, stage), group in by_stage(differences).items():
            places = range(start, start + len(group))
            label = stage if iteration == differences[0].iteration else None
            heights = [drawn_height(entry.error) for entry in group]
            axes.plot(places, heights, ".", markersize=4, color=COLORS[stage], label=label)
            axes.plot(places, [entry.limit for entry in group], color=COLORS[stage], linewidth=1, alpha=0.6)
            start += len(group)
        if beyond is not None:
            entry = differences[beyond]
            where = f"{entry.stage}, iteration {entry.iteration}"
            axes.axvline(beyond, color="black", linewidth=0.8, linestyle=":")
            axes.annotate(
                drawable(f" first beyond its limit: \n {cut(entry.name, 48)} \n {where} "),
                (beyond, 0.25), xycoords=("data", "axes fraction"), va="top", fontsize=8,
                ha="left" if beyond < len(differences) / 2 else "right",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("tensors in order of execution")
        axes.set_ylabel("difference relative to the tensor's size (lines: limits)")
        axes.set_title(drawable(f"{names[1]} against {names[0]}"), fontsize=10)
        axes.legend(loc="lower right", fontsize=8)
        axes.grid(alpha=0.3)


def drawn_height(error: float) -> float:
    """Return an error where a logarithmic axis has it."""
    return min(max(error, LEAST), 1e3) if math.isfinite(error) else 1e3
