"""A sample of the embedded data set for the README: people in a row, their labels below.

python -c "from utils.synthetic.sheet import draw_sheet; draw_sheet('data/synthetic', 'docs/synthetic.png')"
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.data.list_file import read_list
from utils.synthetic import ATTRIBUTES, LISTS

HEIGHT, COLUMN, MARGIN, LINE = 288, 150, 10, 22  # pixels
FONT_SIZE = 17  # a README shrinks the sheet by a third, to 12
PAPER, INK = (255, 255, 255), (40, 44, 52)


def draw_sheet(root, output, count: int = 8, min_height: int = 180) -> None:
    """Draw people of the test list under `root` who together show as many attributes as `count` can.

    Pictures of fewer than `min_height` pixels are left out: they would be blurred at the size of the sheet.
    `output` is an image file of any type. Raises DataError if the list is missing or bad.
    """
    root = Path(root)
    paths, labels = read_list(root / LISTS["test"], len(ATTRIBUTES))
    pictures = [Image.open(root / path) for path in paths]
    rows = [row for row, picture in enumerate(pictures) if picture.height >= min_height]
    people = np.array(rows)[_choose_varied(labels[rows], count)]

    longest = labels[people].sum(axis=1).max()
    sheet = Image.new("RGB", (len(people) * COLUMN + MARGIN, HEIGHT + 3 * MARGIN + longest * LINE), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for column, row in enumerate(people):
        left = MARGIN + column * COLUMN
        picture = pictures[row].convert("RGB")
        width = min(round(picture.width * HEIGHT / picture.height), COLUMN - MARGIN)
        sheet.paste(picture.resize((width, HEIGHT), Image.Resampling.BICUBIC), (left, MARGIN))
        names = (name for name, label in zip(ATTRIBUTES, labels[row], strict=True) if label)
        for line, name in enumerate(names):
            draw.text((left, HEIGHT + 2 * MARGIN + line * LINE), name, INK, font)
    sheet.save(output)


def _choose_varied(labels: np.ndarray, count: int) -> list[int]:
    """Return `count` rows of labels (N, K), each with as many attributes as possible that none before has."""
    varied: list[int] = []
    unseen = np.ones(labels.shape[1], dtype=bool)
    for _ in range(min(count, len(labels))):
        gain = (labels[:, unseen] == 1).sum(axis=1)
        gain[varied] = -1
        varied.append(int(gain.argmax()))
        unseen &= labels[varied[-1]] == 0
    return varied
