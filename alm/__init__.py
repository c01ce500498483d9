"""ALM: pedestrian attributes by weakly supervised, attribute-specific localization (ICCV 2019).

Each name is imported when it is first asked for (PEP 562): what needs no torch starts without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alm import checkpoint
    from alm.checkpoint import load_model
    from alm.errors import AlmError
    from alm.loss import WeightedBCELoss
    from alm.metrics import AttributeMetrics
    from alm.network import APPROACHES, build_model, vote
    from alm.normalization import preprocess
    from alm.pictures import read_pictures
    from alm.prediction import Prediction
    from alm.predictor import Predictor

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

# The module of each name. None of these modules may be called as a name is: whoever imported it first would
# put the module in the name's place.
_HOMES = {
    "APPROACHES": "network",
    "AlmError": "errors",
    "AttributeMetrics": "metrics",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "WeightedBCELoss": "loss",
    "build_model": "network",
    "load_model": "checkpoint",
    "preprocess": "normalization",
    "read_pictures": "pictures",
    "vote": "network",
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
