"""Start commands beside the stand-in for SDAA, tests/torch_sdaa."""

import shutil

import pytest
import torch

from support import REPOSITORY
from support.cli import process

needs_stand_in = pytest.mark.skipif(
    not hasattr(torch._C, "_acc") and shutil.which("g++") is None,
    reason="this torch takes new devices from C++ alone, and there is no g++",
)


def environment(lacks="", wrong=""):
    """Return the variables with which torch_sdaa is installed, lacks something, or computes it wrong."""
    folder = str(REPOSITORY / "tests")
    return {"PYTHONPATH": folder, "TORCH_SDAA_LACKS": lacks, "TORCH_SDAA_WRONG": wrong}


def on_stand_in(command, *options, status=0, lacks="", wrong=""):
    """Start a command so; return (standard output, standard error)."""
    return process(command, *options, status=status, env=environment(lacks, wrong))
