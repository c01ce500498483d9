"""ALM: pedestrian attributes by weakly supervised, attribute-specific localization (ICCV 2019)."""

from alm.errors import AlmError
from alm.loss import WeightedBCELoss
from alm.metrics import AttributeMetrics
from alm.network import APPROACHES, build_model, vote

__all__ = ["APPROACHES", "AlmError", "AttributeMetrics", "WeightedBCELoss", "build_model", "vote"]
