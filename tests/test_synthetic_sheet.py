"""The README's sample of the embedded data set."""

from PIL import Image

from utils.synthetic import ensure_dataset
from utils.synthetic.sheet import draw_sheet


def test_sheet_shows_people_and_labels(tmp_path):
    ensure_dataset(tmp_path / "set", train=1, test=20)
    draw_sheet(tmp_path / "set", tmp_path / "sheet.png", count=3, min_height=120)
    assert Image.open(tmp_path / "sheet.png").width > 3 * 128
