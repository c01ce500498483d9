"""Text that anyone may have chosen, as it may be shown: nothing in it is obeyed by a terminal."""

import re

# What a terminal obeys (C0 but the tab, DEL, C1), what ends a line or sets its direction, and the halves of
# characters that stand for a file name's undecodable bytes.
_OBEYED = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return one line of text with such characters spelt out, as in `\\x1b` and `\\u202e`; line ends too."""
    return _OBEYED.sub(lambda match: spelt_out(match[0]), text)


def printable_block(text: str) -> str:
    """Return the same of several lines: what ends them stays."""
    return "\n".join(map(printable, text.split("\n")))


def spelt_out(character: str) -> str:
    """Return a character as Python's source would have it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
