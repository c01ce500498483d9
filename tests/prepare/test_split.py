"""Splits by lists, by a draw, and by who is on the pictures."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from utils.errors import DataError
from utils.prepare.split import (
    describe_people,
    group_people,
    split_at_random,
    split_by_lists,
    split_groups,
)

NAMES = [f"PETA_dataset/MIT/archive/{k:05d}_male.jpg" for k in range(6)]


def lists(tmp_path, *texts):
    paths = [tmp_path / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, "utf-8")
    return paths


# By lists.


@pytest.mark.parametrize(
    "line",
    [
        "PETA_dataset/MIT/archive/00002_male.jpg 0 1 0 \n",
        "PETA dataset/MIT/archive/00002_male.jpg\t1\t1\r\n",
        "PETA_dataset/MIT/archive/00002_male.jpg,0,1,0,1,\n",
        "PETA_dataset/MIT/archive/00002_male.jpg;0;1\n",
        "MIT/archive/00002_male.jpg",
        "D:\\data\\PETA dataset\\MIT\\archive\\00002_male.jpg 0 0\n",
        "\ufeff  ./PETA_dataset/MIT/archive/00002_male.jpg -1 7 no\n\n",
    ],
)
def test_a_line_counts_for_its_picture_alone(tmp_path, line):
    parts, notes = split_by_lists(lists(tmp_path, line, f"{NAMES[5]}\n{NAMES[0]}\n"), NAMES)
    assert parts == {"train": [2], "test": [5, 0]}
    assert notes == ["3 of 6 pictures are in none of the lists"]


def test_one_list_or_three(tmp_path):
    files = lists(tmp_path, *(f"{a}\n{b}\n" for a, b in zip(NAMES[::2], NAMES[1::2], strict=True)))
    assert split_by_lists(files, NAMES) == ({"train": [0, 1], "val": [2, 3], "test": [4, 5]}, [])
    assert split_by_lists(files[:1], NAMES)[0] == {"train": [0, 1]}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([NAMES[0], f"{NAMES[1]}\n\nnothing here 0 1\n"], r"1.txt:3: this line names no picture"),
        ([NAMES[0], "\n"], r"1.txt is empty"),
        ([NAMES[0], f"{NAMES[1]} 1\n{NAMES[0]} 1"], "1 picture in two lists: .*00000_male.jpg"),
        ([f"{NAMES[1]}\n{NAMES[1]}\n", NAMES[0]], "1 picture more than once in a list"),
        (["", "", "", ""], "--split has 4 lists"),
        (
            ["".join(f"MIT/archive/{k}.jpg 0\n" for k in range(7)), NAMES[0]],
            r"7 pictures of .*0.txt not in the archive: MIT/archive/0.jpg, .*4.jpg, \.\.\.; get",
        ),
    ],
)
def test_bad_lists_are_refused(tmp_path, texts, message):
    with pytest.raises(DataError, match=message):
        split_by_lists(lists(tmp_path, *texts), NAMES)


# By a draw.


@settings(max_examples=50)
@given(st.integers(2, 200), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_a_draw_has_its_share_and_every_picture_once(count, share, seed):
    names = [f"{k}.png" for k in range(count)]
    size = round(share * count)
    if not 0 < size < count:
        with pytest.raises(DataError, match="cannot be split"):
            split_at_random(names, share, seed)
        return
    parts = split_at_random(names, share, seed)
    assert len(parts["test"]) == size
    assert sorted(parts["train"] + parts["test"]) == list(range(count))
    assert all(indices == sorted(indices) for indices in parts.values())
    assert split_at_random(names, share, seed) == parts


def test_petas_draw_has_the_published_sizes():
    parts = split_at_random([str(k) for k in range(19000)], 0.4, 1)
    assert (len(parts["train"]), len(parts["test"])) == (11400, 7600)


def test_a_lot_follows_from_seed_and_name_alone():
    names = [f"{k}.png" for k in range(50)]
    test = {names[i] for i in split_at_random(names, 0.5, 1)["test"]}
    turned = names[::-1]
    assert {turned[i] for i in split_at_random(turned, 0.5, 1)["test"]} == test
    assert {names[i] for i in split_at_random(names, 0.5, 2)["test"]} != test


# By who is on them.


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 25)), min_size=1, max_size=40))
def test_groups_share_no_identity_and_no_pixels(pictures):
    people, pixels = zip(*pictures, strict=True)
    groups = group_people(people, pixels)
    assert sorted(index for group in groups for index in group) == list(range(len(pictures)))
    for values in (people, pixels):
        owners = {}
        for number, group in enumerate(groups):
            for index in group:
                assert owners.setdefault(values[index], number) == number


@settings(max_examples=10, deadline=None)  # each draws a hundred splits
@given(st.lists(st.integers(0, 9), min_size=6, max_size=60), st.integers(0, 99))
def test_nobody_is_in_both_halves(people, seed):
    names = [f"{k}.png" for k in range(len(people))]
    labels = np.array([[k % 2, k % 3 == 0] for k in range(len(people))])
    groups = group_people(people, names)
    try:
        parts, difference = split_groups(groups, names, labels, 0.4, seed)
    except DataError:
        reject()  # too few people to be split
    train, test = ({people[i] for i in parts[part]} for part in ("train", "test"))
    assert not train & test
    assert len(parts["test"]) <= round(0.4 * len(names))
    ratios = [labels[parts[part]].mean(axis=0) for part in ("train", "test")]
    assert difference == pytest.approx(abs(ratios[0] - ratios[1]).max())
    assert split_groups(groups, names, labels, 0.4, seed) == (parts, difference)


def test_of_many_draws_the_most_even_is_taken():
    people = [k // 10 for k in range(300)]  # few people on many pictures
    labels = np.array([[person % 3 == 0] for person in people])
    names = [f"{k}.png" for k in range(300)]
    for seed in range(2):
        assert split_groups(group_people(people, names), names, labels, 0.4, seed)[1] < 0.03


def test_the_halves_are_described():
    identities = [("MIT", "1"), ("MIT", "2"), ("GRID", "1"), ("GRID", "1"), ("CUHK", "1")]
    assert describe_people(identities, {"train": [0, 2, 3], "test": [1, 4]}) == [
        "train: 2 identities on 3 pictures",
        "test: 2 identities on 2 pictures",
        "one picture per identity, which any split keeps apart: MIT, CUHK",
    ]
