"""Start programs beside the stand-in for SDAA, tests/torch_sdaa."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from support import REPOSITORY

needs_stand_in = pytest.mark.skipif(
    not hasattr(torch._C, "_acc") and shutil.which("g++") is None,
    reason="this torch takes new devices from C++ alone, and there is no g++",
)


def python(*arguments, status=0, lacks="", wrong="", **environment):
    """Run Python where torch_sdaa is installed; return (standard output, standard error)."""
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "2",
            "PYTHONPATH": str(REPOSITORY / "tests"),
            "TORCH_SDAA_LACKS": lacks,
            "TORCH_SDAA_WRONG": wrong,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert process.returncode == status, process.stdout + process.stderr
    return process.stdout, process.stderr
