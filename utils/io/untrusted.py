"""Files, text, JSON and names that anyone may have made: read within bounds, shown as one line."""

import re

from alm.untrusted import (  # noqa: F401, alm reads such files too
    UTF16_MARKS,
    encoding_of,
    is_number,
    is_share,
    open_regular,
    parsed,
    read_text,
)

# Characters that a terminal obeys (C0 but the tab, DEL, C1), that end a line or set its direction, and the
# halves of characters that stand for a file name's undecodable bytes.
_OBEYED = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return one line of text with such characters, line ends among them, spelt out: `\\x1b`, `\\u202e`."""
    return _OBEYED.sub(lambda match: spelt_out(match[0]), text)


def printable_block(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def spelt_out(character: str) -> str:
    """Return a character as Python's source would have it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
