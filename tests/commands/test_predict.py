"""predict.py: what it reads, what it writes, what it refuses, and how it ends."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from support import REPOSITORY, THOROUGH
from support.drawn import files
from support.known import Known, prediction_of
from support.models import ATTRIBUTES

from alm.errors import PictureError
from run_scripts import predict
from utils.prediction.sources import Source
from utils.prediction.tally import Tally
from utils.prediction.writers import Writer


@pytest.fixture
def people(tmp_path):
    """Return a folder of three pictures, 0.png to 2.png."""
    (tmp_path / "in").mkdir()
    for k in range(3):
        colours = np.random.default_rng(k).integers(0, 256, (12, 4, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((40 + k, 120)).save(tmp_path / "in" / f"{k}.png")
    return tmp_path / "in"


@pytest.fixture
def known(start_here, monkeypatch):
    """Return a function that predicts without a network; the checkpoint is any file."""
    monkeypatch.setattr(predict, "load_predictor", lambda *_, **__: (Known(), ["assumed"]))

    def known(*options, status=0):
        return start_here(predict, "--checkpoint", __file__, *options, status=status)

    return known


def names(output):
    return [json.loads(line)["path"] for line in output.splitlines()]


def test_all_outputs_tell_the_same_and_a_corrupt_picture_is_left_out(
    start_here, checkpoint, predictor, people, tmp_path
):
    (people / "1.jpg").write_bytes(b"\xff\xd8junk")
    options = ("--checkpoint", checkpoint, "--device", "cpu", "--batch_size", 3, "--workers", 1)
    outputs = ("--csv", tmp_path / "a.csv", "--json", "-", "--regions", tmp_path / "sheets")
    output, errors = start_here(predict, *options, *outputs, "--attributes", "Hat, Bag", people, status=1)
    assert names(output) == [str(people / f"{k}.png") for k in range(3)]
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    predictions = predictor(sorted(people.glob("*.png")))
    for line, row, prediction in zip(map(json.loads, output.splitlines()), rows, predictions, strict=True):
        assert row["path"] == line["path"]
        probabilities = [line["attributes"][name]["probability"] for name in ATTRIBUTES]
        assert [float(row[name]) for name in ATTRIBUTES] == probabilities
        assert probabilities == pytest.approx(prediction.probabilities, abs=1e-6)
        assert list(line["attributes"]["Hat"]["evidence"]) == ["3b", "4d", "5b", "main", "all"]
    warning, *lines, error = errors.splitlines()
    assert warning.startswith(f"warning: cannot read picture {people / '1.jpg'} (")
    assert lines == [f"{tmp_path / name}: 3 pictures" for name in ("a.csv", "sheets")]
    assert error == f"error: 1 of 4 pictures could not be read: {people / '1.jpg'}"
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == ["0.png", "1_2.png", "2.png", "index.html"]  # 1.jpg would have had 1.png
    page = (tmp_path / "sheets" / "index.html").read_text()
    assert re.findall(r'<li><a href="(.*?)">(.*?)</a></li>', page) == [
        (sheet, str(people / f"{k}.png")) for k, sheet in enumerate(sheets[:3])
    ]


@pytest.mark.parametrize(
    ("output", "expected"),
    [((), False), (("--csv", "-"), False), (("--json", "-"), True), (("--regions", "s"), True)],
)
def test_evidence_is_computed_if_an_output_has_it(
    start_here, people, tmp_path, monkeypatch, output, expected
):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        predict, "load_predictor", lambda *_, evidence, **__: asked.append(evidence) or (Known(), [])
    )
    start_here(predict, "--checkpoint", __file__, people, *output)
    assert asked == [expected]


def test_the_table_has_what_is_above_the_threshold(known, people):
    output, errors = known(people, "--threshold", 0.8)
    assert output == "".join(
        f"{people / str(k)}.png  {40 + k} x 120\n  head        Hat 0.90 (threshold 0.80)\n\n"
        for k in range(3)
    )
    assert errors == "note: assumed\n"
    output, _ = known(people / "0.png", "--threshold", 1)
    assert output == f"{people / '0.png'}  40 x 120\n  nothing found\n\n"


def test_boxes_are_predicted_and_the_pictures_of_one_id_vote(known, people, tmp_path, monkeypatch):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("0.png,0,0,10,30,7\n0.png,5,0,25,60,x\n1.png,0,0,20,60,7\n")
    options = "--boxes", boxes, "--data_root", people, "--json", "-"
    monkeypatch.setattr(
        Known,
        "predict",
        lambda _, pixels, sizes: [prediction_of(size, (size[0] / 40, 0, 1)) for size in sizes],
    )
    output, errors = known(*options, "--csv", tmp_path / "a.csv", "--regions", tmp_path / "sheets")
    first, second = map(json.loads, output.splitlines())
    assert (first["id"], first["pictures"], second["id"], second["pictures"]) == ("7", 2, "x", 1)
    hat = {"probability": 0.375, "threshold": 0.5, "positive": False}
    assert first["attributes"]["Hat"] == hat
    assert second["attributes"]["Hat"] == {"probability": 0.5, "threshold": 0.5, "positive": False}
    header, seven, _ = (tmp_path / "a.csv").read_text().splitlines()
    assert header.startswith("id,Hat,Hat found,Jeans,")
    assert seven == "7,0.375,no,0.0,no,1.0,yes"
    assert sorted(map(str, (path.relative_to(tmp_path) for path in tmp_path.glob("sheets/*/*")))) == [
        "sheets/7/0.png", "sheets/7/1.png", "sheets/x/0.png"
    ]  # fmt: skip
    assert "warning" not in errors
    boxes.write_text("0.png,0,0,10,30\n")
    line = json.loads(known(*options)[0])
    assert (line["path"], line["box"], line["width"]) == ("0.png", [0, 0, 10, 30], 10)
    assert "id" not in line


def test_pictures_of_more_than_one_person_are_counted_in_one_warning(known, people):
    for name in ("wide.png", "wider.png"):
        Image.new("RGB", (90, 120)).save(people / name)
    _, errors = known(people)
    (warning,) = [line for line in errors.splitlines() if line.startswith("warning")]
    such = f"less than 1.4 times as tall as wide, such as {people / 'wide.png'}: probably not one person"
    assert warning.startswith(f"warning: 2 pictures {such}")


@pytest.mark.parametrize(("options", "size"), [((), (40, 120)), (("--as_trained",), (120, 40))])
def test_a_picture_is_turned_or_left_as_training_sees_it(known, tmp_path, options, size):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown, it is turned by a quarter
    Image.new("RGB", (120, 40)).save(tmp_path / "a.png", exif=exif)
    line = json.loads(known(tmp_path / "a.png", "--json", "-", *options)[0])
    assert (line["width"], line["height"]) == size


def test_sheets_in_the_folder_that_is_read_are_no_input(known, people):
    output, _ = known("--regions", people / "sheets", "--batch_size", 1, people)
    assert output.endswith(f"{people / 'sheets'}: 3 pictures\n")
    assert sorted(path.name for path in (people / "sheets").glob("*.png")) == ["0.png", "1.png", "2.png"]


def test_a_picture_that_goes_before_its_sheet_is_named_and_left_out(capsys):
    written = []

    class Broken(Writer):
        def write(self, source, _prediction):
            written.append(source.name)
            if source.name == "b":
                raise PictureError("cannot read picture b")

    results = [(Source(name, name, name), prediction_of()) for name in "abc"]
    tally = predict.write(results, [Broken()], Tally(has_sheets=True))
    assert (tally.number, tally.unreadable, tally.sheets) == (3, ["b"], [("a", "a"), ("c", "c")])
    assert written == ["a", "b", "c"]
    assert capsys.readouterr().err == "warning: cannot read picture b\n"


def test_an_archive_gives_what_its_folder_gives(known, people, tmp_path, monkeypatch):
    """Also under names that lead elsewhere, and with pictures in it that cannot be read."""
    monkeypatch.chdir(tmp_path)
    (people / "3.png").write_bytes(b"no picture")
    shown = "a", "../b", "e/../c\x1b[2J", "d"
    with tarfile.open("in.tar", "w") as file:
        for k, name in enumerate(shown):
            file.add(people / f"{k}.png", f"{name}.png")
    with zipfile.ZipFile("in.zip", "w") as file:
        for k, name in enumerate(shown):
            file.writestr(f"{name}.png", (people / f"{k}.png").read_bytes())
    whole = (tmp_path / "in.zip").read_bytes()
    for name in ("in", "in.tar", "in.zip"):
        outputs = "--csv", f"{name}.csv", "--json", f"{name}.json", "--regions", f"{name} sheets"
        errors = known(name, *outputs, status=1)[1]
        assert "\x1b" not in errors
        assert errors.splitlines()[1].startswith("warning: cannot read picture in")
        assert f"error: 1 of 4 pictures could not be read: {name}" in errors
    for name in ("in.tar", "in.zip"):
        for output in (".csv", ".json"):
            rows = (tmp_path / f"{name}{output}").read_text()
            for k, inner in enumerate(shown):
                inner = inner if output == ".csv" else json.dumps(inner)[1:-1]
                rows = rows.replace(f"{name}/{inner}.png", f"in/{k}.png")
            assert rows == (tmp_path / f"in{output}").read_text()
        sheets = sorted(path.name for path in (tmp_path / f"{name} sheets" / name).iterdir())
        assert sheets == ["a.png", "b.png", "e"]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("in.tar/../b.png,0,0,10,30\n")
    assert json.loads(known("--boxes", boxes, "--json", "-")[0])["path"] == "in.tar/../b.png"
    assert "--benchmark times files" in known("--benchmark", "in.zip", status=1)[1]
    assert (tmp_path / "in.zip").read_bytes() == whole


def test_if_no_picture_can_be_read_no_file_is_replaced(known, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "kept.csv").write_text("something\n")
    _, errors = known("--csv", tmp_path / "kept.csv", tmp_path / "bad.png", status=1)
    assert errors.splitlines()[-1] == f"error: 1 of 1 picture could not be read: {tmp_path / 'bad.png'}"
    assert (tmp_path / "kept.csv").read_text() == "something\n"


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("absent.jpg", 1, "absent.jpg: there is no such file"),
        ("in --threshold bad.txt", 1, "bad.txt is no file of thresholds"),
        ("in --regions full", 1, "full is not empty"),
        ("in --regions bad.txt", 1, "bad.txt: File exists"),
        ("in --regions a --attributes Hot", 1, "does not predict 'Hot'; did you mean 'Hat'?"),
        ("- --csv a.csv", 1, "no paths came on standard input"),
        ("", 2, "name at least one PATH"),
        ("in --boxes bad.txt", 2, "--boxes names the pictures itself"),
        ("--boxes ids.csv --csv a.csv --resume", 1, "--resume has no meaning for votes, and ids.csv has ids"),
        ("in --csv_full", 2, "--csv_full says what --csv writes"),
        ("in --csv absent/a.csv", 2, "--csv absent/a.csv: there is no such directory"),
        ("bad.txt --csv bad.txt", 2, "--csv bad.txt: the command reads it"),
        ("in --csv in/a.png", 2, "--csv in/a.png: that is a picture's name"),
        ("in --csv - --json -", 2, "cannot both go to standard output"),
        ("in --threshold 1.5", 2, "'1.5' is not a number from 0 to 1"),
        ("in --attributes Hat", 2, "give both, or neither"),
        ("in --regions a --attributes ,", 2, "give names, separated by commas"),
        ("in --experiment peta --names bad.txt", 2, "give one of them"),
        ("in --csv a.csv --json - --resume", 2, "--resume is for --csv FILE and --json FILE"),
        ("in --resume", 2, "--resume is for --csv FILE and --json FILE"),
        ("--benchmark --csv a", 2, "--csv has no meaning for --benchmark"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(known, tmp_path, monkeypatch, command, status, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    for name in ("in/a.png", "full/b.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (40, 120)).save(tmp_path / name)
    (tmp_path / "bad.txt").write_text("in/a.png 0 1 1\n")
    (tmp_path / "ids.csv").write_text("in/a.png,0,0,9,9,7\n")
    before = sorted(tmp_path.rglob("*"))
    output, errors = known(*command.split(), status=status)
    assert output == ""
    *notes, error = errors.splitlines()
    assert notes in ([], ["note: assumed"])
    assert error.startswith("error: ")
    assert words in error
    assert sorted(tmp_path.rglob("*")) == before


def test_names_of_attributes_may_have_commas():
    assert predict.split_names('Hat,  "Long, curly  hair",Hat') == ["Hat", "Long, curly hair"]


def test_a_network_without_regions_has_none_to_draw(known, people, tmp_path, monkeypatch):
    monkeypatch.setattr(Known, "levels", ())
    _, errors = known(people, "--regions", tmp_path / "sheets", status=1)
    assert f"error: {__file__} has no regions to draw" in errors
    assert not (tmp_path / "sheets").exists()


# A process of its own, whose predictor needs no network.
PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from support.known import Known
from run_scripts import predict
from run_scripts.cli.main import clear_ending

class Watched(predict.Table):
    number = 0
    def write(self, *about):
        super().write(*about)
        self.number += 1
        if self.number % {every} == 0:
            with open("/proc/self/status") as file:  # ru_maxrss counts what was before exec
                print(next(line.split()[1] for line in file if line.startswith("VmHWM")), file=sys.stderr)

predict.Table, predict.load_predictor = Watched, lambda *_, **__: (Known(), [])
with clear_ending():
    predict.main()
"""


def started(*options, every=10**6):
    program = PROGRAM.format(paths=[str(REPOSITORY), str(REPOSITORY / "tests")], every=every)
    command = [sys.executable, "-c", program, "--checkpoint", __file__, *map(str, options)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells the peak")
def test_many_pictures_take_no_more_memory_than_a_few(tmp_path):
    """One in each tenth is large, 18 MB. The network, whose batches are alike, is left out."""
    every = 100 if THOROUGH else 20
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.new("RGB", (60, 150), "red").save(small)
    Image.new("RGB", (2000, 3000), "blue").save(large)
    (tmp_path / "in").mkdir()
    for number in range(10 * every):
        os.link(large if number % every == 0 else small, tmp_path / "in" / f"{number:04}.png")
    with started("--batch_size", 4, "--workers", 1, tmp_path / "in", every=every) as process:
        output, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors
    assert output.count("2000 x 3000") == 10
    peaks = [int(line) / 1024 for line in errors.splitlines()]  # MB
    assert len(peaks) == 10
    assert peaks[-1] < peaks[0] + 60  # all pictures that were read would be 162 MB more


# A run that is ended, and one that goes on.


@pytest.fixture
def known_until(known, monkeypatch):
    """Return a function that predicts so, and is ended by Ctrl-C when it comes to a batch; what is said of a
    picture depends on its batch. It returns standard error and the sizes of the batches.
    """

    def known_until(last, *options, status=130):
        batches = []

        def predict(_, pixels, sizes):
            if len(batches) == last:
                raise KeyboardInterrupt
            batches.append(len(sizes))
            return [prediction_of(size, (0.9, k / 7, len(sizes) / 7)) for k, size in enumerate(sizes)]

        monkeypatch.setattr(Known, "predict", predict)
        return known(*options, status=status)[1], batches

    return known_until


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """Return paths of eight pictures, some of one name, and of one that cannot be read; they lie here."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a/0.png", "in/b/0.png", 'in/b/1\r\n,".png', "more/0.png", "more/2.png", "more/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + len(name), 120)).save(name)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    return "in", "more", "in/a", "in/b/0.png"


@pytest.mark.parametrize(
    ("damaged", "computed"),  # what was left -> what a crash makes of it; sizes of batches
    [
        (lambda left: left, [3]),
        (lambda left: left[:-1], [3, 3]),
        (lambda left: left[: left.index(b"/0.png")], [2, 3, 3]),
        (lambda left: left[: left.index(b"/2.png")] + b"/2.png\n", [3, 3]),
        (lambda left: left.replace(b"/2.png,0", b"/2.png,hello0"), [3, 3]),
        (lambda left: left.replace(b"/2.png,0.", b"/2.png,0.1"), [3, 3]),
        (lambda left: left[: left.index(b"/2.png")] + bytes(500) + b"\n", [3, 3]),
        (lambda left: left + b"\n" + bytes(500), [3]),
        (lambda left: left.replace(b"/2.png", b"/2\xff.png"), [3, 3]),
    ],
)
def test_a_run_that_was_ended_goes_on_to_the_same_files(known_until, crowd, tmp_path, damaged, computed):
    options = *crowd, "--resume", "--batch_size", 3, "--csv_full"
    outputs = "--csv", "whole.csv", "--json", "whole.json", "--regions", "whole"
    known_until(None, *outputs, *options, status=1)
    options = "--csv", "o.csv", "--json", "o.json", "--regions", "s", *options
    assert known_until(0, *options)[0] == "note: assumed\ninterrupted\n"
    assert not (tmp_path / "o.csv.part").exists()
    errors, _ = known_until(2, *options)
    assert errors.splitlines()[2:] == [
        "o.csv.part: 5 pictures; the same command with --resume goes on",
        "interrupted",
    ]
    part = tmp_path / "o.csv.part"
    part.write_bytes(damaged(part.read_bytes()))
    assert not (tmp_path / "o.csv").exists()
    errors, batches = known_until(None, *options, status=1)
    assert batches == computed
    assert errors.endswith("error: 1 of 9 pictures could not be read: in/bad.png\n")
    for suffix in (".csv", ".json"):
        assert (tmp_path / f"o{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert files(tmp_path / "s") == files(tmp_path / "whole")
    assert not (tmp_path / "o.csv.part").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("in", "o.csv.part is of a run that was ended; go on with --resume, or remove the file"),
        ("in --resume --checkpoint in/a/0.png", "was begun with another --checkpoint"),
        ("in --resume --threshold 0.7", "was begun with another --threshold"),
        ("in --resume --as_trained", "was begun with another --as_trained"),
        ("in --resume --regions s", "was begun with another --regions"),
        ("in --resume --batch_size 2", "was begun with another --batch_size (3); give that, or remove"),
        ("in --resume --threads 7", "was begun with another --threads"),
        ("in --resume --json o.json", "was begun with another --json (False)"),
        ("in --resume --device cuda:1", "was begun with another --device (auto)"),
        ("in/a in --resume", "picture 1 is in/bad.png there and in/a/0.png here"),
        ("in/bad.png --resume", "picture 2 is in/a/0.png there and none here"),
    ],
)
def test_what_another_run_has_begun_is_not_gone_on_with(known_until, crowd, tmp_path, options, words):
    begin = "--csv", "o.csv", "--batch_size", 3
    known_until(1, *begin, *crowd)
    rows = (tmp_path / "o.csv.part").read_bytes()
    errors, batches = known_until(None, *begin, *options.split(), status=1)
    assert words in errors.splitlines()[-1]
    assert batches == []
    assert (tmp_path / "o.csv.part").read_bytes() == rows


HOLD = """
import fcntl, sys
with open(sys.argv[1], "ab") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="locks are POSIX")
def test_two_processes_do_not_write_one_part_file(known_until, crowd, tmp_path):
    begin = "--csv", "o.csv", "--batch_size", 3, "--resume"
    known_until(2, *begin, *crowd)
    part = tmp_path / "o.csv.part"
    rows = part.read_bytes()
    command = [sys.executable, "-c", HOLD, str(part)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        errors, batches = known_until(None, *begin, *crowd, status=1)
        assert "error: o.csv.part: another predict.py is writing it at this moment; let" in errors
        assert (part.read_bytes(), batches) == (rows, [])
        other.communicate("")
    known_until(None, *begin, *crowd, status=1)
    assert not part.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda: os.chdir("more"),
        lambda: os.utime("in/a/0.png", ns=(0, 0)),
        lambda: os.truncate("in/a/0.png", 0),
        lambda: os.replace("more/2.png", "in/gone.png"),
    ],
    ids=["elsewhere", "later", "smaller", "there now"],
)
def test_rows_are_of_the_files_that_were_read(known_until, crowd, tmp_path, monkeypatch, change):
    def run(last, status):
        paths = "in/a/0.png\nin/gone.png\nin/b/0.png\nmore/3.png\n"
        monkeypatch.setattr("sys.stdin", io.StringIO(paths))
        options = "--csv", tmp_path / "o.csv", "--batch_size", 3, "--resume", "-"
        return known_until(last, *options, status=status)

    run(1, 130)
    change()
    errors, batches = run(None, 1)
    assert re.search(r"o\.csv\.part: picture [12], in/\S+, is another file now", errors.splitlines()[-1])
    assert batches == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("SIGINT", 130, "interrupted\n"), ("SIGTERM", 143, ""), ("SIGHUP", 129, "")],
)
def test_a_signal_leaves_no_half_file(people, tmp_path, name, status, words):
    (tmp_path / "out").mkdir()
    with started("--csv", tmp_path / "out" / "a.csv", "-") as process:
        process.stdin.write(f"{people / '0.png'}\n")
        process.stdin.flush()
        for _ in range(1000):
            if any((tmp_path / "out").iterdir()):  # under another name as yet
                break
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == status
        assert process.stderr.read() == words
    assert list((tmp_path / "out").iterdir()) == []


def test_the_options_of_the_network_reach_it(start_here, people, monkeypatch):
    """Else a published checkpoint's attributes would have other names, without a word."""
    asked = []
    monkeypatch.setattr(predict, "load_predictor", lambda path, **them: asked.append(them) or (Known(), []))
    words = ("--device", "cpu", "--names", "n.txt", "--align_corners", "true", "--threads", 3)
    start_here(predict, "--checkpoint", __file__, *words, people)
    assert asked == [{"device": "cpu", "experiment": None, "names": "n.txt", "align_corners": True,
                      "threads": 3, "evidence": False}]  # fmt: skip
