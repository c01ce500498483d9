"""Parsers, types of values, and refusals of what no single value shows."""

import argparse

import pytest

from alm.errors import AlmError
from run_scripts.cli.parser import (
    LARGEST,
    LAUNCHERS,
    Parser,
    refuse_inputs_as_outputs,
    refuse_several_processes,
    whole_number,
)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), (str(LARGEST), LARGEST)])
def test_whole_numbers(text, value):
    assert whole_number(0)(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "٣", "x", str(LARGEST + 1), "9" * 5000, "+1", " 1"])
def test_whole_numbers_of_no_use_are_refused_in_short(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 0 to") as error:
        whole_number(0)(text)
    assert len(str(error.value)) < 120


def test_every_command_has_debug_and_no_abbreviations(capsys):
    parser = Parser("A command.")
    assert parser.parse_args(["--debug"]).debug is True
    with pytest.raises(SystemExit):
        parser.parse_args(["--deb"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["part", "--nope"], "error: unrecognized arguments: --nope (tool --help shows the options)"),
        (["part", "--count", "a\nb"],
         "error: argument --count: 'a\\nb' is not a whole number from 0 to 2147483647 "
         "(tool part --help shows the options)"),
        (["part", "--cou", "1"], "error: unrecognized arguments: --cou 1 (tool --help shows the options)"),
        ([], "error: the following arguments are required: PART (tool --help shows the options)"),
        (["part", "x\ny"], "error: unrecognized arguments: x y (tool --help shows the options)"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_and_status_2_of_subcommands_too(capsys, words, line):
    parser = Parser("A command.", prog="tool")
    part = parser.add_subparsers(metavar="PART", required=True).add_parser("part")
    part.add_argument("--count", type=whole_number(0))
    assert part.parse_args(["--debug"]).debug is True
    with pytest.raises(SystemExit) as ending:
        parser.parse_args(words)
    out, err = capsys.readouterr()
    assert (ending.value.code, out, err) == (2, "", f"{line}\n")


PAIRS = [(size, number) for size, number, _ in LAUNCHERS]


@pytest.fixture
def alone(monkeypatch):
    for pair in PAIRS:
        for name in pair:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("size", "number"), PAIRS)
def test_several_processes_are_refused_by_the_first(monkeypatch, capsys, alone, size, number):
    monkeypatch.setenv(size, "4")
    monkeypatch.setenv(number, "0")
    with pytest.raises(AlmError, match=rf"4 processes were started; one is supported so far: .*\({size}=4\)"):
        refuse_several_processes()
    monkeypatch.setenv(number, "3")
    with pytest.raises(SystemExit) as ending:
        refuse_several_processes()
    assert (ending.value.code, capsys.readouterr()) == (1, ("", ""))
    monkeypatch.setenv(size, "1")
    refuse_several_processes()
    monkeypatch.delenv(number)
    monkeypatch.setenv(size, "4")
    refuse_several_processes()  # an allocation that no launcher has started anything in


def test_a_file_is_not_written_over_that_is_read_or_written_too(tmp_path, capsys):
    parser, read = Parser("A command."), tmp_path / "a"
    (tmp_path / "link").symlink_to(read)
    refuse_inputs_as_outputs(parser, [read, None], json=tmp_path / "b", plot=None)
    cases = ({"json": tmp_path / "link"}, "reads it"), ({"json": "b", "plot": "b"}, "--json names it too")
    for outputs, reason in cases:
        with pytest.raises(SystemExit):
            refuse_inputs_as_outputs(parser, [read], **outputs)
        assert reason in capsys.readouterr().err
