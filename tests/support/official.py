"""Downloads like the official ones, but small: PETA's archive, and .mat files in exactly their nestings."""

import numpy as np
from PIL import Image
from scipy.io import savemat

from utils.data.attributes import PA100K, PETA, RAP
from utils.data.catalog import PETA_SUBSETS as SUBSETS
from utils.prepare.peta import NEVER, OFFICIAL

PETA_NAMES = [attribute.official_name for attribute in PETA]
IN_LABELS = {"footwearSneaker": "footwearSneakers"}  # as Label.txt spells it

# Subset -> identities as Label.txt has them, and the files of each.
PEOPLE = {
    "3DPeS": {"1": ["1_2_FRAME_1_RGB.bmp", "1_4_FRAME_9_RGB.bmp"], "10": ["10_1_FRAME_2_RGB.bmp"]},
    "CUHK": {"0000": [], "0001": [], "0003.png": ["0003.png"], "0004.png": ["0004.png"]},
    "GRID": {"0127": ["0127_1_28046_104_4_59_177.jpeg", "0127_2_25_1_4_5_7.jpeg"]},
    "MIT": {"00001": ["00001_male_back.jpg"], "00002": ["00002_male_back.jpg"]},
    "SARC3D": {"001": ["001_Right.bmp", "001_back.bmp"], "002": ["002_left.bmp"]},
    "TownCentre": {"8": [], "1": ["1_16.jpg", "1_8.jpg"], "12": ["12_3.jpg"]},
}
UNPICTURED = "CUHK 0000, CUHK 0001, TownCentre 8"


def worn_by(number):
    """Return the official names that the number-th person wears: together all of them."""
    return [name for k, name in enumerate(OFFICIAL) if (k + number) % 3 == 0 and name not in NEVER]


def wardrobe():
    """Return (subset, identity) -> official names."""
    people = [(subset, identity) for subset, them in PEOPLE.items() for identity in them]
    return {person: worn_by(number) for number, person in enumerate(people)}


def write_archive(folder, *, line_end="\n", last_end=True, spell=IN_LABELS, worn=None):
    """Write a small archive into `folder`, with the oddities of the true one."""
    worn = worn or wardrobe()
    for subset, people in PEOPLE.items():
        place = folder / subset / "archive"
        place.mkdir(parents=True)
        lines = []
        for identity, files in reversed(people.items()):  # in no order
            words = [spell.get(name, name) for name in worn[subset, identity]]
            lines.append(" ".join([identity, *words, "accessoryShawl", words[0]]))  # beyond the 105; repeated
            for file in files:
                write_picture(place / file)
        text = line_end.join(lines) + (line_end if last_end else "")
        (place / "Label.txt").write_bytes(text.encode())
        (place / ".DS_Store").write_bytes(b"\0")
    return folder


def write_picture(path, content=None):
    """Write a picture of its own pixels, or of those that `content` stands for."""
    seed = np.frombuffer((content or str(path)).encode(), np.uint8)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 3, 3), np.uint8)).save(path)


def archive_rows():
    """Return (subset, identity, file) of the pictures in the order of PETA.mat's rows."""
    return [
        (subset, identity, file)
        for subset in SUBSETS
        for file, identity in sorted(
            (file, identity) for identity, files in PEOPLE.get(subset, {}).items() for file in files
        )
    ]


def list_lines(rows, attributes=tuple(PETA_NAMES), worn=None):
    """Return the lines of a PETA list for rows of `archive_rows`."""
    worn = worn or wardrobe()
    return [
        f"PETA_dataset/{subset}/archive/{file} "
        + " ".join(str(int(name in worn[subset, identity])) for name in attributes)
        + " \n"
        for subset, identity, file in rows
    ]


def cells(values, row=False):
    """Return a MATLAB cell array (n, 1), or (1, n)."""
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    return array.reshape(1, -1) if row else array.reshape(-1, 1)


def column(numbers, row=False):
    """Return numbers as MATLAB has them, (n, 1) or (1, n), in floating point."""
    array = np.asarray(numbers, float)
    return array.reshape(1, -1) if row else array.reshape(-1, 1)


def peta_mat(path, rows=None, labels=None, parts=None, **other):
    """Write PETA.mat for the rows of the small archive; `other` replaces fields. Returns its labels."""
    rows = archive_rows() if rows is None else rows
    if labels is None:
        worn = wardrobe()
        labels = [[name in worn[row[:2]] for name in OFFICIAL] for row in rows]
    leading = [
        [k, k, SUBSETS.index(subset) + 1, int(identity.removesuffix(".png"))]
        for k, (subset, identity, _) in enumerate(rows, start=1)
    ]
    parts = parts or partition(len(rows))
    peta = {
        "data": np.hstack([leading, labels]).astype(float),
        "attribute": cells(OFFICIAL),
        "selected_attribute": column(range(5, 40), row=True),
        "partion_attribute": cells([{name: column(numbers) for name, numbers in parts.items()}] * 5),
    }
    savemat(path, {"peta": peta | other}, do_compression=True)
    return np.array(labels, int)


def partition(count):
    """Return row numbers, counted from 1 and in no order, of the parts of a split."""
    numbers = np.random.default_rng(count).permutation(count) + 1
    first, second = count // 2, count // 2 + max(count // 10, 1)
    return {"train": numbers[:first], "val": numbers[first:second], "test": numbers[second:]}


def rap1_mat(path, names, labels, parts, row=False, dtype=float, **other):
    """Write RAPv1's annotation: `labels` (n, 51) beside 41 more columns."""
    rest = np.random.default_rng(0).integers(0, 9, (len(names), 92 - len(RAP)))
    used = [attribute.name for attribute in RAP]
    indices = {f"{name}_index": column(numbers, row=not row).astype(dtype) for name, numbers in parts.items()}
    rap = {
        "partion": cells([indices] * 5, row),
        "label": np.hstack([labels, rest]).astype(dtype),
        "attribute_chn": cells(["女性"] * 92, row),
        "attribute_eng": cells([f"hs-{name}" for name in used] + [f"low-{k}" for k in range(41)], row),
        "attribute_exp": cells(used, row),
        "imagesname": cells(names, row),
        "identity": column([-1] * len(names)),
    }
    savemat(path, {"RAP_annotation": rap | other}, do_compression=True)


def rap2_mat(path, names, labels, parts, selected, **other):
    """Write RAPv2's annotation: of `labels` (n, 152) the columns `selected`, counted from 1, are used."""
    indices = {f"{name}_index": column(numbers, row=True) for name, numbers in parts.items()}
    rap = {
        "name": cells(names),
        "data": labels.astype(float),
        "attribute": cells(["Femal", *(f"shoes-{k}" for k in range(1, 152))]),
        "selected_attribute": column(selected, row=True),
        "partition_attribute": cells([indices] * 5, row=True),
    }
    savemat(path, {"RAP_annotation": rap | other}, do_compression=True)


def pa100k_mat(path, parts, row=False, dtype=np.uint8, **other):
    """Write PA-100K's annotation.mat: `parts` is part -> (names, labels (n, 26))."""
    variables = {"attributes": cells([attribute.name for attribute in PA100K], row)}
    for part, (names, labels) in parts.items():
        variables[f"{part}_images_name"] = cells(names, row)
        variables[f"{part}_label"] = np.asarray(labels, dtype)
    savemat(path, variables | other, do_compression=True)
