"""What the tests of run_ALM.py share."""

import re

import torch

from alm.checkpoint.restore import save_checkpoint

LOSS = re.compile(
    r"TCAPPDLL \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - Epoch: (\d+) Iteration: (\d+)"
    r"  rank : 0  train\.loss : (\S+)  train\.ips : \S+ imgs/s"
)
TABLE = re.compile(r"\t     Attr .*?\tF1_Score:.*?\n", re.DOTALL)


def losses(output):
    return [(int(epoch), int(iteration), float(loss)) for epoch, iteration, loss in LOSS.findall(output)]


def damaged(checkpoint, path, **parts):
    """Write a copy of a checkpoint with parts replaced."""
    save_checkpoint(path, {**torch.load(checkpoint, weights_only=True), **parts})
    return path


def custom_lists(pictures, directory, names):
    """Write names, and lists of the small data set with these attributes' labels."""
    columns = {"Hat": 11, "Male": 17, "Jeans": 13}
    (directory / "names.txt").write_text("\n".join(names), encoding="utf-8")
    for part in ("train", "test"):
        rows = (line.split() for line in (pictures / f"PETA_{part}_list.txt").read_text().splitlines())
        text = "".join(
            f"{row[0]} {' '.join(row[columns[name]] if name in columns else '1' for name in names)}\n"
            for row in rows
        )
        (directory / f"{part}.txt").write_text(text, encoding="utf-8")
    return ("--experiment", "custom", "--train_list", directory / "train.txt", "--val_list",
            directory / "test.txt", "--data_root", pictures)  # fmt: skip
