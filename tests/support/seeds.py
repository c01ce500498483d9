"""What runs leave of their figures; for the tests of sets of seeds."""

import json

from utils.evaluation.significance import FIGURES


def write_run(directory, seed, ma, epoch=2, **record):
    """Write what a run of two epochs leaves of its evaluations; `record` replaces parts of the last one."""
    directory.mkdir(parents=True)
    (directory / "options.json").write_text(json.dumps({"seed": seed}), encoding="utf-8")
    figures = dict.fromkeys(FIGURES, 0.5)
    lines = [{"experiment": "peta", "list_digest": "ab", "epoch": 1, **figures}]
    lines.append({**lines[0], "epoch": epoch, "ma": ma, **record})
    (directory / "metrics.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8"
    )
