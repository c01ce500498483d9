"""Who is on a picture, where its path tells."""

import re
from collections.abc import Sequence

PETA_SUBSETS = (
    "3DPeS", "CAVIAR4REID", "CUHK", "GRID", "MIT", "PRID", "SARC3D", "TownCentre", "VIPeR", "i-LID"
)  # fmt: skip
# An identity is the file's name up to the first `_` or `.`, within its subset.
PETA_PICTURE = re.compile(rf"(?:^|/)({'|'.join(PETA_SUBSETS)})/archive/([^/_.]+)[^/]*$")


def identities(names: Sequence[str]) -> list[str] | None:
    """Return the identity of each picture of a list, `<subset>/<identity>`; None where any path does not tell
    it. Those of PETA's archive do, `.../<subset>/archive/<identity>_1.png`.
    """
    matches = [PETA_PICTURE.search(name.replace("\\", "/")) for name in names]
    return [f"{match[1]}/{match[2]}" for match in matches] if all(matches) else None
