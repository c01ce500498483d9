"""A checkpoint, ours, published or exported -> its predictor, and the names of its attributes."""

from pathlib import Path

from alm.devices.host import default_threads
from alm.errors import AlmError
from alm.inference.prediction import PicturePredictor
from alm.inference.predictor import Predictor, is_onnx
from utils.data.catalog import EXPERIMENTS, get_experiment, read_names

COMES_ALONG = Path(__file__).resolve().parents[2] / "run_scripts" / "models" / "peta.onnx"


def load_predictor(
    checkpoint: str,
    *,
    device: str = "auto",
    experiment: str | None = None,
    names: str | None = None,
    align_corners: bool | None = None,
    threads: int | None = None,
    evidence: bool = False,
) -> tuple[PicturePredictor, list[str]]:
    """Return the predictor of a checkpoint, and lines that say what was assumed.

    The attributes are those of `experiment` or of the file `names`, else the checkpoint's own. A published
    checkpoint has none: it gets those of the one data set that has as many. An .onnx file needs no torch and
    keeps its own attributes and `align_corners`. `threads` of the CPU compute, by default all that it
    has. With `evidence`, predictions have it; an .onnx file gives it if it was exported so. Raises AlmError.
    """
    threads = threads or default_threads()
    attributes = named_attributes(experiment, names)
    if is_onnx(checkpoint):
        predictor = Predictor.from_file(checkpoint, device, attributes, threads=threads)
        if align_corners not in (None, predictor.align_corners):
            raise AlmError(f"{checkpoint}: --align_corners cannot change an exported file; export it again")
        return predictor, []
    import torch

    from alm.checkpoint.restore import load_model  # torch, for those whose checkpoint needs it
    from alm.devices.device import choose_device
    from alm.devices.precision import set_arithmetic

    model, notes = load_model(checkpoint), []
    if attributes is None and model.attributes is None:
        attributes, note = assumed_attributes(checkpoint, model.classifier.out_features)
        notes.append(note)
    if align_corners is not None:
        model.align_corners = align_corners
    set_arithmetic(choose_device(device), None)
    torch.set_num_threads(threads)
    try:
        return Predictor(model, attributes, device, evidence=evidence), notes
    except AlmError as error:
        raise AlmError(f"{checkpoint}: {error}") from error


def named_attributes(experiment: str | None, names: str | None) -> tuple[str, ...] | None:
    """Return the attributes of a file or of a data set, or None if neither is given."""
    if names:
        return read_names(names)
    return get_experiment(experiment).attributes if experiment else None


def assumed_attributes(checkpoint: str, number: int) -> tuple[tuple[str, ...], str]:
    """Return the attributes of the one published data set that has as many, and a line that says so."""
    for experiment in EXPERIMENTS.values():
        if len(experiment.attributes) == number:
            return experiment.attributes, (
                f"{checkpoint} does not name its {number} attributes; they are taken to be those of "
                f"{experiment.name}, in their order (use --experiment or --names if they are others)"
            )
    raise AlmError(
        f"{checkpoint} does not name its {number} attributes, and no published data set has as many; name "
        "them with --names FILE, one per line"
    )
