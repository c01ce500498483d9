"""Shared by all tests: the repository on the path, the reference data where it lies beside the checkout."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
sys.modules["torch_sdaa"] = None  # the stand-in beside these tests is for processes that ask for it


@pytest.fixture(scope="session")
def shared():
    """Return the folder of reference numbers, label lists and logs; skip where it is missing."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "reference").is_dir():
        pytest.skip("reference data not found")
    return folder
