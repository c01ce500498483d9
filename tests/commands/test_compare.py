"""The command compare.py: what it prints, its exit status, its files."""

import json

import numpy as np
import pytest
from PIL import Image
from support.cli import status_here
from support.seeds import write_run

from run_scripts import compare
from utils.data.attributes import PETA
from utils.evaluation.difference_plot import COLOURS
from utils.evaluation.prediction_table import write_predictions

NAMES = [attribute.name for attribute in PETA]
PEOPLE = 60  # on two pictures each


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in tmp_path and gives status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return status_here(compare, *arguments), *capsys.readouterr()

    return run


@pytest.fixture
def evaluations(tmp_path):
    """Write a list and predictions of it: a.csv, the better b.csv; return paths, labels, logits of b."""
    rng = np.random.default_rng(1)
    paths = [f"PETA_dataset/GRID/archive/{person:04}_{n}.jpeg" for person in range(PEOPLE) for n in (1, 2)]
    labels = (rng.random((len(paths), 35)) < 0.4).astype(int)
    logits = [
        (rng.standard_normal(labels.shape) + strength * (2 * labels - 1)).astype(np.float32)
        for strength in (0.8, 1.2)
    ]
    write_list(tmp_path / "test.txt", paths, labels)
    for name, values in zip(("a.csv", "b.csv"), logits, strict=True):
        write_predictions(tmp_path / name, paths, NAMES, values)
    return paths, labels, logits[1]


def test_two_directories_are_sets_of_seeds(run, tmp_path):
    for name, mas in (("a", (0.70, 0.71, 0.72)), ("b", (0.80, 0.81, 0.82))):
        for seed, ma in enumerate(mas):
            write_run(tmp_path / name / str(seed), seed, ma)
    status, output, errors = run("a", "b", "--json", "out.json")
    assert (status, errors) == (0, "note: out.json is written\n")
    assert "A: a, epoch 2 of the seeds 0, 1, 2\n   mA          0.7100, standard deviation 0.0100\n" in output
    assert "\nB is better than A: the interval of B - A in mA does not contain 0.\n" in output
    record = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (record["verdict"], record["a"]["seeds"]) == ("better", [0, 1, 2])
    assert record["figures"]["ma"]["difference"] == pytest.approx(0.1)
    assert run("b", "a")[0] == 1
    (tmp_path / "a.csv").touch()
    for words, message in (
        (("a", "a.csv"), "A and B: give two directories of runs, or two files"),
        (("a", "b", "--labels", "x"), "--labels is for files of predictions"),
        (("a.csv", "a.csv"), "--labels LIST is needed"),
    ):
        status, _, errors = run(*words)
        assert status == 2
        assert message in errors


def write_list(path, names, labels):
    rows = (f"{name} {' '.join(map(str, row))}\n" for name, row in zip(names, labels, strict=True))
    path.write_text("".join(rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("first", "second", "status", "verdict"),
    [("a", "b", 0, "better than"), ("b", "a", 1, "worse than"), ("a", "a", 0, "not to be told apart from")],
)
def test_better_worse_and_equal(run, evaluations, first, second, status, verdict):
    ended, output, errors = run(f"{first}.csv", f"{second}.csv", "--labels", "test.txt")
    assert (ended, errors) == (status, "")
    lines = output.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(f"B is {verdict} A: ") for line in lines)
    assert "60 identities drawn with replacement, 1,000 times:" in lines
    (ma,) = [line.split() for line in lines if line.startswith("mA ")]
    before, after, difference, low, high = map(float, (*ma[1:5], ma[6]))
    assert difference == pytest.approx(after - before, abs=1.01e-4)
    assert low <= difference <= high
    assert ma[7:] == ([] if first == second else [verdict.split()[0]])
    if first == second:
        assert "0 of 4,200 labels are predicted differently" in lines
        assert "B is not to be told apart from A: both predict the same labels of all pictures." in lines
        assert "None of 35 attributes differs in mA" in output


def test_json_has_all_figures(run, evaluations, tmp_path):
    _, labels, logits = evaluations
    run("a.csv", "b.csv", "--labels", "test.txt", "--json", "c.json")
    record = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert (record["pictures"], record["labels"], record["resampled"], record["units"]) == (
        120, 4200, "identities", 60,
    )  # fmt: skip
    assert (record["level"], record["draws"], record["verdict"]) == (0.95, 1000, "better")
    assert list(record["figures"]) == ["ma", "accuracy", "precision", "recall", "f1"]
    assert [row["name"] for row in record["attributes"]] == NAMES
    hat = record["attributes"][10]
    right = (logits > 0)[:, 10] == labels[:, 10]
    assert hat["b"] == pytest.approx(
        (right[labels[:, 10] == 1].mean() + right[labels[:, 10] == 0].mean()) / 2
    )
    assert hat["difference"] == pytest.approx(hat["b"] - hat["a"])
    assert set(hat) == {"name", "a", "b", "difference", "interval", "verdict", "p_value"}


@pytest.mark.slow
def test_an_undefined_attribute_is_null_and_the_others_are_drawn(run, evaluations, tmp_path):
    paths, labels, _ = evaluations
    labels[:, 3] = 0
    write_list(tmp_path / "test.txt", paths, labels)
    words = ("a.csv", "b.csv", "--labels", "test.txt", "--json", "c.json", "--plot", "c.png")
    status, output, errors = run(*words)
    assert (status, errors) == (0, "note: c.json is written\nnote: c.png is written\n")
    assert (
        "mA of 34 of 35 attributes: the list has no positives or no negatives of 1 attribute (Age" in output
    )
    assert "B is better than A: the interval of B - A in mA of 34 of 35 attributes does not" in output
    record = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert record["ma_attributes"] == 34
    assert record["attributes"][3] == {
        "name": "AgeAbove61", "a": None, "b": None, "difference": None, "interval": None,
        "verdict": None, "p_value": None,
    }  # fmt: skip
    with Image.open(tmp_path / "c.png") as picture:
        colours = {"#{:02X}{:02X}{:02X}".format(*colour) for _, colour in
                   picture.convert("RGB").getcolors(1 << 24)}  # fmt: skip
    assert colours.issuperset(COLOURS.values())


@pytest.mark.parametrize("plot", [(), pytest.param(("--plot", "c.png"), marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("positives", "words"),
    [
        (
            0,
            "mA of 0 of 35 attributes: the list has no positives or no negatives of 35 attributes (Age16-30,",
        ),
        (1, "mA: 1,000 of 1,000 draws have no positives or no negatives of an attribute (Age16-30,"),
    ],
)
def test_without_an_interval_there_is_no_verdict(run, evaluations, tmp_path, positives, words, plot):
    paths, labels, _ = evaluations
    labels[:] = 0
    labels[range(35 * positives), range(35 * positives)] = 1
    write_list(tmp_path / "test.txt", paths, labels)
    status, output, errors = run("a.csv", "b.csv", "--labels", "test.txt", "--json", "c.json", *plot)
    assert (status, errors) == (
        2,
        "note: c.json is written\n" + "".join(f"note: {file} is written\n" for file in plot[1:]),
    )
    assert words in output
    assert "None of 0 attributes differs in mA" in output
    assert "No verdict: the interval of B - A in mA" in output
    assert "than A" not in output
    record = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert (record["verdict"], record["figures"]["ma"]["interval"]) == (None, None)
    assert record["ma_undefined_draws"] == 1000


def test_another_programs_file_says_the_same(run, evaluations, tmp_path):
    """Other order of pictures and columns, official names, probabilities, PETA's other spelling."""
    paths, _, logits = evaluations
    ours = run("a.csv", "b.csv", "--labels", "test.txt")[1].splitlines()[2:]
    rng = np.random.default_rng(2)
    rows, columns = rng.permutation(len(paths)), rng.permutation(35)
    names = [PETA[k].official_name if k % 2 else PETA[k].name for k in columns]
    spelt = [paths[row].replace("PETA_dataset/", "PETA dataset/") for row in rows]
    shares = 1 / (1 + np.exp(-logits[rows][:, columns].astype(float)))
    write_predictions(tmp_path / "b.csv", spelt, names, shares)
    status, output, errors = run("a.csv", "b.csv", "--labels", "test.txt")
    assert (status, output) == (2, "")
    assert "b.csv: hardly any number is negative" in errors
    assert "--scale_b probabilities" in errors
    _, output, _ = run("a.csv", "b.csv", "--labels", "test.txt", "--scale_b", "probabilities")
    assert output.splitlines()[2:] == ours


def test_attributes_of_ones_own_are_named_by_their_file(run, tmp_path):
    rng = np.random.default_rng(3)
    paths, labels = [f"{i}.png" for i in range(50)], rng.integers(0, 2, (50, 2))
    write_list(tmp_path / "test.txt", paths, labels)
    write_predictions(tmp_path / "a.csv", paths, ["Crown", "Cape"], rng.standard_normal((50, 2)))
    status, _, errors = run("a.csv", "a.csv", "--labels", "test.txt")
    assert status == 2
    assert "PETA, RAP, PA-100K" in errors
    assert "--attributes FILE" in errors
    (tmp_path / "names.txt").write_text("Cape\nCrown\n")
    status, output, _ = run("a.csv", "a.csv", "--labels", "test.txt", "--attributes", "names.txt")
    assert status == 0
    assert "50 pictures drawn with replacement, 1,000 times:" in output


def test_a_damaged_file_is_one_line_and_nothing_is_written(run, evaluations, tmp_path):
    path = tmp_path / "b.csv"
    path.write_text(path.read_text().replace("_1.jpeg", "_3.jpeg"))
    status, output, errors = run("a.csv", "b.csv", "--labels", "test.txt", "--json", "c.json")
    assert (status, output) == (2, "")
    lacking = "0000_3.jpeg, and lacks 60 pictures of test.txt; give the list that was evaluated, or predict"
    assert errors.startswith("error: b.csv has paths such as PETA_dataset/GRID/archive/" + lacking)
    assert errors.count("\n") == 1
    assert not (tmp_path / "c.json").exists()


def test_a_file_that_is_read_or_cannot_be_drawn_is_not_written(run, evaluations, tmp_path):
    for options in (
        ("--json", "test.txt"),
        ("--plot", "b.csv"),
        ("--plot", "c.xyz"),
        ("--json", "no/c.json"),
    ):
        status, output, errors = run("a.csv", "b.csv", "--labels", "test.txt", *options)
        assert (status, output, errors.count("\n")) == (2, "", 1)
        assert options[1] in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv", "test.txt"]


@pytest.mark.slow
def test_many_attributes_in_any_script_are_drawn(run, tmp_path):
    rng = np.random.default_rng(4)
    names = [f"属性_{k}$x$" for k in range(90)]
    paths, labels = [f"{i}.png" for i in range(60)], rng.integers(0, 2, (60, 90))
    write_list(tmp_path / "test.txt", paths, labels)
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    for name in ("a.csv", "b.csv"):
        write_predictions(tmp_path / name, paths, names, rng.standard_normal((60, 90)))
    options = ("--labels", "test.txt", "--attributes", "names.txt", "--plot", "c.png")
    assert run("a.csv", "b.csv", *options)[0] in (0, 1)
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.height < 2000
