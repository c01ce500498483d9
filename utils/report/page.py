"""The report of an evaluation: one HTML file that needs nothing else, and runs nothing but its own script.

Everything that is put into the page is escaped by jinja2; its policy (CSP) forbids all requests, and all
scripts and styles but the two here, by their digests.
"""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from alm import __version__
from utils.io.printable import printable
from utils.prediction.drawing import COLOURS
from utils.report import sections, shots, text
from utils.report.evaluation import Evaluation
from utils.report.mistakes import mistaken

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
        "headline": sections.headline(evaluation),
        "how_sure": text.how_sure(record["intervals"]),
        "charts": sections.course(evaluation.history),
        "epochs": evaluation.history.evaluations,
        "attributes": sections.attributes(evaluation),
        "worst": shots.worst(evaluation, wrong),
        "shots_are": text.shots_are(evaluation.levels),
        "levels": sections.levels(evaluation),
        "colours": {level: COLOURS[level] for level in evaluation.levels},
        "pointing": sections.pointing(evaluation),
        "together": sections.together(evaluation, wrong),
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
