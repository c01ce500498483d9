"""What run_ALM.py -e --calibrate writes: thresholds for predict.py."""

from pathlib import Path

import numpy as np
import torch

from utils.data.catalog import Experiment
from utils.data.dataset import MultiLabelDataset
from utils.evaluation.thresholds import best_thresholds, choice_lines, write_thresholds


def calibrate(
    path: str, logits: np.ndarray, pictures: MultiLabelDataset, experiment: Experiment, checkpoint: str
) -> str:
    """Write each attribute's best threshold on the pictures that were evaluated; return what is told of it.

    `logits` (N, K) are those of the `checkpoint`.
    """
    probabilities = torch.from_numpy(logits).sigmoid().numpy()  # as predict.py computes them
    choice = best_thresholds(probabilities, pictures.labels.numpy())
    about = {"list": str(pictures.label), "pictures": len(pictures), "checkpoint": str(checkpoint)}
    write_thresholds(path, experiment.attributes, choice, about)
    is_test_list = Path(pictures.label).name in experiment.val_lists
    return choice_lines(path, pictures.label, experiment.attributes, choice, is_test_list)
