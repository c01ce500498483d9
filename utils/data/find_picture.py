"""Where the pictures of a list are: a path under a root, however it is spelt, and not outside of it."""

import os
from collections.abc import Sequence

from utils.data.list_file import DataError

# PETA's lists and its archive spell the first directory differently.
PETA_SPELLINGS = ("PETA_dataset/", "PETA dataset/")


def find_picture(root, name: str) -> str | None:
    """Return the file of a list's path; None where it is missing.

    Either spelling of PETA's directory is found, and backslashes, as lists from Windows have them.
    """
    spellings = [name]
    if "\\" in name:
        spellings.append(name.replace("\\", "/"))
    for spelling, other in (PETA_SPELLINGS, PETA_SPELLINGS[::-1]):
        spellings += [other + name.removeprefix(spelling) for name in spellings if name.startswith(spelling)]
    candidates = (os.path.abspath(os.path.join(root, spelling)) for spelling in spellings)
    return next((path for path in candidates if os.path.isfile(path)), None)


def refuse_links_out(root, label, names: Sequence[str], paths: Sequence[str | None]) -> None:
    """Raise DataError where a link leads from the root to the file of one of a list's paths outside of it.
    The root itself may be a link.
    """
    inside = os.path.join(os.path.realpath(root), "")
    real: dict[str, str] = {}  # each directory is resolved once
    for name, path in zip(names, paths, strict=True):
        if path is None:
            continue
        directory, file = os.path.split(path)
        if directory not in real:
            real[directory] = os.path.realpath(directory)
        place = os.path.realpath(path) if os.path.islink(path) else os.path.join(real[directory], file)
        if not place.startswith(inside):
            raise DataError(
                f"{label}: {name} leads out of {root} through a link, to {place}; where that is meant, allow "
                "it with --follow_links"
            )
