"""Data sets by name, the user's own attributes, and the places of pictures and lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from run_scripts import compare, prepare_data
from run_scripts.compare import choose_attributes
from run_scripts.training.options import OPTIONS
from utils.data.attributes import CARRYING, HEAD, PERSON, PETA, Attribute
from utils.data.catalog import (
    EXPERIMENTS,
    body_part,
    find_root,
    get_experiment,
    identities,
    one_spelling,
    published,
    read_names,
    resolve_paths,
)
from utils.data.list_file import find_picture, read_list
from utils.errors import DataError
from utils.evaluation.prediction_table import PredictionsFile


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    monkeypatch.delenv("ALM_DATA_ROOT", raising=False)


@pytest.fixture
def peta(tmp_path):
    """A directory with PETA's lists, and the options that name it."""
    for name in ("PETA_train_list.txt", "PETA_test_list.txt"):
        tmp_path.joinpath(name).touch()
    return tmp_path


@pytest.mark.parametrize("name", ["peta", "rap", "pa100k"])
def test_tables_are_the_published_ones(shared, name):
    published = json.loads((shared / "reference" / "experiments.json").read_text(encoding="utf-8"))[name]
    experiment = get_experiment(name)
    assert experiment.attributes == tuple(published["attributes"])
    assert experiment.positive_ratio == tuple(published["positive_ratio"])
    if name == "peta":
        assert [attribute.official_name for attribute in PETA] == published["official_name"]


def test_synthetic_has_petas_attributes_and_counts_its_own_ratios():
    synthetic, peta = get_experiment("synthetic"), get_experiment("peta")
    assert synthetic.attributes == peta.attributes
    assert synthetic.train_lists == peta.train_lists
    assert synthetic.positive_ratio is None
    for experiment in EXPERIMENTS.values():
        assert EXPERIMENTS[experiment.name] is experiment
        assert len(set(experiment.attributes)) == len(experiment.body_parts)


def test_unknown_experiment_lists_the_known():
    with pytest.raises(DataError) as error:
        get_experiment("market")
    assert all(name in str(error.value) for name in ("market", "custom", *EXPERIMENTS))


def test_a_file_of_names(tmp_path):
    """Also from an editor on Windows; 1,000 names at most."""
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffhat\r\n\r\n  V-Neck\tred \r\n".encode())
    assert read_names(path) == ("hat", "V-Neck red")
    path.write_text("\n".join(map(str, range(1000))), encoding="utf-8")
    assert len(read_names(path)) == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n\n", r"names\.txt names no attributes"),
        ("hat\n\nbag\nhat\n", r"names\.txt:4: attribute 'hat' is on line 1 already"),
        ("\n".join(map(str, range(1001))), r"names\.txt:1001: more than 1000 attributes"),
    ],
)
def test_other_files_of_names_are_refused(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_names(path)


def test_root_is_the_option_then_the_variable_then_the_default(tmp_path, monkeypatch):
    peta = get_experiment("peta")
    assert find_root(peta) == Path("/data/teco-data/peta")
    monkeypatch.setenv("ALM_DATA_ROOT", str(tmp_path))
    assert find_root(peta) == tmp_path
    (tmp_path / "peta").mkdir()
    assert find_root(peta) == tmp_path / "peta"
    assert find_root(peta, "elsewhere") == Path("elsewhere")
    assert find_root(get_experiment("synthetic")).parts[-2:] == ("data", "synthetic")
    monkeypatch.setenv("ALM_DATA_ROOT", "")
    assert find_root(peta) == Path("/data/teco-data/peta")


def test_missing_root_says_which_and_how_to_go_on(tmp_path):
    with pytest.raises(DataError) as error:
        resolve_paths(get_experiment("peta"), tmp_path / "absent")
    assert all(
        part in str(error.value)
        for part in (str(tmp_path / "absent"), "peta", "--data_root", "--experiment synthetic")
    )


@pytest.mark.parametrize("name", ["peta", "rap", "pa100k"])
def test_own_list_names_come_before_upstreams(tmp_path, name):
    experiment = get_experiment(name)
    for list_name in ("train_val.txt", "train.txt", f"{name.upper()}_train_list.txt"):
        (tmp_path / list_name).touch()
        assert resolve_paths(experiment, tmp_path) == (tmp_path, tmp_path / list_name, None)
    for list_name in ("test.txt", f"{name.upper()}_test_list.txt"):
        (tmp_path / list_name).touch()
        assert resolve_paths(experiment, tmp_path)[2] == tmp_path / list_name


def test_list_given_is_looked_for_as_it_is_then_under_the_root(peta, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    (peta / "mine.txt").touch()
    experiment = get_experiment("peta")
    assert resolve_paths(experiment, peta, train_list="mine.txt")[1] == peta / "mine.txt"
    (here / "mine.txt").touch()
    _, train, val = resolve_paths(experiment, peta, train_list="mine.txt", val_list=str(here / "mine.txt"))
    assert train.resolve() == val == here / "mine.txt"


@pytest.mark.parametrize("option", ["train_list", "val_list"])
def test_list_given_must_exist(peta, option):
    with pytest.raises(DataError, match=rf"other\.txt .*{option}"):
        resolve_paths(get_experiment("peta"), peta, **{option: "other.txt"})


def test_missing_default_training_list_names_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"PETA_train_list\.txt, train\.txt, train_val\.txt.*--train_list"):
        resolve_paths(get_experiment("peta"), tmp_path)
    assert resolve_paths(get_experiment("peta"), tmp_path, train_required=False) == (tmp_path, None, None)


MARKET = published(
    "Market-1501",
    (
        Attribute("Male", 0.57, PERSON),
        Attribute("Backpack", 0.26, CARRYING, "backpack"),
        Attribute("Pith helmet", 0.11, HEAD),
    ),
    ratio_source="all 1,501 people",
    folders=("Market-1501", "Market-1501-v15.09.15"),
    identity=lambda path: path.rpartition("/")[2].partition("_")[0] or None,
)


@pytest.fixture
def market(tmp_path, monkeypatch):
    """Enter an invented data set, and return its root with four pictures of two people on each list."""
    monkeypatch.setitem(EXPERIMENTS, MARKET.name, MARKET)
    monkeypatch.setitem(OPTIONS["experiment"].kind.argparse, "choices", (*EXPERIMENTS, "custom"))
    folder = tmp_path / "Market-1501-v15.09.15"
    folder.mkdir()
    for part in ("train", "test"):
        lines = []
        for k in range(4):
            pixels = np.random.default_rng(k).integers(0, 256, (32, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{k % 2:04}_{part}{k}.png")
            lines.append(f"Market-1501/{k % 2:04}_{part}{k}.png {k % 2} {k // 2} {(k + 1) // 2 % 2}\n")
        (tmp_path / f"Market1501_{part}_list.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def test_a_new_data_set_is_one_entry(market):
    """Its name is in no other place: what a data set's entry says is what everything does."""
    _, train, val = resolve_paths(get_experiment("market1501"), market)
    assert (train.name, val.name) == ("Market1501_train_list.txt", "Market1501_test_list.txt")
    names, _ = read_list(val, 3)
    assert identities(names) == ["0000", "0001", "0000", "0001"]
    assert find_picture(market, names[0]).endswith("v15.09.15/0000_test0.png")
    assert body_part("Pith helmet") == HEAD
    columns = PredictionsFile("a.csv", ["Male", "backpack", "Pith helmet"], [], [], [])
    assert choose_attributes([columns, columns], None)[1] == ("Backpack", "backpack")
    assert one_spelling(f"./{names[0]}") == one_spelling(names[0].replace("1501/", "1501-v15.09.15/"))


def test_a_new_data_set_is_checked(market, start_here):
    """Its published ratios once needed an entry in a table of another module, which ended in a KeyError."""
    output, _ = start_here(prepare_data, "check", market, "--json", market / "a.json")
    assert "market1501 in" in output
    assert "published: in all 1,501 people" in output
    assert "identities in both lists: 2" in " ".join(output.split())
    assert json.loads((market / "a.json").read_text())["published_from"] == "all 1,501 people"


def test_a_new_data_set_is_compared(market, start_here):
    """By its own columns, people by people."""
    rows = [(f"Market-1501/{k:04}_a.png", k % 2, k // 2 % 2, k // 4 % 2) for k in range(40)]
    (market / "list.txt").write_text("".join(f"{' '.join(map(str, row))}\n" for row in rows))
    header = "path,Male,backpack,Pith helmet\n"
    (market / "a.csv").write_text(
        header + "".join(f"{name},{a - 0.5},{b - 0.5},{c - 0.5}\n" for name, a, b, c in rows)
    )
    output, _ = start_here(compare, market / "a.csv", market / "a.csv", "--labels", market / "list.txt")
    assert "40 identities" in output


@pytest.mark.slow
def test_a_new_data_set_is_trained_and_evaluated(market, run_here):
    data = ("--experiment", "market1501", "--data_root", market, "--workers", 0, "--device", "cpu")
    run_here(*data, "--approach", "bn_inception", "--epochs", 1, "--batch_size", 4,
             "--output_dir", market / "run", "--report", market / "a.html")  # fmt: skip
    assert json.loads((market / "run" / "options.json").read_text())["ratios"] == "published"
    assert "# 2: Pith helmet" in (market / "run" / "train.log").read_text(encoding="utf-8")
    assert "its test list" in (market / "a.html").read_text(encoding="utf-8")


def test_identities_are_read_from_petas_paths():
    names = [
        "PETA_dataset/CUHK/archive/0003.png",
        "PETA dataset/SARC3D/archive/001_Right.bmp",
        r"PETA_dataset\i-LID\archive\0003_2.jpg",
        "./CUHK/archive/0003.x.png",
    ]
    assert identities(names) == ["CUHK/0003", "SARC3D/001", "i-LID/0003", "CUHK/0003"]
    assert identities([*names, "images/00001.png"]) is None
    assert identities(["Market/archive/0001_c1.jpg"]) is None


def test_the_published_test_list_shows_4041_people(shared):
    names, _ = read_list(shared / "labels" / "PETA_test_list.txt")
    assert len(set(identities(names))) == 4041
