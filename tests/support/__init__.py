"""What the tests share."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
THOROUGH = os.environ.get("ALM_THOROUGH") == "1"  # as many cases as there are, not a few of each kind
