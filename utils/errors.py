"""The one base of bad input around the method; `alm.AlmError` is that of the method itself."""


class InputError(ValueError):
    """Bad input; the message is one sentence for the user: what, where, how to fix it."""


class LogError(InputError):
    """A log that cannot be written, read or compared."""
