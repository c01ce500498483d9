"""Write a checkpoint for another program.

python export.py --to reference 60.pth.tar published.pth.tar
python export.py --to onnx 60.pth.tar model.onnx              one file, uint8 pictures in
python export.py --to torch_export 60.pth.tar model.pt2
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run_scripts.beginning import guard

if __name__ == "__main__":
    guard()  # while the rest is imported

import argparse

from alm import AlmError
from alm.checkpoint import is_own, load_checkpoint, load_model, published_checkpoint, save_checkpoint
from alm.deployed import Deployed, write_onnx, write_torch_export
from run_scripts.command import clear_ending, new_parser, number
from run_scripts.load_predictor import assumed_attributes, named_attributes
from utils.deployment_check import LIMIT, compare_onnx, compare_torch_export
from utils.experiments import EXPERIMENTS
from utils.files import temporary_name, unwritable
from utils.onnx_metadata import Metadata

DEPLOYED = ("onnx", "torch_export")


def main() -> None:
    """Parse, convert, write; an existing file is never written over."""
    options = parse_options()
    if options.output.exists():
        raise AlmError(f"{options.output} exists; name a new file")
    if reason := unwritable(options.output):
        raise AlmError(f"{options.output}: {reason}")
    export_deployed(options) if options.to in DEPLOYED else export_published(options)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = new_parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="what run_ALM.py saved, or a published one")
    add("output", metavar="OUTPUT", type=Path, help="file to write; must not exist")
    add(
        "--to",
        choices=("reference", *DEPLOYED),
        required=True,
        help="reference: the published program's layout; onnx, torch_export: the network to deploy",
    )
    add("--threshold", type=share, metavar="X", help="above which an attribute is there; default 0.5")
    add("--experiment", choices=tuple(EXPERIMENTS), help="whose attributes a published checkpoint has")
    add("--names", metavar="FILE", help="the attributes' names, one a line, of a published checkpoint")
    return parser


def share(text: str) -> float:
    """Parse a number between 0 and 1; a type for argparse."""
    return number(text, "between 0 and 1", lambda value: 0 < value < 1)


def parse_options() -> argparse.Namespace:
    """Return the options, none of which is without meaning."""
    parser = build_parser()
    options = parser.parse_args()
    for name in ("threshold", "experiment", "names"):
        if options.to == "reference" and getattr(options, name) is not None:
            parser.error(f"--{name} has no meaning for --to reference; leave it out")
    if options.experiment and options.names:
        parser.error("--experiment and --names both name the attributes; give one of them")
    if options.to == "onnx" and options.output.suffix.lower() != ".onnx":
        parser.error(f"{options.output}: name it .onnx, as predict.py knows such files by")
    return options


def export_published(options: argparse.Namespace) -> None:
    """Write the published program's layout."""
    checkpoint = load_checkpoint(options.checkpoint)
    try:
        published = published_checkpoint(checkpoint)
    except AlmError as error:
        raise AlmError(f"{options.checkpoint}: {error}") from error
    # The serialization says which sampling convention the weights are for: see alm/published.py.
    save_checkpoint(options.output, published, old_serialization=checkpoint["align_corners"])
    print(f"{options.output}: {len(published['state_dict'])} tensors, epoch {published['epoch']}")


def export_deployed(options: argparse.Namespace) -> None:
    """Write the network to deploy; it gets its name when it computes what PyTorch does."""
    about = describe(options)
    deployed = Deployed(load_model(options.checkpoint)).eval()
    temporary = temporary_name(options.output)
    try:
        if options.to == "onnx":
            write_onnx(deployed, temporary, about.texts())
            difference = compare_onnx(deployed, temporary)
        else:
            write_torch_export(deployed, temporary, about.texts())
            difference = compare_torch_export(deployed, temporary)
        temporary.rename(options.output)
    finally:
        temporary.unlink(missing_ok=True)
    size = options.output.stat().st_size / 1e6
    print(
        f"{options.output}: {len(about.attributes)} attributes, {size:.1f} MB; "
        f"at most {difference:.1g} from PyTorch (limit {LIMIT:g})"
    )


def describe(options: argparse.Namespace) -> Metadata:
    """Return what the file will say of itself. Raises AlmError where the attributes are not known."""
    checkpoint = load_checkpoint(options.checkpoint)
    model = load_model(options.checkpoint)
    count, named = model.classifier.out_features, named_attributes(options.experiment, options.names)
    attributes = model.attributes or named
    if attributes is None:
        attributes, note = assumed_attributes(str(options.checkpoint), count)
        print(f"note: {note}", file=sys.stderr)
    if len(attributes) != count or (named and tuple(named) != tuple(attributes)):
        raise AlmError(f"{options.checkpoint}: its {count} attributes are not those that are named")
    dataset = checkpoint["experiment"] if is_own(checkpoint) else options.experiment or ""
    threshold = 0.5 if options.threshold is None else options.threshold
    return Metadata(tuple(attributes), str(dataset), (threshold,) * count, model.align_corners)


if __name__ == "__main__":
    with clear_ending():
        main()
