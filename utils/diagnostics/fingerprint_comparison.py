"""Two fingerprints of the same iterations compared, in order of execution. Needs no torch."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from alm.errors import AlmError
from utils.diagnostics.operator_report import finite, ratio_text, table_head, table_row
from utils.io.figure import BLUE, GREEN, VERMILION, cut, drawable, drawn_figure
from utils.io.phrases import counted
from utils.io.untrusted import open_regular

FORMAT = "alm-fingerprint-1"
NUMBERS = ("norm", "largest", "nonfinite", "projection_1", "projection_2")
STAGES = ("forward", "gradient", "weight after the step")
BATCH = ("batch", "")  # in the place of stage and name
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
# In later iterations: Adam moves a weight by its rate, however small its gradient, so these start apart.
LATER = {"float32": (0.6, 6.0, 3e-2), "fp16": (3.0, 12.0, 8e-2), "bf16": (7.0, 20.0, 0.12)}
MOST_BYTES = 200 << 20  # a default run's file has half a million
ADVICE = "run_ALM.py --fingerprint FILE writes one"

ABOUT = ("device", "machine", "torch", "precision", "batch_size", "seed")
TABLE = (
    ("iteration", 9), ("stage", 21), ("tensors", 7), ("median", 9), ("largest", 9), ("limit", 9), ("", 0),
)  # fmt: skip
COLOURS = dict(zip(STAGES, (BLUE, VERMILION, GREEN), strict=True))
LEAST_HEIGHT, MOST_HEIGHT = 1e-12, 1e3  # where equal tensors and infinite differences are drawn


@dataclass
class FingerprintFile:
    """A file's entries, by kind."""

    path: str
    run: dict
    batches: list[dict]
    tensors: list[dict]


@dataclass
class Difference:
    """One tensor in both fingerprints: `error` is relative to its size, `limit` what its type allows.
    `is_finite` says so of each file's; if one has NaN or infinity, the error is infinite.
    """

    iteration: int
    stage: str
    name: str
    dtypes: tuple[str, str]
    error: float
    limit: float
    is_finite: tuple[bool, bool]

    @property
    def is_beyond(self) -> bool:
        return not self.error <= self.limit


@dataclass
class FingerprintComparison:
    """Two fingerprints; in words, how they differ before anything is computed, and what either lacks; and
    each tensor's difference, in order of execution.
    """

    first: FingerprintFile
    second: FingerprintFile
    apart: list[str]
    gaps: list[str]
    differences: list[Difference]

    @property
    def beyond(self) -> list[Difference]:
        return [entry for entry in self.differences if entry.is_beyond]

    @property
    def passed(self) -> bool:
        """Whether both started alike, have all that either was to have, and stayed within the limits."""
        return not (self.apart or self.gaps or self.beyond)

    def by_stage(self) -> dict[tuple[int, str], list[Difference]]:
        groups: dict[tuple[int, str], list[Difference]] = {}
        for entry in self.differences:
            groups.setdefault((entry.iteration, entry.stage), []).append(entry)
        return groups


def read_fingerprint(path: str | Path) -> FingerprintFile:
    """Read a file of `run_ALM.py --fingerprint`. Raises AlmError if it is something else."""
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
            kinds[entry["type"]].append(_check_entry(entry))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise AlmError(f"{path}:{number}: this is no entry of a fingerprint; {ADVICE}") from error
    if len(kinds["run"]) != 1 or not kinds["tensor"]:
        raise AlmError(f"{path} is no whole fingerprint; {ADVICE}")
    return FingerprintFile(str(path), kinds["run"][0], kinds["batch"], kinds["tensor"])


def _check_entry(entry: dict) -> dict:
    """Return an entry with floats for its numbers; raises an error of Python's if a part is wrong."""
    for name, kind in PARTS[entry["type"]].items():
        if not isinstance(entry[name], kind):
            raise TypeError(name)
    if entry["type"] == "run":
        if entry["format"] != FORMAT or entry["precision"] not in LIMITS:
            raise ValueError("another format or precision")
        if not isinstance(entry.get("iterations", 0), int):  # files of version 1.1 lack it
            raise TypeError("iterations")
    if entry["type"] == "tensor":
        if entry["stage"] not in STAGES:
            raise ValueError("another stage")
        entry |= {name: float(entry[name]) for name in NUMBERS}
    return entry


def compare_fingerprints(first: FingerprintFile, second: FingerprintFile) -> FingerprintComparison:
    """Compare the tensors that both have. Raises AlmError if they have none in common."""
    others = {_place(entry): entry for entry in second.tensors}
    pairs = [(entry, others[_place(entry)]) for entry in first.tensors if _place(entry) in others]
    if not pairs:
        raise AlmError(f"{first.path} and {second.path} have no tensor in common; are they of one model?")
    sizes = _layer_sizes(pairs)
    coarser = max(first.run["precision"], second.run["precision"], key=list(LIMITS).index)
    differences = [_difference(a, b, sizes, coarser) for a, b in pairs]
    apart, gaps = _starts_apart(first, second), _gaps(first, second)
    return FingerprintComparison(first, second, list(apart), list(gaps), differences)


def _place(entry: dict) -> tuple[int, str, str]:
    return entry["iteration"], *(BATCH if entry["type"] == "batch" else (entry["stage"], entry["name"]))


def _place_text(iteration: int, stage: str, name: str) -> str:
    return ", ".join(filter(None, (f"iteration {iteration}", stage, name)))


def _starts_apart(first: FingerprintFile, second: FingerprintFile) -> Iterator[str]:
    if first.run["weights"] != second.run["weights"]:
        yield "the weights that they started from"
    others = {batch["iteration"]: batch for batch in second.batches}
    for batch in first.batches:
        other = others.get(batch["iteration"], batch)
        for name in ("images", "labels", "mirror"):
            if batch[name] != other[name]:
                yield f"the {name} of iteration {batch['iteration']}"


def _gaps(*files: FingerprintFile) -> Iterator[str]:
    """Yield what a file lacks of the iterations that either was to have, and of their entries: each iteration
    has a batch and the same tensors, some of each stage.
    """
    places = [{_place(entry): None for entry in (*file.batches, *file.tensors)} for file in files]
    iterations = sorted({iteration for has in places for iteration, *_ in has})
    kinds = dict.fromkeys([BATCH, *((stage, name) for has in places for _, stage, name in has)])
    for stage in STAGES:
        if stage not in {stage for stage, _ in kinds}:
            yield f"{' and '.join(file.path for file in files)} have no entry of the stage {stage!r}"
    to_have = max(len(iterations), *(file.run.get("iterations", 0) for file in files))
    for file, has in zip(files, places, strict=True):
        whole = len(iterations) * len(kinds)
        if (count := len({iteration for iteration, *_ in has})) < to_have:
            yield (
                f"{file.path} has {count} of {to_have} iterations: its run ended early, or had another "
                "--fingerprint_iters"
            )
        elif len(has) < whole:
            first = next((i, *kind) for i in iterations for kind in kinds if (i, *kind) not in has)
            yield f"{file.path} lacks {whole - len(has)} of {whole} entries, the first: {_place_text(*first)}"


def _layer(entry: dict) -> tuple[int, str, str]:
    return entry["iteration"], entry["stage"], entry["name"].rpartition(".")[0]


def _layer_sizes(pairs: list[tuple[dict, dict]]) -> dict[tuple, float]:
    """Return the largest norm in each layer, of its gradients and of its weights. It counts because a bias's
    gradient may be zero but for rounding, as before a batch normalization, and Adam still moves the bias.
    """
    sizes: dict[tuple, float] = {}
    for entry in (entry for pair in pairs for entry in pair):
        if entry["stage"] != "forward" and math.isfinite(entry["norm"]):
            sizes[_layer(entry)] = max(sizes.get(_layer(entry), 0.0), entry["norm"])
    return sizes


def _difference(a: dict, b: dict, sizes: dict[tuple, float], precision: str) -> Difference:
    size = max(a["norm"], b["norm"], sizes.get(_layer(a), 0.0))
    is_finite = _is_finite(a), _is_finite(b)
    if not all(is_finite) or a["shape"] != b["shape"]:
        error = math.inf
    else:
        apart = max(abs(a[name] - b[name]) for name in ("norm", "projection_1", "projection_2"))
        error = apart / size if size else 0.0
    limit = (LATER if a["iteration"] else LIMITS)[precision][STAGES.index(a["stage"])]
    return Difference(*_place(a), (a["dtype"], b["dtype"]), error, limit, is_finite)


def _is_finite(entry: dict) -> bool:
    """Whether a tensor is finite, and its numbers, which add up its values, are too."""
    return not entry["nonfinite"] and all(math.isfinite(entry[name]) for name in NUMBERS)


def fingerprint_lines(comparison: FingerprintComparison) -> Iterator[str]:
    for file in (comparison.first, comparison.second):
        yield f"{file.path}: {', '.join(f'{name} {file.run[name]}' for name in ABOUT if name in file.run)}"
    if comparison.apart:
        differences = "; ".join(comparison.apart)
        yield f"They did not start alike: they differ in {differences}. That alone explains what follows."
    elif not comparison.gaps:
        yield "Both started from the same weights and saw the same pictures, labels and mirroring."
    yield from ("", table_head(TABLE))
    for (iteration, stage), group in comparison.by_stage().items():
        errors = [entry.error for entry in group]
        beyond = sum(entry.is_beyond for entry in group)
        yield table_row(
            TABLE, str(iteration), stage, str(len(group)), ratio_text(median(errors)),
            ratio_text(max(errors)), ratio_text(max(entry.limit for entry in group)),
            f"{beyond} beyond" if beyond else "",
        )  # fmt: skip
    yield from ("", *comparison.gaps)
    if comparison.beyond:
        yield from _first_lines(comparison)
    elif comparison.apart:
        yield "fail: they did not start alike"
    elif comparison.gaps:
        yield "fail: not all was compared"
    else:
        tensors = counted(comparison.differences, "tensor")
        iterations = counted({entry.iteration for entry in comparison.differences}, "iteration")
        yield f"pass: none of {tensors} of {iterations} differs by more than its type allows"


def _first_lines(comparison: FingerprintComparison) -> Iterator[str]:
    """Yield the verdict on the first tensor beyond its limit."""
    first = comparison.beyond[0]
    files = comparison.first.path, comparison.second.path
    not_finite = [path for path, is_finite in zip(files, first.is_finite, strict=True) if not is_finite]
    what = "is not finite" if not_finite else "differs by more than its type allows"
    yield f"fail: the first that {what}, in order of execution:"
    types = " and ".join(dict.fromkeys(first.dtypes))
    yield f"  {_place_text(first.iteration, first.stage, first.name)} ({types})"
    if not_finite:
        yield f"  not finite in {' and '.join(not_finite)}"
    else:
        yield f"  apart by {ratio_text(first.error)} of its size; the limit is {ratio_text(first.limit)}"


def fingerprint_record(comparison: FingerprintComparison) -> dict:
    """Return the findings for JSON: an infinite error is null."""

    def record(difference: Difference) -> dict:
        return asdict(difference) | {"error": finite(difference.error)}

    return {
        "passed": comparison.passed,
        "runs": [comparison.first.run, comparison.second.run],
        "apart_from_the_start": comparison.apart,
        "not_compared": comparison.gaps,
        "first_beyond": record(comparison.beyond[0]) if comparison.beyond else None,
        "differences": list(map(record, comparison.differences)),
    }


def plot_fingerprints(comparison: FingerprintComparison, path: str | Path) -> None:
    """Draw each tensor's difference, in order of execution, below or above its limit. Raises AlmError."""
    names = cut(comparison.first.path, 40), cut(comparison.second.path, 40)
    differences = comparison.differences
    with drawn_figure(path, (10, 5.5), "".join(names)) as figure:
        axes = figure.add_subplot()
        start = 0
        for (iteration, stage), group in comparison.by_stage().items():
            places = range(start, start + len(group))
            label = stage if iteration == differences[0].iteration else None
            heights = [_height(entry.error) for entry in group]
            axes.plot(places, heights, ".", markersize=4, color=COLOURS[stage], label=label)
            axes.plot(places, [entry.limit for entry in group], color=COLOURS[stage], linewidth=1, alpha=0.6)
            start += len(group)
        if comparison.beyond:
            entry = comparison.beyond[0]
            index = differences.index(entry)
            axes.axvline(index, color="black", linewidth=0.8, linestyle=":")
            name = drawable(cut(entry.name, 48))
            axes.annotate(
                f" first beyond its limit: \n {name} \n {entry.stage}, iteration {entry.iteration} ",
                (index, 0.25), xycoords=("data", "axes fraction"), va="top", fontsize=8,
                ha="left" if index < len(differences) / 2 else "right",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("tensors in order of execution")
        axes.set_ylabel("difference relative to the tensor's size (lines: limits)")
        axes.set_title(drawable(f"{names[1]} against {names[0]}"), fontsize=10)
        axes.legend(loc="lower right", fontsize=8)
        axes.grid(alpha=0.3)


def _height(error: float) -> float:
    return min(max(error, LEAST_HEIGHT), MOST_HEIGHT) if math.isfinite(error) else MOST_HEIGHT
