"""ALM: pedestrian attributes by weakly supervised, attribute-specific localization (ICCV 2019).

A name is imported when it is first used (PEP 562), so that what needs no torch starts without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alm import checkpoint
    from alm.checkpoint.restore import load_model
    from alm.errors import AlmError
    from alm.inference.image_io import read_pictures
    from alm.inference.prediction import Prediction
    from alm.inference.predictor import Predictor
    from alm.models.loss import WeightedBCELoss
    from alm.models.metrics import AttributeMetrics
    from alm.models.network import APPROACHES, build_model, vote
    from alm.models.preprocessing import preprocess

__version__ = "1.1.0"

__all__ = [
    "APPROACHES",
    "AlmError",
    "AttributeMetrics",
    "Prediction",
    "Predictor",
    "WeightedBCELoss",
    "__version__",
    "build_model",
    "checkpoint",
    "load_model",
    "preprocess",
    "read_pictures",
    "vote",
]

# The module of each name. No module may be called as a name is: its import would put it in the name's place.
_HOMES = {
    "APPROACHES": "models.network",
    "AlmError": "errors",
    "AttributeMetrics": "models.metrics",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "WeightedBCELoss": "models.loss",
    "build_model": "models.network",
    "load_model": "checkpoint.restore",
    "preprocess": "models.preprocessing",
    "read_pictures": "inference.image_io",
    "vote": "models.network",
}


def __getattr__(name: str):
    if name == "checkpoint":
        return import_module("alm.checkpoint")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"alm.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
