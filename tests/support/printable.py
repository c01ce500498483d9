"""What a terminal obeys."""

import unicodedata


def is_obeyed(text):
    """Whether a terminal would do more than show a text, or show it in another order."""
    bidirectional = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return any(
        (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char != "\t")
        or unicodedata.bidirectional(char) in bidirectional
        for char in text
    )
