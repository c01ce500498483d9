"""What the report says in words, and how it writes numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from alm.constants import BEST, GLOBAL, UNKNOWN
from utils.data.catalog import EXPERIMENTS
from utils.evaluation.significance import FEWEST
from utils.report.evaluation import Evaluation

UNDEFINED = "n/a"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in points of 100, `n/a` where it is undefined."""
    return UNDEFINED if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def interval(ends: list[float] | None) -> str:
    """Return a 95 % interval in points of 100."""
    return "no interval" if ends is None else f"{percent(ends[0], 2)} to {percent(ends[1], 2)}"


def probability(logit: float) -> str:
    """Return what a logit means, in percent, never rounded to certainty."""
    share = 100 / (1 + math.exp(-min(max(logit, -700), 700)))
    return "under 1 %" if share < 1 else "over 99 %" if share > 99 else f"{share:.0f} %"


def source(level: str) -> str:
    """Return which branch a probability is from."""
    return "global branch" if level == GLOBAL else f"level {level}"


def how_sure(intervals: Mapping) -> str:
    """Return what the intervals are from."""
    if intervals["units"] < FEWEST:
        return (
            f"No intervals: {intervals['units']} {intervals['resampled']} are too few, {FEWEST} are needed."
        )
    return (
        f"95 % intervals from {intervals['draws']:,} draws of the list's {intervals['units']:,} "
        f"{intervals['resampled']} with replacement: what other pictures could have made of the figures. "
        "Another training's seed is not in them."
    )


def lead(evaluation: Evaluation) -> str:
    """Return what the page is about."""
    record, label = evaluation.record, Path(evaluation.pictures.label).name
    pictures = counted(record["listed"], "picture")
    if record["pictures"] < record["listed"]:
        pictures = f"{record['pictures']:,} of {pictures}"
    attributes = counted(len(record["attributes"]), "attribute")
    sentence = f"{evaluation.evaluated} evaluated on {label}: {pictures}, {attributes}."
    if unknown := int((evaluation.labels == UNKNOWN).sum()):
        sentence += f" Unknown labels ({unknown:,}) are left out of every figure."
    return sentence


def counted(count: int, noun: str) -> str:
    """Return so many things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def which_epoch(evaluation: Evaluation) -> list[str]:
    """Return what must be known of the epoch before its figures are quoted."""
    record, name = evaluation.record, evaluation.evaluated
    sentences = []
    experiment = EXPERIMENTS.get(record["experiment"])
    if experiment and experiment.val_is_test:
        sentences.append(
            "The published evaluation list of this data set is its test list. An epoch that is chosen by it, "
            f"as {BEST} is, is chosen by its own examination: quote the last epoch."
        )
    if name.startswith("best."):
        sentences.append(
            f"This is {name}, chosen for its mA on the list it was evaluated on: do not quote it."
        )
    if record["experiment"] == "synthetic":
        sentences.append("These people are drawn: what holds of them need not hold of photographs.")
    evaluations = evaluation.history.evaluations
    last = max(evaluations, default=0)
    if last > record["epoch"]:
        ma = percent(evaluations[last]["ma"], 2)
        sentences.append(f"This is not the run's last epoch, which is {last} with an mA of {ma} %.")
    return sentences


def shots_are(levels: Sequence[str]) -> str:
    """Return what the pictures of mistakes show."""
    sentence = (
        "Of each attribute the pictures where the network is surest and wrong, with its probability; only "
        "one of each person, where the paths tell who it is."
    )
    if len(levels) > 1:
        sentence += (
            " A box is where a level looked; the strong one is of the level whose probability it is, and a "
            "frame around the picture stands for the global branch."
        )
    return sentence
