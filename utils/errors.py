"""Bad input that callers tell apart from other bad input."""

from alm.errors import AlmError


class DataError(AlmError):
    """A list file or a data set that is not as it should be."""


class LogError(AlmError):
    """A log that cannot be written, read or compared."""
