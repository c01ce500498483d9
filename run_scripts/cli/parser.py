"""What the values of options may be: types for argparse."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

LONGEST_PREFIX = 150  # bytes of a file's name, which has 255


def or_word(word: str, parse: Callable) -> Callable:
    """Return a parser that takes a word too."""
    return lambda text: text if text == word else parse(text)


def epochs(text: str) -> tuple[int, ...]:
    """Parse `(20,40)`, `[20,40]`, `20,40`, `20` or `()`. Never evaluated as code."""
    numbers = r"\s*(\d{1,9}\s*(,\s*\d{1,9}\s*)*,?)?\s*"
    if not re.fullmatch(rf"\({numbers}\)|\[{numbers}\]|{numbers}", text.strip()):
        raise argparse.ArgumentTypeError(
            f'{text[:40]!r} is no list of epochs; give whole numbers, as in "(20,40)", or "()" for none'
        )
    return tuple(sorted(int(number) for number in re.findall(r"\d+", text)))


def checkpoint_file(text: str) -> str:
    """Parse the path of a checkpoint; of a directory, say which of its files may be meant."""
    directory = Path(text)
    if not directory.is_dir():
        return text
    checkpoints = sorted(directory.glob("*.pth.tar"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        raise argparse.ArgumentTypeError(f"{text} is a directory, and holds no checkpoint; name a file")
    raise argparse.ArgumentTypeError(
        f"{text} is a directory; name one of its checkpoints, such as {checkpoints[-1]}, its newest"
    )


def file_name_part(text: str) -> str:
    """Parse a text that may stand in a file's name."""
    if not is_file_name_part(text):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no part of a file name; leave the separators out, and take at most "
            f"{LONGEST_PREFIX} bytes"
        )
    return text


def is_file_name_part(text: str) -> bool:
    """Whether a text may stand in a file's name, with an epoch behind it, on every usual file system."""
    return re.search(r"[/\\\0]", text) is None and len(os.fsencode(text)) <= LONGEST_PREFIX
