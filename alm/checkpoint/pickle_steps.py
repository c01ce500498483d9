"""What a pickle would do, looked at before any of it is done: a few bytes can ask for hours of work."""

import pickletools
from typing import BinaryIO

from torch.serialization import MAGIC_NUMBER

from alm.errors import AlmError

MOST_STEPS = 2_000_000  # a published checkpoint of 1,000 attributes takes 1 million
MOST_IN_TUPLE = 10_000  # with the tuples within: as a key of a dict it is hashed, all of it
MOST_BITS = 64  # of a whole number: longer ones may share one hash, as keys of a dict that crawls then

TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
PUTS_ASIDE = {"PUT", "BINPUT", "LONG_BINPUT"}
TAKES_BACK = {"GET", "BINGET", "LONG_BINGET"}


def check_steps(file: BinaryIO) -> None:
    """Read a file's next pickle to its end, and execute nothing.

    Raises AlmError where it has too many steps, or a tuple or a whole number that is too large; an error of
    Python's where it is damaged.
    """
    stack: list[int | None] = []  # how much is in what the pickle has at hand; None is a mark
    aside: dict[int, int] = {}  # and in what it has put aside, under a number
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if step == MOST_STEPS:
            raise AlmError(f"it takes more than {MOST_STEPS:,} steps to read")
        if isinstance(argument, int) and argument.bit_length() > MOST_BITS and argument != MAGIC_NUMBER:
            raise AlmError(f"it holds a whole number of more than {MOST_BITS} bits")
        if opcode.name in PUTS_ASIDE:
            aside[argument] = stack[-1]
        elif opcode.name in TAKES_BACK:
            stack.append(aside[argument])
        elif opcode.name == "MARK":
            stack.append(None)
        else:
            amount = 1 + take(stack, opcode)
            if amount > MOST_IN_TUPLE and opcode.name in TUPLES:
                raise AlmError(f"it holds a tuple with more than {MOST_IN_TUPLE:,} entries in all")
            stack += [amount if opcode.name in TUPLES else 1] * len(opcode.stack_after)


def take(stack: list[int | None], opcode: pickletools.OpcodeInfo) -> int:
    """Take off the stack what a step takes; return how much is in it."""
    amount, singly = 0, opcode.stack_before
    if pickletools.markobject in singly:
        while (top := stack.pop()) is not None:
            amount += top
        singly = singly[: singly.index(pickletools.markobject)]
    for _ in singly:
        amount += stack.pop()
    return amount
