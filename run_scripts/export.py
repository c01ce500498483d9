"""Write a checkpoint for another program.

python export.py --to reference 60.pth.tar published.pth.tar
python export.py --to onnx 60.pth.tar model.onnx   takes uint8 pictures
python export.py --to onnx --int8 --calibrate val.txt 60.pth.tar model.onnx
python export.py --to torch_export 60.pth.tar model.pt2
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_scripts.cli.main import run

    run("run_scripts.export")

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from alm.checkpoint.restore import (
    is_own,
    load_checkpoint,
    published_checkpoint,
    restored_model,
    save_checkpoint,
)
from alm.constants import THRESHOLD
from alm.errors import AlmError
from alm.inference.export import Deployed, describe_onnx, write_onnx, write_torch_export
from alm.inference.onnx_metadata import Metadata
from alm.inference.thresholds import thresholds_of
from run_scripts.cli.parser import Parser, not_negative, share_or_file
from utils.data.catalog import EXPERIMENTS, find_list
from utils.data.dataset import MultiLabelDataset
from utils.deployment.parity import LIMIT, compare_onnx, compare_torch_export
from utils.deployment.quantization import Int8, Sample, choose_pictures, doubts, write_int8
from utils.io.atomic import temporary_name, unwritable
from utils.io.process import tell
from utils.prediction.load import assumed_attributes, named_attributes

DEPLOYED = ("onnx", "torch_export")
MAX_LOSS = 0.5


def main() -> None:
    """Parse, convert, write; an existing file is never written over."""
    options = parse_options()
    if options.output.exists():
        raise AlmError(f"{options.output} exists; name a new file")
    if reason := unwritable(options.output):
        raise AlmError(f"{options.output}: {reason}")
    export_deployed(options) if options.to in DEPLOYED else export_published(options)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="what run_ALM.py saved, or a published one")
    add("output", metavar="OUTPUT", type=Path, help="the file to write, which must not exist yet")
    add("--to", choices=("reference", *DEPLOYED), required=True,
        help="reference: a checkpoint of the published program. onnx, torch_export: the network, to deploy"
    )  # fmt: skip
    add("--threshold", type=share_or_file, metavar="X|FILE",
        help="a picture has an attribute if its probability is above X; the file says so. A FILE has one "
        "threshold per attribute; run_ALM.py -e --calibrate writes it (default: 0.5)")  # fmt: skip
    add("--evidence", action="store_true",
        help="let the file also give maps of where the evidence for each attribute lies")  # fmt: skip
    add("--experiment", choices=tuple(EXPERIMENTS),
        help="the data set whose attributes a published checkpoint has")  # fmt: skip
    add("--names", metavar="FILE", help="the attributes of a published checkpoint, one name per line")

    add = parser.add_argument_group("8-bit integers, with --to onnx").add_argument
    add("--int8", action="store_true", help="compute the backbone in 8-bit integers. It needs --calibrate")
    add("--calibrate", metavar="LIST",
        help="measure the ranges of the activations on this list, on 256 pictures at most")  # fmt: skip
    add("--val_list", metavar="LIST",
        help="measure mA before and after on this list (default: the other pictures of "
        "--calibrate)")  # fmt: skip
    add("--max_loss", metavar="X", type=not_negative,
        help="write nothing if more than X percentage points of mA are lost "
        f"(default: {MAX_LOSS})")  # fmt: skip
    add("--data_root", metavar="DIR",
        help="the folder that the lists' paths are relative to (default: the list's)")  # fmt: skip
    add("--allow_missing", action="store_true", help="go on if some listed pictures are missing")
    add("--follow_links", action="store_true",
        help="open pictures even if a link leads outside of --data_root")  # fmt: skip
    return parser


def parse_options() -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_args()
    for name in ("threshold", "evidence", "experiment", "names"):
        if options.to == "reference" and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} has no meaning for --to reference; leave it out")
    if options.int8 and (options.to != "onnx" or not options.calibrate):
        parser.error("--int8 is for --to onnx, and needs --calibrate LIST")
    for name in ("calibrate", "val_list", "max_loss", "data_root", "allow_missing", "follow_links"):
        if not options.int8 and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name} is for --int8; give both, or neither")
    if options.max_loss is None:
        options.max_loss = MAX_LOSS
    if options.experiment and options.names:
        parser.error("--experiment and --names both name the attributes; give one of them")
    if options.to == "onnx" and options.output.suffix.lower() != ".onnx":
        parser.error(f"{options.output}: name it .onnx, by which predict.py knows such files")
    return options


def export_published(options: argparse.Namespace) -> None:
    checkpoint = load_checkpoint(options.checkpoint)
    try:
        published = published_checkpoint(checkpoint)
    except AlmError as error:
        raise AlmError(f"{options.checkpoint}: {error}") from error
    # The serialization says which sampling convention the weights are for: see alm/checkpoint/published.py.
    save_checkpoint(options.output, published, old_serialization=checkpoint["align_corners"])
    print(f"{options.output}: {len(published['state_dict'])} tensors, epoch {published['epoch']}")


def export_deployed(options: argparse.Namespace) -> None:
    """Write the network to deploy; the file gets its name once it computes what PyTorch does."""
    checkpoint = load_checkpoint(options.checkpoint)
    model = restored_model(checkpoint, options.checkpoint)
    about = describe(options, checkpoint, model)
    pictures = choose_int8_pictures(options, about.attributes) if options.int8 else None
    deployed = Deployed(model, options.evidence).eval()
    temporary = temporary_name(options.output)
    try:
        if options.to == "onnx":
            write_onnx(deployed, temporary, about.texts())
            difference = compare_onnx(deployed, temporary)
        else:
            write_torch_export(deployed, temporary, about.texts())
            difference = compare_torch_export(deployed, temporary)
        check = f"at most {difference:.1g} from PyTorch (limit {LIMIT:g})"
        if pictures:
            int8 = replace_by_int8(temporary, about, *pictures, options.max_loss)
            check = "; ".join([str(int8), *doubts(int8, *pictures, checkpoint, options.max_loss)])
        temporary.rename(options.output)
    finally:
        temporary.unlink(missing_ok=True)
    size = options.output.stat().st_size / 1e6
    tell(f"{options.output}: {len(about.attributes)} attributes, {size:.1f} MB; {check}")


def choose_int8_pictures(options: argparse.Namespace, attributes: Sequence[str]) -> tuple[Sample, Sample]:
    def pictures(option: str, name: str) -> MultiLabelDataset:
        root = Path(options.data_root or Path(name).parent)
        return MultiLabelDataset(
            root,
            find_list(root, name, (), option),
            num_attributes=len(attributes),
            skip_missing=options.allow_missing,
            follow_links=options.follow_links,
        )

    calibration = pictures("--calibrate", options.calibrate)
    evaluation = pictures("--val_list", options.val_list) if options.val_list else None
    return choose_pictures(calibration, evaluation, attributes)


def replace_by_int8(
    path: Path, about: Metadata, calibration: Sample, measured: Sample, max_loss: float
) -> Int8:
    """Replace an exported network by its integers. Raises DataError if that loses too much mA."""
    quantized = temporary_name(path)
    try:
        int8 = write_int8(path, quantized, calibration, measured, max_loss)
        describe_onnx(quantized, {**about.texts(), **int8.texts()})
        quantized.rename(path)
    finally:
        quantized.unlink(missing_ok=True)
    return int8


def describe(options: argparse.Namespace, checkpoint: Mapping, model: nn.Module) -> Metadata:
    """Return the file's metadata. Raises AlmError if the attributes are not known."""
    count, names = model.classifier.out_features, named_attributes(options.experiment, options.names)
    attributes = model.attributes or names
    if attributes is None:
        attributes, note = assumed_attributes(str(options.checkpoint), count)
        tell(f"note: {note}", to=sys.stderr)
    if len(attributes) != count or (names and tuple(names) != tuple(attributes)):
        raise AlmError(
            f"{options.checkpoint}: its {count} attributes are not those of --experiment or --names"
        )
    dataset = checkpoint["experiment"] if is_own(checkpoint) else options.experiment or ""
    thresholds = thresholds_of(attributes, THRESHOLD if options.threshold is None else options.threshold)
    return Metadata(
        tuple(attributes), str(dataset), tuple(thresholds.tolist()), model.align_corners, model.levels
    )
