"""Package alm, the method, and nothing else: no top-level `utils` lands in anyone's site-packages."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

setup(
    name="alm",
    version="1.0.0",
    description="Pedestrian attribute recognition with attribute-specific localization (ICCV 2019)",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=["alm"],
    python_requires=">=3.10",
    install_requires=(HERE / "requirement.txt").read_text(encoding="utf-8").splitlines(),
    extras_require={"test": ["pytest", "hypothesis"], "tensorboard": ["tensorboard"]},
)
