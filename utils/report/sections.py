"""What stands in each section of the report: plain values, which the page lays out and escapes."""

import math

import numpy as np

from utils.evaluation.pointing import AVERAGE, WINNING
from utils.evaluation.pointing_report import IOU, POINTING, TITLES, verdicts
from utils.prediction.drawing import COLOURS
from utils.report import text
from utils.report.charts import Chart, Curve, chart
from utils.report.evaluation import Evaluation
from utils.report.mistakes import winning_shares, wrong_together
from utils.runs.history import History
from utils.runs.log_text import FIGURES

PAIRS = 15  # of attributes that are mistaken together


def headline(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Return each figure with its interval, in percent."""
    record = evaluation.record
    return [
        (title.partition("_")[0], text.percent(record[key], 2), text.interval(record["intervals"][key]))
        for title, key in FIGURES
    ]


def course(history: History) -> list[Chart]:
    """Return the charts of loss and mA by epoch."""
    evaluated = {
        name: [(epoch, of[name]) for epoch, of in history.evaluations.items() if of[name] is not None]
        for name in ("loss", "ma")
    }
    loss = [Curve("training", history.training), Curve("evaluation", evaluated["loss"])]
    ma = [Curve("evaluation", [(epoch, 100 * value) for epoch, value in evaluated["ma"]])]
    return list(filter(None, (chart("Loss by epoch", loss), chart("mA in % by epoch", ma))))


def attributes(evaluation: Evaluation) -> list[dict]:
    """Return the table's rows: figures and counts of each attribute."""
    return [
        dict(row)
        | {
            f"{kind}_recall": row[f"true_{kind}"] / row[kind] if row[kind] else None
            for kind in ("positive", "negative")
        }
        for row in evaluation.record["attributes"]
    ]


def levels(evaluation: Evaluation) -> list[dict]:
    """Return for each attribute the share of each branch where it is predicted; none for a single branch."""
    if len(evaluation.levels) == 1:
        return []
    predicted = evaluation.logits > 0
    shares = winning_shares(evaluation.branches, predicted).T
    colours = [COLOURS[level] for level in evaluation.levels]
    return [
        {
            "name": name,
            "shares": [None if math.isnan(share) else share for share in row.tolist()],
            "predicted": int(count),
            "parts": parts(row, colours),
        }
        for name, row, count in zip(evaluation.attributes, shares, predicted.sum(axis=0), strict=True)
    ]


def parts(shares: np.ndarray, colours: list[str]) -> list[tuple[float, float, str]]:
    """Return a bar's parts: start and width in percent, and colour; none where the shares are undefined."""
    if np.isnan(shares).any():
        return []
    starts = 100 * (np.cumsum(shares) - shares)
    return [
        (round(start, 2), round(100 * share, 2), colour)
        for start, share, colour in zip(starts.tolist(), shares.tolist(), colours, strict=True)
        if share
    ]


def pointing(evaluation: Evaluation) -> dict | None:
    """Return how the regions meet true boxes, where there are any."""
    found = evaluation.pointing
    if found is None:
        return None
    columns = [(WINNING, POINTING), (AVERAGE, POINTING), (WINNING, IOU), (AVERAGE, IOU)]
    return {
        "verdicts": verdicts(found),
        "boxes": int(found.boxes.sum()),
        "count": found.attributes,
        "titles": [title.capitalize() if title.islower() else title for title in TITLES],
        "means": [(name, values.tolist()) for name, values in found.means().items()],
        "attributes": [
            {
                "name": name,
                "boxes": int(found.boxes[k]),
                "measured": [
                    None if math.isnan(value) else value
                    for value in (float(found.figures[source][measure, k]) for source, measure in columns)
                ],
            }
            for k, name in enumerate(evaluation.attributes)
            if found.boxes[k]
        ],
    }


def together(evaluation: Evaluation, wrong: np.ndarray) -> list[dict]:
    """Return the pairs of attributes that are mistaken together, of mistakes (N, K)."""
    names = evaluation.attributes
    return [
        pair._asdict() | {"first": names[pair.first], "second": names[pair.second]}
        for pair in wrong_together(wrong, PAIRS)
    ]
