"""Small models and the files that hold them; for the tests of checkpoints."""

import copy
import functools
import io
import math
import re

import numpy as np
import torch

import alm
from alm.checkpoint.restore import OWN_FORMAT, reference_state

ATTRIBUTES = ("Hat", "Bag", "Skirt")


def model_of(num_attributes=3, approach="inception_iccv", seed=0):
    return copy.deepcopy(built(num_attributes, approach, seed))


@functools.lru_cache(8)
def built(num_attributes, approach, seed):
    """Return a model, which takes longer to build than to copy."""
    torch.manual_seed(seed)
    return alm.build_model(approach, num_attributes)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def own_checkpoint(model, **parts):
    """Return what run_ALM.py saves, but for the optimizer's moments, some parts replaced."""
    attributes = parts.get("attributes") or ATTRIBUTES
    return {
        "format": OWN_FORMAT,
        "approach": model.approach,
        "backbone": model.backbone_name,
        "levels": list(model.levels),
        "mean": list(model.mean),
        "std": list(model.std),
        "experiment": "custom",
        "attributes": list(attributes),
        "positive_ratio": [0.5] * len(attributes),
        "align_corners": model.align_corners,
        "options": {"optimizer": "adam"},
        "epoch": 7,
        "iterations": 70,
        "best_ma": -math.inf,
        "best_accu": 0.5,
        "state_dict": model.state_dict(),
        "optimizer": {"state": {}, "param_groups": []},
        "scaler": {},
        **parts,
    }


def saved(content, old=False):
    """Return the bytes that torch writes, in the old serialization or the new."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def published_file(
    path, model, *, prefix="module.", old=True, numpy_module="numpy.core.multiarray", epoch=40
):
    """Write what the published program writes; `numpy_module` is where it finds the class of its scalar."""
    state = {f"{prefix}{name}": tensor for name, tensor in reference_state(model).items()}
    written = saved({"epoch": epoch, "state_dict": state, "best_accu": np.float64(0.875)}, old)
    if old:
        written, found = re.subn(rb"cnumpy\.\w+\.multiarray\n", f"c{numpy_module}\n".encode(), written)
        assert found == 1
    path.write_bytes(written)
    return path
