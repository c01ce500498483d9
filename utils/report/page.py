"""The report of an evaluation: one HTML file that needs no other file, and runs no script but its own.

jinja2 escapes everything that comes into the page. The page's policy (CSP) forbids all requests, and all
scripts and styles but the two here, which it knows by their digests.
"""

import base64
import hashlib
import math
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alm import __version__
from alm.inference.evidence import SHARE
from utils.evaluation.pointing import AVERAGE, IOU, POINTING, TITLES, WINNING, verdicts
from utils.evaluation.significance import FIGURES
from utils.io.untrusted import printable
from utils.prediction.drawing import level_styles
from utils.report import text
from utils.report.charts import FRAME, Chart, chart
from utils.report.evaluation import Report
from utils.report.mistakes import pairs_wrong_together, weakest_attributes, wrong_predictions
from utils.runs.history import History

HERE = Path(__file__).parent
PAIRS = 15  # of attributes that are wrong together


def render(report: Report) -> str:
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
        content(report),
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
        percent=text.percent,
        branch=text.branch,
        undefined=text.UNDEFINED,
        frame=FRAME,
        share=SHARE,
        version=__version__,
    )


def policy(style: str, script: str) -> str:
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{digest(style)}'; script-src '{digest(script)}'"
    )


def digest(inline: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode("ascii")


def content(report: Report) -> dict:
    record, wrong = report.record, wrong_predictions(report.margins, report.labels)
    ma_title = text.ma_title(record)
    colours = {level: style.colour for level, style in level_styles(report.boxes).items()}
    return {
        "title": f"{record['experiment']}: {record['approach']}, epoch {record['epoch']}",
        "lead": text.lead(report),
        "notes": text.epoch_notes(report),
        "headline": headline(report),
        "ma_title": ma_title,
        "about_intervals": text.about_intervals(record["intervals"]),
        "charts": training_charts(report.history, ma_title),
        "epochs": report.history.evaluations,
        "about_predictions": text.about_predictions(record),
        "attributes": attribute_rows(report),
        "weakest": weakest_attributes(report, wrong),
        "about_mistakes": text.about_mistakes(report.branch_names),
        "levels": level_rows(report, list(colours.values())),
        "about_levels": text.about_levels(report.branch_names),
        "colours": colours,
        "pointing": pointing_tables(report),
        "pairs": pair_rows(report, wrong),
        "about": report.about,
        "options": report.options,
    }


def headline(report: Report) -> list[tuple[str, str, str]]:
    """Return each figure's title, value and interval, in percent."""
    record, titles = report.record, FIGURES | {"ma": text.ma_title(report.record)}
    return [
        (title.partition("_")[0], text.percent(record[key], 2), text.interval(record["intervals"][key]))
        for key, title in titles.items()
    ]


def training_charts(history: History, ma_title: str) -> list[Chart]:
    losses, mas = (
        [(epoch, row[name]) for epoch, row in history.evaluations.items() if row[name] is not None]
        for name in ("loss", "ma")
    )
    loss = chart("Loss by epoch", {"training": history.training, "evaluation": losses})
    ma = chart(f"{ma_title} in % by epoch", {"evaluation": [(epoch, 100 * value) for epoch, value in mas]})
    return [one for one in (loss, ma) if one]


def attribute_rows(report: Report) -> list[dict]:
    return [
        dict(row)
        | {
            f"{kind}_recall": row[f"true_{kind}"] / row[kind] if row[kind] else None
            for kind in ("positive", "negative")
        }
        for row in report.record["attributes"]
    ]


def level_rows(report: Report, colours: list[str]) -> list[dict]:
    """Return how often each branch decides an attribute, with its bar; no rows for a single branch."""
    if len(report.branches) == 1:
        return []
    predicted = report.margins > 0
    shares = winning_shares(report.branches, predicted).T
    return [
        {
            "name": name,
            "shares": [None if math.isnan(share) else share for share in row.tolist()],
            "predicted": int(count),
            "bar": bar_parts(row, colours),
        }
        for name, row, count in zip(report.attributes, shares, predicted.sum(axis=0), strict=True)
    ]


def winning_shares(branches: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return how often each branch's logit (L, N, K) is the highest if an attribute is `predicted`, bool
    (N, K): float64 (L, K), NaN for an attribute that is never predicted.
    """
    winner = branches.argmax(axis=0)
    counts = np.stack([((winner == branch) & predicted).sum(axis=0) for branch in range(len(branches))])
    total = counts.sum(axis=0)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def bar_parts(shares: np.ndarray, colours: list[str]) -> list[tuple[float, float, str]]:
    """Return start and width in percent, and colour, of a bar's parts; no parts for undefined shares."""
    if np.isnan(shares).any():
        return []
    starts = 100 * (np.cumsum(shares) - shares)
    return [
        (round(start, 2), round(100 * share, 2), colour)
        for start, share, colour in zip(starts.tolist(), shares.tolist(), colours, strict=True)
        if share
    ]


def pointing_tables(report: Report) -> dict | None:
    pointing = report.pointing
    if pointing is None:  # no true boxes
        return None
    columns = [(WINNING, POINTING), (AVERAGE, POINTING), (WINNING, IOU), (AVERAGE, IOU)]
    return {
        "verdicts": verdicts(pointing),
        "boxes": int(pointing.boxes.sum()),
        "count": pointing.attributes,
        "titles": [title.capitalize() if title.islower() else title for title in TITLES],
        "means": [(name, values.tolist()) for name, values in pointing.means().items()],
        "attributes": [
            {
                "name": name,
                "boxes": int(pointing.boxes[k]),
                "measured": [
                    None if math.isnan(value) else value
                    for value in (float(pointing.figures[source][measure, k]) for source, measure in columns)
                ],
            }
            for k, name in enumerate(report.attributes)
            if pointing.boxes[k]
        ],
    }


def pair_rows(report: Report, wrong: np.ndarray) -> list[dict]:
    names = report.attributes
    return [
        pair._asdict() | {"first": names[pair.first], "second": names[pair.second]}
        for pair in pairs_wrong_together(wrong, PAIRS)
    ]
