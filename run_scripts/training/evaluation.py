"""Results of an evaluation: printed, and kept in the files that the options name."""

import platform
import time
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import nn

import alm
from alm.constants import THRESHOLD
from alm.devices.device import device_name
from alm.devices.precision import precision_name
from alm.inference.prediction import boxes
from alm.inference.predictor import Predictor
from alm.training.evaluation import Evaluation
from run_scripts.training.setup import TrainingSetup
from utils.data.catalog import identities
from utils.evaluation import results
from utils.evaluation.pointing import Pointing, located_evidence, pointing_lines, pointing_record, score
from utils.evaluation.prediction_table import write_predictions
from utils.evaluation.significance import intervals, tally
from utils.evaluation.thresholds import about_thresholds, calibrate
from utils.io.atomic import indented_json
from utils.io.phrases import counted
from utils.report.evaluation import Report
from utils.report.page import render
from utils.runs.history import read_history
from utils.runs.training_log import TrainingLog


def report_evaluation(
    setup: TrainingSetup,
    network: nn.Module,
    directory: Path | None,
    log: TrainingLog,
    epoch: int,
    evaluation: Evaluation,
) -> None:
    """Print an evaluation of a network after `epoch` epochs, and write the files that the options name."""
    options, experiment, pictures = setup.options, setup.experiment, setup.data.val
    attributes, labels = experiment.attributes, pictures.labels.numpy()
    rows = evaluation, attributes, len(pictures), pictures.listed
    log.detail(results.evaluation_table(*rows))
    if options.threshold:
        log.line(about_thresholds(options.threshold, pictures.label))
    sample = tally(evaluation.margins.numpy() > 0, labels, identities(pictures.names))
    spans = intervals(sample), sample.units, sample.resampled
    log.detail(results.interval_lines(*spans))
    log.evaluation(epoch, evaluation.figures)
    record = {"experiment": experiment.name, "approach": options.approach, "epoch": epoch}
    record["list_digest"] = pictures.digest()
    if options.threshold:
        record["thresholds"] = options.threshold
    record |= results.evaluation_record(*rows) | {"intervals": results.interval_record(*spans)}
    regions = boxes(evaluation.regions or {}, setup.model.align_corners)
    pointing, predictor = None, None
    if regions and (setup.true_boxes is not None or options.report):
        predictor = Predictor(network, attributes, str(setup.device), evidence=True)
    if regions and setup.true_boxes is not None:
        evidence = located_evidence(predictor, pictures.paths, setup.true_boxes)
        of_levels = evaluation.branches[: len(regions)].numpy()
        pointing = score(regions, of_levels, setup.true_boxes, evidence)
        log.detail(pointing_lines(pointing))
        record["pointing"] = pointing_record(pointing, attributes)
    log.record(record)
    if options.json and not options.runs and log.page(options.json, indented_json(record)):
        log.detail(f"Figures: {options.json}")
    if options.predictions:
        write_predictions(options.predictions, pictures.names, attributes, evaluation.logits.numpy())
        log.line(f"Predictions: {options.predictions}, the logits of {counted(pictures, 'picture')}")
    if options.calibrate:
        probabilities = evaluation.logits.sigmoid().numpy()  # as predict.py computes them
        trained = pictures.is_training_list(setup.checkpoint)
        log.line(calibrate(options.calibrate, probabilities, pictures, experiment, options.resume, trained))
    if options.report:
        content = report_content(setup, directory, record, evaluation, regions, pointing, predictor)
        if log.page(options.report, render(content)):
            log.detail(f"Report: {options.report}")


def report_content(
    setup: TrainingSetup,
    directory: Path | None,
    record: dict,
    evaluation: Evaluation,
    regions: dict[str, np.ndarray],
    pointing: Pointing | None,
    predictor: Predictor | None,
) -> Report:
    """Return the content of a report; its curves are of the run that the checkpoint lies in, on this list."""
    options = setup.options
    run = Path(options.resume).parent if options.evaluate else directory
    history = read_history(run, record)
    about = {
        "Evaluated": options.resume if options.evaluate else f"the run in {directory}",
        "List": str(setup.data.val.label),
        "Date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "Device": f"{setup.device}, {device_name(setup.device)}",
        "Precision": precision_name(setup.precision),
        "Sampling": f"align_corners {str(setup.model.align_corners).lower()}",
        "Thresholds": options.threshold or str(THRESHOLD),
        "Versions": f"ALM {alm.__version__}, torch {torch.__version__}, NumPy {np.__version__}, "
        f"Pillow {PIL.__version__}, Python {platform.python_version()}",
    }
    name = Path(options.resume).name if options.evaluate else directory.name
    return Report(
        record,
        setup.data.val,
        evaluation.margins.numpy(),
        evaluation.branches.numpy(),
        regions,
        pointing,
        predictor,
        history,
        name,
        vars(options),
        about,
    )
