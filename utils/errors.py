"""The base of bad input around the method. The method's own is `alm.AlmError`; commands catch these two."""


class InputError(ValueError):
    """Bad input; the message is one sentence for the user: what, where, how to fix it."""


class LogError(InputError):
    """A log that cannot be written, read or compared."""
