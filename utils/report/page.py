"""The report of an evaluation: one HTML file that needs nothing else, and runs nothing but its own script.

Everything that is put into the page is escaped by jinja2; its policy (CSP) forbids all requests, and all
scripts and styles but the two here, by their digests.
"""

import base64
import hashlib
import math
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alm import __version__
from utils.evaluation.pointing import AVERAGE, IOU, POINTING, TITLES, WINNING, verdicts
from utils.evaluation.significance import FIGURES
from utils.io.untrusted import printable
from utils.prediction.drawing import level_styles
from utils.report import mistakes as shots
from utils.report import text
from utils.report.charts import Chart, Curve, chart
from utils.report.evaluation import Evaluation
from utils.report.mistakes import mistaken, winning_shares, wrong_together
from utils.runs.history import History

PAIRS = 15  # of attributes that are mistaken together


def headline(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Return each figure with its interval, in percent."""
    record = evaluation.record
    return [
        (title.partition("_")[0], text.percent(record[key], 2), text.interval(record["intervals"][key]))
        for key, title in FIGURES.items()
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
    colours = [style.colour for style in level_styles(evaluation.boxes).values()]
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


HERE = Path(__file__).parent


def render(evaluation: Evaluation) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # Markup is its own type
    )
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        content(evaluation),
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        percent=text.percent,
        source=text.source,
        undefined=text.UNDEFINED,
        version=__version__,
    )


def content(evaluation: Evaluation) -> dict:
    """Return all that stands in the page."""
    record, wrong = evaluation.record, mistaken(evaluation.logits, evaluation.labels)
    return {
        "title": f"{record['experiment']}: {record['approach']}, epoch {record['epoch']}",
        "lead": text.lead(evaluation),
        "notes": text.which_epoch(evaluation),
        "headline": headline(evaluation),
        "how_sure": text.how_sure(record["intervals"]),
        "charts": course(evaluation.history),
        "epochs": evaluation.history.evaluations,
        "attributes": attributes(evaluation),
        "worst": shots.worst(evaluation, wrong),
        "shots_are": text.shots_are(evaluation.levels),
        "levels": levels(evaluation),
        "colours": {level: style.colour for level, style in level_styles(evaluation.boxes).items()},
        "pointing": pointing(evaluation),
        "together": together(evaluation, wrong),
        "about": evaluation.about,
        "options": evaluation.options,
    }


def policy(style: str, script: str) -> str:
    """Return the page's content security policy."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{digest(style)}'; script-src '{digest(script)}'"
    )


def digest(inline: str) -> str:
    """Return what a policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode("ascii")
