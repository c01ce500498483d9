"""A checkpoint of any kind -> what predicts with it, and the names of its attributes."""

from argparse import Namespace

from alm.devices.host import default_threads
from alm.errors import AlmError
from alm.inference.prediction import PicturePredictor
from utils.data.catalog import EXPERIMENTS, custom_experiment, get_experiment
from utils.deployment.onnx_predictor import OnnxPredictor


def chosen_predictor(options: Namespace) -> tuple[PicturePredictor, list[str]]:
    """Return what `load_predictor` does with the options of predict.py."""
    return load_predictor(
        options.checkpoint,
        device=options.device,
        experiment=options.experiment,
        names=options.names,
        align_corners=options.align_corners,
        threads=options.threads,
    )


def load_predictor(
    checkpoint: str,
    *,
    device: str = "auto",
    experiment: str | None = None,
    names: str | None = None,
    align_corners: bool | None = None,
    threads: int | None = None,
) -> tuple[PicturePredictor, list[str]]:
    """Return the predictor of a checkpoint, and lines that say what was assumed.

    The attributes are those of the `experiment` or of the file `names`, else the checkpoint's own, else, of a
    published checkpoint, those of the one data set that has as many. Of an .onnx file all is in the file, and
    torch is not imported. `threads` of the CPU compute, by default as many as alm.devices.host says. Raises
    AlmError or AlmError.
    """
    threads = threads or default_threads()
    if is_onnx(checkpoint):
        return load_onnx(checkpoint, device, named_attributes(experiment, names), align_corners, threads), []
    if checkpoint.lower().endswith(".pt2"):
        raise AlmError(f"{checkpoint} is for torch.export.load; name the checkpoint that it was made of")
    import torch

    from alm.checkpoint.restore import load_model  # torch, for those whose checkpoint needs it
    from alm.devices.device import choose_device
    from alm.devices.precision import set_arithmetic
    from alm.inference.predictor import Predictor

    model = load_model(checkpoint)
    attributes, notes = named_attributes(experiment, names), []
    if attributes is None and model.attributes is None:
        attributes, note = assumed_attributes(checkpoint, model.classifier.out_features)
        notes.append(note)
    if align_corners is not None:
        model.align_corners = align_corners
    set_arithmetic(choose_device(device), None)
    torch.set_num_threads(threads)
    try:
        return Predictor(model, attributes, device), notes
    except AlmError as error:
        raise AlmError(f"{checkpoint}: {error}") from error


def is_onnx(checkpoint: str) -> bool:
    """Whether a file is named as an exported one."""
    return checkpoint.lower().endswith(".onnx")


def load_onnx(
    path: str, device: str, attributes: tuple[str, ...] | None, align_corners: bool | None, threads: int
) -> OnnxPredictor:
    """Return the predictor of an .onnx file. Raises AlmError where what is named is not what is in it."""
    predictor = OnnxPredictor(path, threads)
    if device != "auto":
        raise AlmError(
            f"--device {device}: an .onnx file is always computed on the CPU; leave the option out"
        )
    if attributes is not None and attributes != predictor.attributes:
        raise AlmError(f"{path}: its attributes are others than those named; leave the names to it")
    if align_corners is not None and align_corners != predictor.align_corners:
        raise AlmError(f"{path}: its sampling convention cannot be changed; export it anew")
    return predictor


def named_attributes(experiment: str | None, names: str | None) -> tuple[str, ...] | None:
    """Return the attributes of a data set or of a file, where either is named."""
    if names:
        return custom_experiment(names).attributes
    return get_experiment(experiment).attributes if experiment else None


def assumed_attributes(checkpoint: str, number: int) -> tuple[tuple[str, ...], str]:
    """Return the attributes of the one published data set that has as many, and a line that says so."""
    for experiment in EXPERIMENTS.values():
        if len(experiment.attributes) == number:
            return experiment.attributes, (
                f"{checkpoint} does not name its {number} attributes; they are taken to be those of "
                f"{experiment.name}, in their order (--experiment or --names tells others)"
            )
    raise AlmError(
        f"{checkpoint} does not name its {number} attributes, and no published data set has as many; name "
        "them with --names FILE, one a line"
    )
