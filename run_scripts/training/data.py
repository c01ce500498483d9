"""Options and a checkpoint -> the data set, its lists and pictures, and each attribute's positive ratio."""

import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.data.cache import cache_directory
from utils.data.catalog import Experiment, find_root, get_experiment, read_names, resolve_paths
from utils.data.dataset import MultiLabelDataset
from utils.data.list_file import constant_columns, positive_ratio, read_list
from utils.errors import DataError
from utils.synthetic import ensure_dataset


@dataclass
class Data:
    """The lists and pictures of a run. `train` is None to evaluate, `val` without an evaluation list."""

    train_list: Path | None
    train: MultiLabelDataset | None
    val: MultiLabelDataset | None


def choose_experiment(
    name: str, attributes: str | None = None, data_root: str | None = None, resumed: Mapping | None = None
) -> Experiment:
    """Return a data set by name; `synthetic` is drawn if it is not there yet.

    The names of `custom` are those of the file `attributes`, else of the checkpoint `resumed`. Raises
    DataError if neither has them.
    """
    if name == "custom":
        if attributes:
            return Experiment("custom", Path(), read_names(attributes))
        if resumed is None or "attributes" not in resumed:
            raise DataError(
                "a published checkpoint does not name its attributes; name them with --attributes"
            )
        return Experiment("custom", Path(), tuple(resumed["attributes"]))
    experiment = get_experiment(name)
    if name == "synthetic":
        ensure_dataset(find_root(experiment, data_root))
    return experiment


def open_data(experiment: Experiment, options: Namespace, to_count: bool) -> Data:
    """Return the lists and pictures of a data set. An evaluation needs the training list only `to_count` its
    positives. Raises DataError if a list that is needed is missing.
    """
    training = not options.evaluate
    train_list = options.train_list if training or to_count else None
    root, train_path, val_path = resolve_paths(
        experiment, options.data_root, train_list, options.val_list, train_required=training
    )
    if val_path is None:
        absence = f"no evaluation list in {root} (looked for {', '.join(experiment.val_lists)})"
        if not training:
            raise DataError(f"{absence}; name one with --val_list")
        warnings.warn(f"{absence}; training goes on without evaluation", stacklevel=1)

    def pictures(label: Path, **skips: bool) -> MultiLabelDataset:
        return MultiLabelDataset(
            root,
            label,
            num_attributes=len(experiment.attributes),
            cache=cache_directory(options.cache, root),
            seed=options.seed,
            follow_links=options.follow_links,
            **skips,
        )

    data = Data(train_path, None, None)
    if val_path:
        data.val = pictures(val_path, skip_missing=options.allow_missing)
    if training:
        data.train = pictures(train_path, skip_missing=True, skip_unreadable=options.on_bad_image == "skip")
        if data.train.missing:
            warnings.warn(f"{data.train.missing_summary()}; training goes on without them", stacklevel=1)
    return data


def known_ratio(
    experiment: Experiment, options: Namespace, resumed: Mapping | None, is_chosen: bool
) -> list[float] | None:
    """Return each attribute's positive ratio, None if the training list has to tell it.

    It is that of the checkpoint `resumed` unless --ratios `is_chosen`.
    """
    if resumed and "positive_ratio" in resumed and not is_chosen:
        return list(resumed["positive_ratio"])
    if options.ratios == "published":
        return list(experiment.positive_ratio)
    if options.evaluate and options.loss == "none":
        return [0.5] * len(experiment.attributes)  # that loss uses none, and an evaluation saves none
    return None


def count_ratio(experiment: Experiment, train_list: Path | None) -> list[float]:
    """Return each attribute's positive ratio in the training list. Raises DataError if that is not there."""
    if train_list is None:
        raise DataError(
            "the loss needs the positive ratios of the list that the model was trained on: name that list "
            "with --train_list; without it, give --loss none, which needs no ratios"
        )
    labels = read_list(train_list, len(experiment.attributes))[1]
    for constant, columns in constant_columns(labels):
        if names := ", ".join(experiment.attributes[k] for k in columns):
            verb = "is" if len(columns) == 1 else "are"
            warnings.warn(
                f"{names} {verb} {constant} in {train_list}, so nothing can be learned of it", stacklevel=1
            )
    return positive_ratio(labels).tolist()
