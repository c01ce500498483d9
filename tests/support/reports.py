"""A report of a few pictures and attributes, some with hostile names; for the tests of the report."""

from dataclasses import replace

import numpy as np
from PIL import Image

from alm.constants import LEVELS
from support.known import Known, prediction_of
from support.tiny import evaluation
from utils.data.dataset import MultiLabelDataset
from utils.evaluation import results
from utils.evaluation.pointing import score
from utils.evaluation.significance import intervals, tally
from utils.report.evaluation import Report
from utils.runs.history import History

SCRIPT = "<script>alert(1)</script>.png"  # a directory and a file in it
MAPS = np.pad(
    np.full((7, 1, 1), 9.0), ((0, 0), (0, 7), (0, 3))
)  # the evidence for as many attributes as NAMES
HOSTILE = ('"><img src=x onerror=alert(2)>', "{{ 7 * 7 }}\x1b[31m\u202e", "</style><script>alert(3)</script>")
NAMES = ("Hat", "Backpack", "Long hair", "Rare", *HOSTILE)
PICTURES = 40


def report_of(root, *, names=NAMES, localized=True, boxed=True, experiment="custom", levels=LEVELS, **parts):
    """Return the report of PICTURES pictures drawn under `root`; `parts` replace parts of it."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, (PICTURES, len(names)))
    labels[:, names.index("Rare") if "Rare" in names else -1] = 0  # no positives: its mA is undefined
    paths = [SCRIPT, *(f"some/where/{i:02d}.png" for i in range(1, PICTURES))]
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i, 60), (5 * i, 100, 200)).save(root / path)
    (root / "test.txt").write_text(
        "".join(f"{path} {' '.join(map(str, row))}\n" for path, row in zip(paths, labels, strict=True))
    )
    pictures = MultiLabelDataset(root, root / "test.txt", num_attributes=len(names))
    branches = random.normal(size=(4 if localized else 1, PICTURES, len(names))) + labels - 0.5
    branches[:, 0] = 9 - 18 * labels[0]  # the hostile picture is the surest mistake of all
    corners = np.sort(random.uniform(size=(3, PICTURES, len(names), 2, 2)), axis=-2)
    regions = corners.reshape(3, PICTURES, len(names), 4)
    boxes = dict(zip(levels, regions, strict=True)) if localized else {}
    true = np.where(labels[..., None] == 1, np.array([0.2, 0.1, 0.7, 0.6]), np.nan)
    content = {
        "record": record_of(branches.max(0), pictures, names, experiment),
        "pictures": pictures,
        "margins": branches.max(0),
        "branches": branches,
        "boxes": boxes,
        "pointing": score(boxes, branches[:3], true, {}) if localized and boxed else None,
        "predictor": Seer(levels) if localized else None,
        "history": course(),
        "evaluated": "2.pth.tar",
        "options": {"experiment": experiment, "prefix": HOSTILE[0], "decay_epoch": (20, 40)},
        "about": {"Evaluated": f"runs/{HOSTILE[2]}/2.pth.tar", "Device": "cpu, \udcff"},
    }
    return Report(**(content | parts))


class Seer(Known):
    """Says of each picture that all evidence for any attribute is at its top left."""

    def __init__(self, levels):
        self.levels = levels

    def predict(self, pixels, sizes):
        prediction = prediction_of()
        return [
            replace(prediction, evidence=dict.fromkeys((*self.levels, "main", "all"), MAPS)) for _ in sizes
        ]


def course():
    """Return the curves of two epochs."""
    return History(
        [(0.5, 3.0), (1.0, 2.0), (1.5, 1.5), (2.0, 1.25)],
        {1: {"ma": 0.6, "loss": 2.2}, 2: {"ma": 0.7, "loss": 1.4}},
    )


def record_of(logits, pictures, names, experiment):
    """Return what --json would hold."""
    import torch

    sample = tally(logits > 0, pictures.labels.numpy())
    record = {"experiment": experiment, "approach": "inception_iccv", "epoch": 2}
    figures = evaluation(torch.from_numpy(logits), pictures.labels)
    record |= results.evaluation_record(figures, names, len(pictures), pictures.listed)
    record["intervals"] = results.interval_record(intervals(sample), sample.units, sample.resampled)
    return record
