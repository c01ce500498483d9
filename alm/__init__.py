"""ALM: pedestrian attributes by weakly supervised, attribute-specific localization (ICCV 2019)."""

from alm import checkpoint
from alm.checkpoint import load_model
from alm.errors import AlmError
from alm.loss import WeightedBCELoss
from alm.metrics import AttributeMetrics
from alm.network import APPROACHES, build_model, vote
from alm.pictures import read_pictures
from alm.prediction import Prediction
from alm.predictor import Predictor
from alm.preprocess import preprocess

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
