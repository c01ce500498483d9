"""What the environment tells the stand-in to lack, and to be wrong in."""

import os


def words(variable: str) -> list[str]:
    """Return what stands between the commas of an environment variable."""
    return [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]


LACKS = frozenset(words("TORCH_SDAA_LACKS"))
WRONG = {
    name: float(factor) for name, _, factor in (word.rpartition(":") for word in words("TORCH_SDAA_WRONG"))
}
