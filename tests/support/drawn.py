"""Data sets that are drawn, and a list of people to draw."""

from utils.data.catalog import EXPERIMENTS
from utils.synthetic import ensure_dataset

PETA = EXPERIMENTS["peta"]


def drawn_set(tmp_path_factory, **counts):
    """Draw a data set in PETA's format, of so many pictures in each list; return its root."""
    root = tmp_path_factory.mktemp("drawn") / "peta"
    ensure_dataset(root, **counts)
    return root


def files(root):
    """Return relative path -> bytes of all files under `root`."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def row(*attributes):
    """Return the labels of a list's line with these positives."""
    return " ".join("1" if name in attributes else "0" for name in PETA.attributes)


def write_people(path):
    """Write a PETA-format list of three rows; the second has no age and the third two."""
    lines = [
        f"PETA_dataset/CUHK/archive/1.png {row('Age16-30', 'Jeans', 'Hat')}",
        f"PETA_dataset/GRID/archive/0127_1.jpeg {row('Trousers')}",
        f"b.bmp {row('Age31-45', 'AgeAbove61', 'No carrying', 'Backpack')}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
