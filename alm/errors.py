"""The one exception of the method that is about the user's input."""


class AlmError(ValueError):
    """Bad input; the message is one sentence for the user: what, where, how to fix it."""
