"""Write a checkpoint for another program.

python export.py --to reference 60.pth.tar published.pth.tar
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alm import AlmError
from alm.checkpoint import load_checkpoint, published_checkpoint, save_checkpoint
from run_scripts.command import clear_ending, new_parser, tell
from utils.files import unwritable


def main() -> None:
    """Parse, convert, write; an existing file is never written over."""
    options = build_parser().parse_args()
    if options.output.exists():
        raise AlmError(f"{options.output} exists; name a new file")
    if reason := unwritable(options.output):
        raise AlmError(f"{options.output}: {reason}")
    checkpoint = load_checkpoint(options.checkpoint)
    try:
        published = published_checkpoint(checkpoint)
    except AlmError as error:
        raise AlmError(f"{options.checkpoint}: {error}") from error
    # The serialization says which sampling convention the weights are for: see alm/published.py.
    save_checkpoint(options.output, published, old_serialization=checkpoint["align_corners"])
    tell(f"{options.output}: {len(published['state_dict'])} tensors, epoch {published['epoch']}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = new_parser("Write a checkpoint for another program.")
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="what run_ALM.py saved")
    add("output", metavar="OUTPUT", type=Path, help="file to write; must not exist")
    add("--to", choices=("reference",), required=True, help="reference: the published program's layout")
    return parser


if __name__ == "__main__":
    with clear_ending():
        main()
