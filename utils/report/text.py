"""The sentences of the report, and how it writes numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from alm.constants import BEST, GLOBAL, UNKNOWN
from utils.data.catalog import EXPERIMENTS
from utils.evaluation.results import lacking
from utils.evaluation.significance import FEWEST
from utils.evaluation.thresholds import about_thresholds
from utils.io import phrases
from utils.io.phrases import counted
from utils.report.evaluation import Report

UNDEFINED = "n/a"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share times 100, `n/a` if it is undefined."""
    return UNDEFINED if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def interval(ends: list[float] | None) -> str:
    """Return a 95 % interval of a share, times 100."""
    return "no interval" if ends is None else f"{percent(ends[0], 2)} to {percent(ends[1], 2)}"


def probability(logit: float) -> str:
    """Return the probability of a logit in percent, never rounded to certainty."""
    share = 100 / (1 + math.exp(-min(max(logit, -700), 700)))
    return "under 1 %" if share < 1 else "over 99 %" if share > 99 else f"{share:.0f} %"


def branch(name: str) -> str:
    return "global branch" if name == GLOBAL else f"level {name}"


def ma_title(record: Mapping) -> str:
    return phrases.ma_title(record["ma_attributes"], len(record["attributes"]))


def lead(report: Report) -> str:
    record, label = report.record, Path(report.pictures.label).name
    pictures = counted(record["listed"], "picture")
    if record["pictures"] < record["listed"]:
        pictures = f"{record['pictures']:,} of {pictures}"
    attributes = counted(len(record["attributes"]), "attribute")
    sentence = f"{report.evaluated} evaluated on {label}: {pictures}, {attributes}."
    if unknown := int((report.labels == UNKNOWN).sum()):
        sentence += f" Unknown labels ({unknown:,}) are left out of every figure."
    if undefined := [row["name"] for row in record["attributes"] if row["ma"] is None]:
        sentence += f" This is the {ma_title(record)}; {lacking(undefined)}."
    return sentence


def epoch_notes(report: Report) -> list[str]:
    """Return what a reader must know about the epoch and the thresholds before quoting the figures."""
    record, name = report.record, report.evaluated
    sentences = []
    experiment = EXPERIMENTS.get(record["experiment"])
    if experiment and experiment.val_is_test:
        sentences.append(
            "The published evaluation list of this data set is its test list. An epoch that was chosen by "
            f"its figures on this list, like {BEST}, looks better than it is: quote the last epoch."
        )
    if name.startswith("best."):
        sentences.append(
            f"This is {name}, chosen for its mA on the list it was evaluated on: do not quote it."
        )
    if record["experiment"] == "synthetic":
        sentences.append("These people are drawn: what is true of them may not be true of photographs.")
    if "thresholds" in record:
        sentences.append(about_thresholds(record["thresholds"], report.pictures.label))
    evaluations = report.history.evaluations
    last = max(evaluations, default=0)
    if last > record["epoch"]:
        ma = percent(evaluations[last]["ma"], 2)
        sentences.append(f"This is not the run's last epoch: that is epoch {last}, with an mA of {ma} %.")
    if others := report.history.on_other_lists:
        evaluations = counted(others, "evaluation")
        sentences.append(
            f"The course of the training leaves out {evaluations} on another list than this one."
        )
    return sentences


def about_intervals(intervals: Mapping) -> str:
    if intervals["units"] < FEWEST:
        return (
            f"No intervals: {intervals['units']} {intervals['resampled']} are too few, {FEWEST} are needed."
        )
    sentences = (
        f"95 % intervals from {intervals['draws']:,} draws of the list's {intervals['units']:,} "
        f"{intervals['resampled']} with replacement. They show how far the figures depend on the choice of "
        "pictures; the seed of the training adds to that."
    )
    if undefined := intervals["ma_undefined_draws"]:
        sentences += (
            f" {undefined:,} draws have no positives or no negatives of an attribute, and no part in mA's "
            "interval."
        )
    return sentences


def about_predictions(record: Mapping) -> str:
    threshold = f"its threshold in {record['thresholds']}" if "thresholds" in record else "50 %"
    return f"An attribute is predicted if its probability is over {threshold}."


def about_mistakes(branches: Sequence[str]) -> str:
    sentences = (
        "For each attribute, the pictures where the network is surest and wrong, with its probability. Each "
        "person appears once, if the paths tell who it is."
    )
    if len(branches) > 1:
        sentences += (
            " A box shows where a level looked. The thick one is that of the level whose probability it is; "
            "a frame around the picture stands for the global branch. The small pictures show how much each "
            "place speaks for the attribute, the more the yellower: above in that branch alone, below in all "
            "four together. The ring is at the strongest place."
        )
    return sentences


def about_levels(branches: Sequence[str]) -> str:
    return (
        "Each attribute's probability is the highest of the levels' and the global branch's. The table says "
        f"how often each of them had the highest. {branches[0]} is the finest level, {branches[-2:][0]} the "
        f"coarsest; {branches[-1]}, the global branch, sees the whole picture."
    )
