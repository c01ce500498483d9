"""What is wrong with the user's input, here and in utils. Needs no torch."""


class AlmError(ValueError):
    """Bad input. The message is for the user: what is wrong, where, and how to fix it."""


class PictureError(AlmError):
    """A picture that cannot be read."""
