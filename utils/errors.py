"""Bad input that callers tell apart from other bad input."""

from alm.errors import AlmError
from alm.errors import DataError as DataError  # alm raises it too


class LogError(AlmError):
    """A log that cannot be written, read or compared."""
