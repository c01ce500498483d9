"""prepare_data.py from the download to the command that trains, as users type it."""

import shlex
import subprocess
from functools import partial

import numpy as np
import pytest
from support.drawn import files
from support.official import (
    archive_rows,
    cells,
    column,
    list_lines,
    pa100k_mat,
    partition,
    peta_mat,
    rap1_mat,
    rap2_mat,
    write_archive,
    write_picture,
)

from run_scripts import prepare_data

LISTS = ("PETA_train_list.txt", "PETA_test_list.txt")


@pytest.fixture
def prepare(start_here, tmp_path, monkeypatch):
    """Return a function that runs prepare_data.py in tmp_path."""
    monkeypatch.chdir(tmp_path)
    return partial(start_here, prepare_data)


def read(folder):
    return {path.name: path.read_text("utf-8") for path in sorted(folder.iterdir()) if path.is_file()}


def next_words(out):
    """Return what the last command says to type."""
    (line,) = [line for line in out.splitlines() if line.startswith("next: ")]
    return shlex.split(line.removeprefix("next: "))


def option(words, name):
    return words[words.index(name) + 1]


# PETA.


def test_peta_is_drawn_with_the_seed_in_the_names(prepare, tmp_path):
    write_archive(tmp_path / "PETA dataset")
    out, err = prepare("peta", "--source", "PETA dataset", "--output", "out")
    assert err == ""
    assert "PETA dataset: 15 pictures of 11 identities\n" in out
    assert "out/PETA_train_list_seed1.txt: 9 pictures, 35 attributes\n" in out
    lists = read(tmp_path / "out")
    assert list(lists) == ["PETA_test_list_seed1.txt", "PETA_train_list_seed1.txt"]
    lines = [text.splitlines(keepends=True) for text in lists.values()]
    assert [len(text) for text in lines] == [6, 9]
    assert sorted(lines[0] + lines[1]) == sorted(list_lines(archive_rows()))
    words = next_words(out)
    assert words[:4] == ["python", "run_scripts/run_ALM.py", "--experiment", "peta"]
    assert option(words, "--data_root") == str(tmp_path)
    assert option(words, "--val_list") == "out/PETA_test_list_seed1.txt"
    prepare("peta", "--source", "PETA dataset", "--output", "out", "--seed", 2)
    assert read(tmp_path / "out")["PETA_test_list_seed2.txt"] != lists["PETA_test_list_seed1.txt"]


def test_the_same_input_gives_the_same_bytes_and_nothing_is_written_over(prepare, tmp_path):
    write_archive(tmp_path / "PETA dataset")
    command = ("peta", "--source", "PETA dataset", "--output", "out", "--attributes", "all")
    prepare(*command)
    before = files(tmp_path / "out")
    assert len(before) == 3
    _, err = prepare(*command, status=1)
    assert err.startswith(
        "error: PETA_train_list_seed1.txt, PETA_test_list_seed1.txt, PETA_attributes.txt already"
    )
    prepare(*command, "--force")
    assert files(tmp_path / "out") == before


def test_peta_split_by_lists(prepare, tmp_path):
    write_archive(tmp_path / "PETA_dataset")
    lines = list_lines(archive_rows())
    (tmp_path / "a.txt").write_text("".join(lines[::-2]), "utf-8")
    commas = [line.strip().replace(" ", ",") + ",\n" for line in lines[-2::-2]]
    (tmp_path / "b.txt").write_text("".join(commas), "utf-8")
    _, err = prepare("peta", "--source", "PETA_dataset", "--split", "a.txt", "b.txt", "--output", "out")
    assert err == ""
    assert [read(tmp_path / "out")[name] for name in LISTS] == ["".join(lines[::-2]), "".join(lines[-2::-2])]


def test_peta_by_a_partition_of_its_rows(prepare, tmp_path):
    write_archive(tmp_path / "PETA dataset")
    parts = partition(15)
    peta_mat(tmp_path / "PETA.mat", parts=parts)
    lines = np.array(list_lines(archive_rows()), object)
    command = ["peta", "--source", "PETA dataset", "--annotation", "PETA.mat", "--partition", "4"]
    prepare(*command, "--output", "both")
    published = ["".join(lines[np.r_[parts["train"], parts["val"]] - 1]), "".join(lines[parts["test"] - 1])]
    assert [read(tmp_path / "both")[name] for name in LISTS] == published
    out, _ = prepare(*command, "--separate-val", "--output", "three")
    assert read(tmp_path / "three") == {
        f"PETA_{part}_list.txt": "".join(lines[taken - 1]) for part, taken in parts.items()
    }
    assert option(next_words(out), "--val_list") == "three/PETA_val_list.txt"


def test_nothing_is_written_if_a_row_is_of_another_picture(prepare, tmp_path):
    write_archive(tmp_path / "PETA dataset")
    peta_mat(tmp_path / "PETA.mat", archive_rows()[::-1])
    command = ("peta", "--source", "PETA dataset", "--annotation", "PETA.mat", "--output", "out", "--link")
    _, err = prepare(*command, status=1)
    assert err.count("\n") == 1
    assert "row 1 is subset 9, identity 1, but picture 1" in err
    assert not (tmp_path / "out").exists()


def test_peta_mat_alone(prepare, tmp_path):
    labels = peta_mat(tmp_path / "PETA.mat", parts=partition(15))
    (tmp_path / "images").mkdir()
    test = partition(15)["test"]
    first = partition(15)["train"][0]
    write_picture(tmp_path / "images" / f"{first:05d}.png")
    out, err = prepare("peta", "--annotation", "PETA.mat", "--output", "out")
    assert err == ""
    assert read(tmp_path / "out")["PETA_test_list.txt"] == "".join(
        f"images/{number:05d}.png {' '.join(map(str, labels[number - 1, :35]))} \n" for number in test
    )
    words = next_words(out)
    assert option(words, "--experiment") == "peta"
    assert (tmp_path / option(words, "--data_root")).samefile(tmp_path)


def test_nobody_is_in_both_lists(prepare, tmp_path):
    folder = write_archive(tmp_path / "PETA dataset")
    write_picture(folder / "MIT" / "archive" / "00001_male_back.jpg", "the same")
    write_picture(folder / "MIT" / "archive" / "00002_male_back.jpg", "the same")
    for seed in range(2):
        out, err = prepare("peta", "--source", folder, "--identity-split", "--output", "out", "--seed", seed)
        assert err == ""
        people = [
            {"/".join(line.split("/")[1::2]).split("_")[0] for line in text.splitlines()}
            for name, text in read(tmp_path / "out").items()
            if f"identity_seed{seed}" in name
        ]
        assert len(people) == 2
        assert not people[0] & people[1]
        assert len({"MIT/00001", "MIT/00002"} & people[0]) != 1
        assert f"note: test: {len(people[0])} identities on 6 pictures\n" in out
        assert "one picture per identity, which any split keeps apart: CUHK, MIT\n" in out


def test_linked_pictures_are_found_under_the_output(prepare, tmp_path):
    write_archive(tmp_path / "odd name")
    out, _ = prepare("peta", "--source", "odd name", "--output", "out", "--link")
    assert option(next_words(out), "--data_root") == "out"
    assert next_words(out)[-1] == "--follow_links"
    listed = read(tmp_path / "out")["PETA_train_list_seed1.txt"].splitlines()
    assert all((tmp_path / "out" / line.split()[0]).is_file() for line in listed)


def test_what_to_type_finds_the_pictures_of_a_folder_of_another_name(prepare, tmp_path):
    write_archive(tmp_path / "odd name")
    out, _ = prepare("peta", "--source", "odd name", "--output", "out")
    link, _, command = out.split("next: ")[1].partition(" && ")
    subprocess.run(shlex.split(link), check=True)
    assert option(shlex.split(command), "--data_root") == "out"
    assert shlex.split(command)[-1] == "--follow_links"
    assert (tmp_path / "out" / "PETA_dataset" / "MIT" / "archive" / "Label.txt").is_file()


# RAP, PA-100K, tables.


def test_rap_and_its_unknown_labels(prepare, tmp_path):
    labels = np.zeros((10, 51), int)
    labels[0, 0] = 2
    names = [f"{k}.png" for k in range(10)]
    rap1_mat(
        tmp_path / "RAP_annotation.mat", names, labels, {"train": np.arange(1, 9), "test": np.array([9, 10])}
    )
    out, err = prepare("rap", "--annotation", "RAP_annotation.mat", "--output", "out")
    assert err == ""
    assert "RAP_annotation.mat: RAPv1, 10 pictures\nnote: labels that are 2, unknown: Female 1\n" in out
    assert option(next_words(out), "--data_root") == "DIR"
    assert out.endswith("DIR stands for the directory of the pictures\n")
    assert list(read(tmp_path / "out")) == ["RAP_test_list.txt", "RAP_train_list.txt"]
    (tmp_path / "RAP_dataset").mkdir()
    for name in names:
        write_picture(tmp_path / "RAP_dataset" / name)
    out, _ = prepare(
        "rap", "--annotation", "RAP_annotation.mat", "--output", "out", "--force", "--source", "."
    )
    assert option(next_words(out), "--data_root") == "RAP_dataset"


def test_pa100k_with_pictures_in_a_folder_in_a_folder(prepare, tmp_path):
    parts = {"train": ["1.jpg"], "val": ["2.jpg"], "test": ["3.jpg"]}
    pa100k_mat(tmp_path / "annotation.mat", {part: (names, np.eye(1, 26)) for part, names in parts.items()})
    folder = tmp_path / "release_data" / "release_data"
    folder.mkdir(parents=True)
    for (name,) in parts.values():
        write_picture(folder / name)
    out, err = prepare("pa100k", "--annotation", "annotation.mat", "--output", "out")
    assert err == ""
    assert option(next_words(out), "--data_root") == "release_data/release_data"
    assert read(tmp_path / "out")["PA100K_train_list.txt"] == f"1.jpg 1{' 0' * 25}\n2.jpg 1{' 0' * 25}\n"


def test_csv_splits_and_names(prepare, tmp_path):
    rows = [f"{k}.jpg,{k % 2},{k % 3 // 2}" for k in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["# Image,Hat,Bag", *rows]), "utf-8")
    out, err = prepare("csv", "--table", "labels.csv", "--output", "out", "--test_share", "0.3")
    assert err == ""
    written = read(tmp_path / "out")
    assert written["attributes.txt"] == "Hat\nBag\n"
    assert written["test.txt"].count("\n") == 3
    listed = (written["train.txt"] + written["test.txt"]).replace(" ", ",").splitlines()
    assert sorted(listed) == rows
    assert option(next_words(out), "--attributes") == "out/attributes.txt"


@pytest.mark.parametrize("source", [[], ["--source", "."]])
def test_absolute_paths_of_a_table_become_relative_to_their_folder(prepare, tmp_path, source):
    (tmp_path / "in").mkdir()
    rows = []
    for k in range(5):
        write_picture(tmp_path / "in" / f"{k}.png")
        rows.append(f"{tmp_path}/in/{k}.png,{k % 2}\n")
    table = tmp_path / ("elsewhere/labels.csv" if source else "labels.csv")
    table.parent.mkdir(exist_ok=True)
    table.write_text("".join(["image,Hat\n", *rows]), "utf-8")
    out, err = prepare("csv", "--table", table, *source, "--output", "out")
    assert err == ""
    assert {line.split()[0] for line in read(tmp_path / "out")["train.txt"].splitlines()} < {
        f"in/{k}.png" for k in range(5)
    }
    assert (tmp_path / option(next_words(out), "--data_root")).samefile(tmp_path)
    _, err = prepare("csv", "--table", table, "--source", "out", "--output", "new", status=1)
    assert "file names outside of the pictures' directory" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("peta", "name the unpacked archive with --source"),
        ("peta --source x --annotation y --split z", "--split and --annotation are two ways"),
        ("peta --annotation x --identity-split", "name the unpacked archive with --source"),
        ("peta --source x --partition 1", "name it with --annotation"),
        ("peta --source x --split y --seed 1", "is for a random split"),
        ("peta --annotation x --link", "--link is about the archive"),
        ("csv --table x --test_share 1", "'1' is not a number between 0 and 1"),
        ("csv --table x --split_column Set --seed 3", "leave them out, or --split_column"),
        ("csv --table x --negative no --positive No", "name the same word; name others"),
    ],
)
def test_contradictions_are_wrong_options(prepare, words, message):
    _, err = prepare(*words.split(), "--output", "out", status=2)
    assert message in err


@pytest.mark.slow
def test_the_command_trains_on_what_was_prepared(prepare, run_here, tmp_path):
    """From a table to one iteration, typed as the last line says."""
    rows = [f"{k}.png,{k % 2}" for k in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,Hat", *rows]), "utf-8")
    for k in range(8):
        write_picture(tmp_path / f"{k}.png")
    out, err = prepare("csv", "--table", "labels.csv", "--negative", "0", "--output", "lists")
    assert err == ""
    assert next_words(out)[:2] == ["python", "run_scripts/run_ALM.py"]
    more = ["--epochs", 1, "--batch_size", 2, "--max_iters", 1, "--device", "cpu", "--output_dir", "run",
            "--workers", 0]  # fmt: skip
    assert "mA:" in run_here(*next_words(out)[2:], *more)[0]


def test_the_options_of_an_annotation_and_of_a_table_reach_it(prepare, tmp_path):
    parts = {"train": [1, 2], "val": [3], "test": [4]}
    first, second = (
        {f"{part}_index": column(np.add(rows, by), row=True) for part, rows in parts.items()} for by in (0, 2)
    )
    labels = np.zeros((6, 152), int)
    labels[:, 2] = 1
    rap2_mat(
        "a.mat",
        [f"{k}.png" for k in range(1, 7)],
        labels,
        {},
        [1, 2],
        partition_attribute=cells([first, second], row=True),
    )
    words = "rap", "--annotation", "a.mat", "--output", "out", "--attributes", "shoes-2"
    assert "of RAPv2, not of RAPv1" in prepare(*words, "--version", 1, status=1)[1]
    prepare(*words, "--version", 2, "--partition", 1, "--separate-val")
    written = [path.read_text() for path in sorted((tmp_path / "out").glob("*_list.txt"))]
    assert written == ["6.png 1\n", "3.png 1\n4.png 1\n", "5.png 1\n"]  # test, train, val
    (tmp_path / "t.csv").write_text("image,Hat,Set\n0.png,2,train\n1.png,1,test\n2.png,0,train\n")
    options = "--split_column", "Set", "--negative", 1, "--positive", 2, "--unknown", 0
    prepare("csv", "--table", "t.csv", "--output", "own", *options)
    assert (tmp_path / "own" / "train.txt").read_text() == "0.png 1\n2.png 2\n"
    assert (tmp_path / "own" / "test.txt").read_text() == "1.png 0\n"
