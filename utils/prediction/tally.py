"""What became of the pictures: how many are predicted, unreadable, or probably not of one person."""

from collections.abc import Sequence

from utils.errors import DataError
from utils.io.phrases import counted, first_few

UPRIGHT = 1.4  # times as tall as wide: 99 of 100 pictures of PETA are at least 1.47 times


class Tally:
    """Counts pictures as they are done.

    Attributes:
        number: how many there are.
        unreadable: the titles of those that could not be read.
        sheets: the titles and the places of the others, if they have sheets.
        wide: how many are probably not of one person, and the title of the first.
    """

    def __init__(self, has_sheets: bool = False):
        self.number, self.unreadable, self.wide = 0, [], (0, "")
        self.sheets: list[tuple[str, str]] | None = [] if has_sheets else None

    @property
    def predicted(self) -> int:
        return self.number - len(self.unreadable)

    def add(self, title: str, place: str, size: Sequence[int] | None) -> None:
        """Count a picture, which has no size if it could not be read."""
        self.number += 1
        if size is None:
            self.unreadable.append(title)
            return
        if self.sheets is not None:
            self.sheets.append((title, place))
        if size[1] < UPRIGHT * size[0]:
            self.wide = self.wide[0] + 1, self.wide[1] or title

    def check(self) -> None:
        """Raise DataError if no picture was predicted."""
        if not self.number:
            raise DataError("no paths came on standard input")
        if not self.predicted:
            raise self.error()

    def error(self) -> DataError:
        """Return the error that names the first pictures that could not be read."""
        pictures, names = counted(self.number, "picture"), first_few(self.unreadable, 3)
        return DataError(f"{len(self.unreadable)} of {pictures} could not be read: {names}")
