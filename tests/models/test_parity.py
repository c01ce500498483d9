"""Against the published program's numbers (float64): forward, gradients, training, metrics."""

import importlib.util
import json
import zlib

import numpy as np
import pytest
import torch
from support import THOROUGH

import alm
from alm.checkpoint.restore import load_reference_state, to_reference
from utils.data.catalog import EXPERIMENTS
from utils.data.list_file import read_list

PREDICTIONS = ("pred_3b", "pred_4d", "pred_5b", "pred_main")


@pytest.fixture(scope="module")
def reference(shared):
    """Return weights.py of the reference data: fill(shapes), images(count, seed)."""
    spec = importlib.util.spec_from_file_location("reference_weights", shared / "reference" / "weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_shapes(shared, num_attributes):
    """Return {name: shape} of the published layout for K attributes, from the file for 35."""
    shapes = json.loads((shared / "reference" / "state_dict_peta.json").read_text(encoding="utf-8"))
    first = {name: shape for name, shape in shapes.items() if "_list." not in name}
    for name, shape in shapes.items():
        if "_list.0." in name:
            for k in range(num_attributes):
                first[name.replace("_list.0.", f"_list.{k}.")] = shape
    first["finalfc.weight"], first["finalfc.bias"] = [num_attributes, 1024], [num_attributes]
    return first


def filled_model(shared, reference, num_attributes):
    model = alm.build_model("inception_iccv", num_attributes)
    state = reference.fill(reference_shapes(shared, num_attributes))
    load_reference_state(model, {name: torch.from_numpy(value) for name, value in state.items()})
    return model.double()


def pictures(reference, *arguments, **options):
    return torch.from_numpy(reference.images(*arguments, **options)).double()


def peta_loss(weighting="reference"):
    return alm.WeightedBCELoss(EXPERIMENTS["peta"].positive_ratio, weighting)


def peta_labels(shared, count):
    return torch.from_numpy(read_list(shared / "labels" / "PETA_train_list.txt", 35)[1][:count])


def worst(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max()


@pytest.mark.parametrize(
    ("name", "count", "num_attributes"), [("peta", 4, 35), pytest.param("rap", 2, 51, marks=pytest.mark.slow)]
)
def test_forward(shared, reference, name, count, num_attributes):
    expected = np.load(shared / "reference" / f"forward_{name}.npz")
    model = filled_model(shared, reference, num_attributes).eval()
    images = pictures(reference, count)
    with torch.no_grad():
        predictions, regions = model.predict(images)
    for key, ours in zip(PREDICTIONS, predictions, strict=True):
        assert worst(ours, expected[key]) < 1e-11, key
    for level, ours in regions.items():
        assert worst(ours, expected[f"region_{level}"]) < 1e-11, level


@pytest.mark.slow
def test_gradient(shared, reference):
    expected = np.load(shared / "reference" / "gradient_peta.npz")
    model = filled_model(shared, reference, 35).train()
    criterion, labels = peta_loss(), peta_labels(shared, 4)
    predictions = model(pictures(reference, 4, seed=1))
    losses = [criterion(prediction, labels) for prediction in predictions]
    sum(losses).backward()

    assert worst([loss.item() for loss in losses], expected["losses"]) < 1e-10
    assert abs(sum(losses).item() / expected["loss"] - 1) < 1e-10
    for key, ours in zip(PREDICTIONS, predictions, strict=True):
        assert worst(ours.detach(), expected[f"train_{key}"]) < 1e-10, key

    gradients = to_reference({name: parameter.grad for name, parameter in model.named_parameters()})
    assert set(gradients) == set(expected["parameter"])
    for index, name in enumerate(expected["parameter"]):
        ours = gradients[name].numpy()
        direction = np.random.RandomState(zlib.crc32(f"dir:{name}".encode())).standard_normal(ours.shape)
        norm, projection = np.linalg.norm(ours), (ours * direction).sum()
        # A convolution's bias before BatchNorm has a true gradient of zero: the rest is rounding.
        rounding = name.startswith("main_branch.") and name.endswith(".bias") and "_bn." not in name
        tolerance = 1e-10 if rounding else 1e-10 * expected["grad_norm"][index]
        assert abs(norm - expected["grad_norm"][index]) < tolerance, name
        assert abs(projection - expected["grad_projection"][index]) < tolerance * ours.size**0.5, name


@pytest.mark.slow
def test_training(shared, reference):
    expected = np.load(shared / "reference" / "training_peta.npz")
    model = filled_model(shared, reference, 35).train()
    images, labels = pictures(reference, 48, seed=2), peta_labels(shared, 48)
    criterion = peta_loss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4)
    for step, expected_loss in enumerate(expected["step_loss"][: None if THOROUGH else 2]):
        batch = slice(4 * step, 4 * step + 4)
        loss = sum(criterion(prediction, labels[batch]) for prediction in model(images[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert abs(loss.item() - expected_loss) < 1e-9, step
    if not THOROUGH:
        return
    with torch.no_grad():
        predictions = model.eval()(images[:4])
    for key, ours in zip(PREDICTIONS, predictions, strict=True):
        assert worst(ours, expected[f"final_{key}"]) < 1e-9, key


@pytest.mark.parametrize(("name", "num_attributes"), [("peta", 35), ("rap", 51)])
def test_metrics(shared, name, num_attributes):
    expected = np.load(shared / "reference" / f"metrics_{name}.npz")
    labels = read_list(shared / "labels" / f"{name.upper()}_test_list.txt", num_attributes)[1]
    noise = np.random.RandomState(3).standard_normal(labels.shape)
    logits = (noise + 1.2 * (labels == 1) - 0.6).astype(np.float32)
    metrics = alm.AttributeMetrics(num_attributes)
    for start in range(0, len(labels), 1000):
        batch = slice(start, start + 1000)
        metrics.update(torch.from_numpy(logits[batch]), torch.from_numpy(labels[batch]))
    ours = metrics.compute()
    for key in expected:
        assert worst(ours[key], expected[key]) < 1e-12, key
