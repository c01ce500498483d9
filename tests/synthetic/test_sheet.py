"""The README's sample of the embedded data set."""

from PIL import Image

from utils.synthetic import ensure_dataset
from utils.synthetic.sheet import COLUMN, MARGIN, draw_sheet


def test_people_stand_in_a_row(tmp_path):
    ensure_dataset(tmp_path / "set", train=1, test=20)
    draw_sheet(tmp_path / "set", tmp_path / "sheet.png", count=3, min_height=120)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 3 * COLUMN + MARGIN
