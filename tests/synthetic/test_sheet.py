"""The README's sample of the embedded data set."""

import numpy as np
from PIL import Image

from utils.synthetic import ensure_dataset
from utils.synthetic.sheet import COLUMN, HEIGHT, MARGIN, PAPER, draw_sheet


def test_sheet_shows_people_and_labels(tmp_path):
    ensure_dataset(tmp_path / "set", train=1, test=20)
    draw_sheet(tmp_path / "set", tmp_path / "sheet.png", count=3, min_height=120)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 3 * COLUMN + MARGIN
    drawn = (sheet != PAPER).any(axis=2)
    for column in np.split(drawn[:, MARGIN:], 3, axis=1):
        assert column[MARGIN : MARGIN + HEIGHT].any(axis=1).all()  # a person from top to bottom
        lines = column[HEIGHT + 2 * MARGIN :].any(axis=1)
        assert np.diff(lines.astype(int)).clip(min=0).sum() >= 5  # a name a line, as many as one has
