"""What is printed and kept of an evaluation."""

import platform
import time
from pathlib import Path

import numpy as np
import PIL
import torch

import alm
from alm.devices.device import device_name
from alm.devices.precision import precision_name
from alm.inference.prediction import boxes
from run_scripts.training.setup import Start
from utils.data.catalog import identities
from utils.evaluation.pointing import Pointing, pointing_lines, pointing_record, score
from utils.evaluation.prediction_table import write_predictions
from utils.evaluation.significance import intervals, tally
from utils.evaluation.thresholds import calibrate
from utils.io.atomic import indented_json
from utils.report.evaluation import Evaluation
from utils.report.page import render
from utils.runs import log_text
from utils.runs.history import read_history
from utils.runs.training_log import TrainingLog


def record_evaluation(
    begun: Start, directory: Path | None, log: TrainingLog, epoch: int, figures: dict
) -> None:
    """Print an evaluation's table and keep its figures where the options say, after `epoch` epochs."""
    options, attributes, pictures = begun.options, begun.experiment.attributes, begun.data.val
    logits, branches = figures.pop("logits").numpy(), figures.pop("branches", None)
    regions = {
        level: boxes(region.numpy(), level, begun.model.align_corners)
        for level, region in figures.pop("regions", {}).items()
    }
    shared = (figures, attributes, len(pictures), pictures.listed)
    log.line(log_text.evaluation_table(*shared))
    sample = tally(logits > 0, pictures.labels.numpy(), identities(pictures.names))
    spans = (intervals(sample), sample.units, sample.resampled)
    log.line(log_text.interval_lines(*spans))
    log.evaluation(epoch, {name: value for name, value in figures.items() if isinstance(value, float)})
    record = {"experiment": begun.experiment.name, "approach": options.approach, "epoch": epoch}
    record |= log_text.evaluation_record(*shared) | {"intervals": log_text.interval_record(*spans)}
    pointing = None
    if begun.true_boxes is not None and regions:
        pointing = score(regions, branches[: len(regions)].numpy(), begun.true_boxes)
        log.line(pointing_lines(pointing))
        record["pointing"] = pointing_record(pointing, attributes)
    log.record(record)
    if options.json:
        log.page(options.json, indented_json(record))
    if options.predictions:
        write_predictions(options.predictions, pictures.names, attributes, logits)
    if options.calibrate:
        log.line(calibrate(options.calibrate, logits, pictures, begun.experiment, options.resume))
    if options.report:
        evaluation = evaluation_of(begun, directory, record, branches.numpy(), regions, pointing)
        if log.page(options.report, render(evaluation)):
            log.line(f"Report: {options.report}")


def evaluation_of(
    begun: Start,
    directory: Path | None,
    record: dict,
    branches: np.ndarray,
    regions: dict[str, np.ndarray],
    pointing: Pointing | None,
) -> Evaluation:
    """Return what a report is made of; the curves are those of the run that the checkpoint lies in."""
    options = begun.options
    history = read_history(Path(options.resume).parent if options.evaluate else directory)
    about = {
        "Evaluated": options.resume if options.evaluate else f"the run in {directory}",
        "List": str(begun.data.val.label),
        "Date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "Device": f"{begun.device.type}, {device_name(begun.device)}",
        "Precision": precision_name(begun.precision),
        "Sampling": f"align_corners {str(begun.model.align_corners).lower()}",
        "Versions": f"ALM {alm.__version__}, torch {torch.__version__}, NumPy {np.__version__}, "
        f"Pillow {PIL.__version__}, Python {platform.python_version()}",
    }
    name = Path(options.resume).name if options.evaluate else directory.name
    return Evaluation(
        record, begun.data.val, branches, regions, pointing, history, name, vars(options), about
    )
