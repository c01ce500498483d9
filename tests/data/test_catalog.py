"""Data sets by name, the user's own attributes, and where pictures and lists are looked for."""

import json
from pathlib import Path

import pytest

from utils.data.attributes import PETA
from utils.data.catalog import (
    EXPERIMENTS,
    custom_experiment,
    find_root,
    get_experiment,
    resolve_paths,
)
from utils.errors import DataError


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


@pytest.mark.parametrize(("name", "count"), [("peta", 35), ("rap", 51), ("pa100k", 26), ("synthetic", 35)])
def test_attributes_are_distinct_and_complete(name, count):
    experiment = get_experiment(name)
    assert experiment.name == name
    assert len(experiment.attributes) == len(set(experiment.attributes)) == count
    if name != "synthetic":
        assert len(experiment.positive_ratio) == count
        assert all(0 < ratio < 1 for ratio in experiment.positive_ratio)


def test_synthetic_has_petas_attributes_and_counts_its_own_ratios():
    synthetic, peta = get_experiment("synthetic"), get_experiment("peta")
    assert synthetic.attributes == peta.attributes
    assert synthetic.train_lists == peta.train_lists
    assert synthetic.positive_ratio is None


def test_unknown_experiment_lists_the_known():
    with pytest.raises(DataError) as error:
        get_experiment("market")
    assert all(name in str(error.value) for name in ("market", "custom", *EXPERIMENTS))


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_custom_attributes(tmp_path, count):
    names = [f"attribute {i}" for i in range(count)]
    path = tmp_path / "names.txt"
    path.write_text("\n" + "\n\n".join(names) + "\n", encoding="utf-8")
    experiment = custom_experiment(path)
    assert experiment.name == "custom"
    assert experiment.attributes == tuple(names)
    assert experiment.positive_ratio is None


def test_custom_attributes_from_an_editor_on_windows(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffhat\r\n  V-Neck\tred \r\n".encode())
    assert custom_experiment(path).attributes == ("hat", "V-Neck red")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"names\.txt names no attributes"),
        (" \n\n", r"names\.txt names no attributes"),
        ("hat\n\nbag\nhat\n", r"names\.txt:4: attribute 'hat' is on line 1 already"),
        ("\n".join(map(str, range(1001))), r"names\.txt:1001: more than 1000 attributes"),
        ("hat\0", r"names\.txt is not text"),
    ],
)
def test_custom_attributes_refused(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        custom_experiment(path)


def test_custom_attributes_missing(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*names\.txt"):
        custom_experiment(tmp_path / "names.txt")


def test_root_is_the_option_then_the_variable_then_the_default(tmp_path, monkeypatch):
    peta = get_experiment("peta")
    assert find_root(peta) == Path("/data/teco-data/peta")
    monkeypatch.setenv("ALM_DATA_ROOT", str(tmp_path))
    assert find_root(peta) == tmp_path
    (tmp_path / "peta").mkdir()
    assert find_root(peta) == tmp_path / "peta"
    assert find_root(peta, "elsewhere") == Path("elsewhere")


def test_variable_does_not_move_synthetic(tmp_path, monkeypatch):
    default = find_root(get_experiment("synthetic"))
    assert default.parts[-2:] == ("data", "synthetic")
    monkeypatch.setenv("ALM_DATA_ROOT", str(tmp_path))
    assert find_root(get_experiment("synthetic")) == default
    assert find_root(get_experiment("synthetic"), tmp_path) == tmp_path


def test_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("ALM_DATA_ROOT", "")
    assert find_root(get_experiment("rap")) == Path("/data/teco-data/rap")


def test_missing_root_says_which_and_how_to_go_on(tmp_path):
    with pytest.raises(DataError) as error:
        resolve_paths(get_experiment("peta"), tmp_path / "absent")
    assert all(
        part in str(error.value)
        for part in (str(tmp_path / "absent"), "peta", "--data_root", "--experiment synthetic")
    )


def test_default_lists(peta):
    assert resolve_paths(get_experiment("peta"), peta) == (
        peta,
        peta / "PETA_train_list.txt",
        peta / "PETA_test_list.txt",
    )


@pytest.mark.parametrize("name", ["peta", "rap", "pa100k"])
def test_own_list_names_come_before_upstreams(tmp_path, name):
    experiment = get_experiment(name)
    own = f"{name.upper()}_train_list.txt"
    for list_name in ("train_val.txt", "train.txt", own):
        (tmp_path / list_name).touch()
        assert resolve_paths(experiment, tmp_path)[1] == tmp_path / list_name
    (tmp_path / "test.txt").touch()
    assert resolve_paths(experiment, tmp_path)[2] == tmp_path / "test.txt"


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


def test_missing_default_evaluation_list_is_none(peta):
    (peta / "PETA_test_list.txt").unlink()
    assert resolve_paths(get_experiment("peta"), peta)[2] is None
