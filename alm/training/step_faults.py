"""What a device may lack in the middle of a step, in words that lead on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from alm.errors import AlmError

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # as the devices put it
NO_OPERATOR = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")


@contextmanager
def step_faults(pictures: int) -> Iterator[None]:
    """Turn a lack of memory, or of an operator, within a step over so many pictures into an AlmError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
        if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            raise AlmError(
                f"out of memory in a step over {pictures} pictures; lower --batch_size, "
                "or use less for each with --amp bf16 or fp16"
            ) from error
        if missing := NO_OPERATOR.search(str(error)):
            operator, device = missing.groups()
            raise AlmError(
                f"{device} has no {operator}; `python locate.py --device {device}` says where it is needed"
            ) from error
        raise
