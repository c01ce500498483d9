"""predict.py with what it cannot do: one line, the right exit status, and nothing left behind."""

import io
import json

import pytest
from PIL import Image
from support.models import ATTRIBUTES, model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from run_scripts import predict
from utils.evaluation.thresholds import FORMAT


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return a folder of two checkpoints, alm.pth.tar and, without regions, baseline.pth.tar."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(folder / "alm.pth.tar", own_checkpoint(model_of()))
    baseline = own_checkpoint(model_of(approach="bn_inception"))
    save_checkpoint(folder / "baseline.pth.tar", baseline)
    return folder


@pytest.fixture
def refused(start_here, checkpoints, tmp_path, monkeypatch):
    """Return a function that starts the command where the following lies, and returns its one line."""
    monkeypatch.chdir(tmp_path)
    for name in ("alm", "baseline"):
        (tmp_path / f"{name}.pth.tar").symlink_to(checkpoints / f"{name}.pth.tar")
    for folder in ("in", "empty", "full"):
        (tmp_path / folder).mkdir()
    for name in ("in/a.png", "full/b.png"):
        Image.new("RGB", (40, 120)).save(tmp_path / name)
    (tmp_path / "bad.txt").write_text("in/a.png 0 1 1\nin/b.png 0 1\n")
    (tmp_path / "nothing.txt").write_text("\n")
    (tmp_path / "link.txt").write_text("in/a.png 0 1 1\nin/out.png 1 1 1\n")
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "root" / "in" / "a.png").symlink_to(tmp_path / "in" / "a.png")
    for name, thresholds in (("other", {"Cap": 0.5}), ("more", dict.fromkeys((*ATTRIBUTES, "Cap"), 0.5))):
        content = {"format": FORMAT, "thresholds": thresholds}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))

    def refused(command, status):
        output, errors = start_here(predict, "--device", "cpu", *command.split(), status=status)
        assert output == ""
        assert errors.startswith("error: ")
        assert errors.index("\n") == len(errors) - 1
        assert sorted(tmp_path.rglob("*")) == before
        return errors

    return refused


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--checkpoint absent.pth.tar in", "absent.pth.tar"),
        ("--checkpoint in/a.png in", "in/a.png"),
        (
            "--checkpoint alm.pth.tar absent.jpg",
            "absent.jpg: there is no such file or folder; check",
        ),
        ("--checkpoint alm.pth.tar empty", "empty has no pictures; pictures end in .bmp, "),
        ("--checkpoint alm.pth.tar in/*.jpg", "in/*.jpg matches no picture"),
        ("--checkpoint alm.pth.tar /dev/null", "/dev/null is a device or a pipe; name pictures"),
        ("--checkpoint alm.pth.tar bad.txt", "bad.txt:2: 2 labels, expected 3; give one label for each"),
        ("--checkpoint alm.pth.tar nothing.txt", "nothing.txt is empty; write"),
        ("--checkpoint alm.pth.tar link.txt --data_root root", "leads out of root through a link, to "),
        ("--checkpoint alm.pth.tar in --threshold other.json", "other.json has no threshold for 'Hat'"),
        ("--checkpoint alm.pth.tar in --threshold more.json", "more.json is for other attributes too"),
        ("--checkpoint alm.pth.tar in --threshold bad.txt", "bad.txt is no file of thresholds; run_ALM.py"),
        ("--checkpoint alm.pth.tar in --threshold absent.json", "cannot read absent.json (No such file"),
        ("--checkpoint alm.pth.tar in --regions full", "full is not empty; name a new directory"),
        ("--checkpoint alm.pth.tar in --regions bad.txt", "bad.txt: File exists"),
        ("--checkpoint alm.pth.tar in --regions a --attributes Hot", "does not predict 'Hot'; 'Hat' is the"),
        ("--checkpoint baseline.pth.tar in --regions a", "has no regions to draw; leave out --regions"),
        ("--checkpoint alm.pth.tar in --experiment peta", "35 attributes are named, and it is of 3; name as"),
        ("--checkpoint alm.pth.tar - --csv a.csv", "no paths came on standard input"),
    ],
)
def test_bad_input(refused, monkeypatch, command, words):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert words in refused(command, status=1)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("in", "--checkpoint"),
        ("--checkpoint alm.pth.tar", "name at least one PATH"),
        ("--checkpoint alm.pth.tar in --csv absent/a.csv", "--csv absent/a.csv: there is no such directory"),
        ("--checkpoint alm.pth.tar in --json full", "--json full: that is a directory; name a file"),
        ("--checkpoint alm.pth.tar in --csv alm.pth.tar", "the command reads it, and it would be written"),
        ("--checkpoint alm.pth.tar bad.txt --csv bad.txt", "the command reads it, and it would be written"),
        (
            "--checkpoint alm.pth.tar in --csv in/a.png",
            "--csv in/a.png: that is a picture's name",
        ),
        ("--checkpoint alm.pth.tar in --csv a --json a", "--csv names it too"),
        ("--checkpoint alm.pth.tar in --csv - --json -", "cannot both go to standard output"),
        ("--checkpoint alm.pth.tar in --threshold 1.5", "'1.5' is not a number from 0 to 1"),
        ("--checkpoint alm.pth.tar in --threshold nan", "'nan' is not a number from 0 to 1"),
        ("--checkpoint alm.pth.tar in --batch_size 0", "'0' is not a whole number from 1"),
        ("--checkpoint alm.pth.tar in --attributes Hat", "give both, or neither"),
        ("--checkpoint alm.pth.tar in --regions a --attributes ,", "give names, separated by commas"),
        ("--checkpoint alm.pth.tar in --experiment peta --names bad.txt", "give one of them"),
        ("--checkpoint alm.pth.tar in --experiment rap2", "rap2"),
    ],
)
def test_a_wrong_option(refused, command, words):
    assert words in refused(command, status=2)
