"""Phrases of sentences."""

from utils.io.phrases import counted, first_few, nearest


def test_a_count_and_its_noun():
    assert counted(0, "picture") == "0 pictures"
    assert counted(["a"], "picture") == "1 picture"
    assert counted(2000, "picture") == "2,000 pictures"


def test_the_first_few_of_many_names():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdef")) == "a, b, c, d, e, ..."
    assert first_few("abc", 2) == "a, b, ..."


def test_the_nearest_name():
    assert nearest("Hut", ["Bag", "Hat"]) == "Hat"
    assert nearest("Hut", ["Bag"], cutoff=0.9) == nearest("Hut", []) == ""
