"""What the comparison of two fingerprints found, in lines and as JSON; needs neither torch nor alm."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import median

from utils.diagnostics.fingerprint_comparison import Difference, Fingerprint, by_stage
from utils.diagnostics.operator_report import finite, ratio, row

RUN = ("device", "machine", "torch", "precision", "batch_size", "seed")
STAGES = ("iteration", 9), ("stage", 21), ("tensors", 7), ("median", 9), ("largest", 9), ("limit", 9), ("", 0)


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
    yield from ("", row(STAGES, *(name for name, _ in STAGES)))
    for (iteration, stage), group in by_stage(differences).items():
        errors = [entry.error for entry in group]
        beyond = sum(entry.beyond for entry in group)
        yield row(
            STAGES, str(iteration), stage, str(len(group)), ratio(median(errors)), ratio(max(errors)),
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
