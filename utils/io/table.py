"""Tables of any program: rows of cells, whatever separates them."""

import csv
import io
import math
import re
from pathlib import Path

from utils.errors import DataError
from utils.io.untrusted import read_text

DELIMITERS = ("\t", ";", ",")  # by preference: cells often hold commas, and hardly ever tabs
FIRST_ROW = re.compile(r'\s*((?:"[^"]*"|[^\n])*)')  # a quoted cell may hold line ends
QUOTED = re.compile(r'"[^"]*"')


def read_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """Return a table's rows without blank ones: the number of a row's last line, and its cells.

    Tabs, semicolons or commas separate the cells, and CSV's quotes may be around them; blanks may not. Raises
    DataError if the file cannot be read, if it is not text, or if its quotes are wrong.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text), delimiter=find_delimiter(text), skipinitialspace=True, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}; save the table again") from None
    return [(line, cells) for line, cells in rows if any(cells)]


def find_delimiter(text: str) -> str:
    bare = QUOTED.sub("", FIRST_ROW.match(text)[1])
    return next((delimiter for delimiter in DELIMITERS if delimiter in bare), ",")


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return math.isfinite(number(cell))
    except ValueError:
        return False


def number(cell: str) -> float:
    """Return a cell's number, whose decimal point may be a comma. Raises ValueError."""
    if "_" in cell:  # Python would take 1_0 for 10
        raise ValueError(cell)
    return float(cell.replace(",", "."))
