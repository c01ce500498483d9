"""The command prepare_data.py synthetic: what it draws, and what it says of what is wrong."""

import pytest
from support.drawn import files, write_people

from run_scripts import prepare_data
from utils.synthetic import draw_list


def test_a_list_is_drawn(tmp_path, start_here):
    people = write_people(tmp_path / "people.txt")
    output, errors = start_here(
        prepare_data, "synthetic", "--labels", people, "--output", tmp_path / "out", "--seed", 3, "--limit", 2
    )
    assert "2 pictures" in output
    assert errors == ""
    draw_list(people, tmp_path / "expected", seed=3, limit=2)
    assert files(tmp_path / "out") == files(tmp_path / "expected")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--labels", "missing.txt"), 1),
        (("--limit", "2"), 2),
        (("--seed", "x"), 2),
        (("--labels", "a", "--limit", "0"), 2),
    ],
)
def test_wrong_input_is_an_error_and_leaves_nothing(tmp_path, start_here, options, status):
    _, errors = start_here(prepare_data, "synthetic", *options, "--output", tmp_path / "out", status=status)
    assert "error: " in errors
    assert list(tmp_path.iterdir()) == []
