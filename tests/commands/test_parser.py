"""Parsers, types of values, and refusals of what no single value shows."""

import argparse

import pytest

from alm.constants import TORCHRUN
from alm.errors import AlmError
from run_scripts.cli.parser import (
    LARGEST,
    LAUNCHERS,
    Parser,
    refuse_inputs_as_outputs,
    refuse_other_launchers,
    whole_number,
)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), (str(LARGEST), LARGEST)])
def test_a_whole_number_is_read(text, value):
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
        (["part", "--nope"], "error: there is no option --nope (tool part --help shows the options)"),
        (["part", "--count", "a\nb"],
         "error: argument --count: 'a\\nb' is not a whole number from 0 to 2147483647 "
         "(tool part --help shows the options)"),
        (["part", "--cou", "1"],
         "error: there is no option --cou; the nearest is --count (tool part --help shows the options)"),
        (["part", "--each_countt=1"],
         "error: there is no option --each_countt=1; the nearest is --each-count "
         "(tool part --help shows the options)"),
        ([], "error: the following arguments are required: PART (tool --help shows the options)"),
        (["part", "--count", "1", "x\ny"],
         "error: unrecognized arguments: x y (tool --help shows the options)"),
        (["part"],
         "error: the following arguments are required: --count (tool part --help shows the options)"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_line_and_status_2_of_subcommands_too(capsys, words, line):
    parser = Parser("A command.", prog="tool")
    part = parser.add_subparsers(metavar="PART", required=True).add_parser("part")
    part.add_argument("--count", type=whole_number(0), required=True)
    part.add_argument("--each-count")
    with pytest.raises(SystemExit) as ending:
        parser.parse_args(words)
    out, err = capsys.readouterr()
    assert (ending.value.code, out, err) == (2, "", f"{line}\n")


@pytest.mark.parametrize("word", ["--batch-size", "--batch_size"])
@pytest.mark.parametrize("defined", ["--batch-size", "--batch_size"])
def test_a_dash_and_an_underscore_are_the_same_in_the_name_of_an_option_and_nowhere_else(word, defined):
    parser = Parser("A command.")
    part = parser.add_subparsers().add_parser("part")
    for each in (part, alone := Parser("A command.")):
        each.add_argument(defined)
        each.add_argument("places", nargs="*")
    for options in (parser.parse_args(["part", word, "a-b_c"]), alone.parse_args([f"{word}=a-b_c"])):
        assert options.batch_size == "a-b_c"
    places = ["--a-b", "--c_d"]
    assert alone.parse_args([word, "1", "--", *places]).places == places


PAIRS = [(size, number) for size, number, _ in LAUNCHERS]


@pytest.fixture
def alone(monkeypatch):
    for pair in PAIRS:
        for name in pair:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(TORCHRUN, raising=False)


@pytest.mark.parametrize(("size", "number"), PAIRS)
def test_several_processes_are_refused_by_the_first(monkeypatch, capsys, alone, size, number):
    monkeypatch.setenv(size, "4")
    monkeypatch.setenv(number, "0")
    with pytest.raises(AlmError, match=rf"started 4 processes \({size}=4\), .* torchrun --nproc_per_node 4$"):
        refuse_other_launchers()
    monkeypatch.setenv(number, "3")
    with pytest.raises(SystemExit) as ending:
        refuse_other_launchers()
    assert (ending.value.code, capsys.readouterr()) == (1, ("", ""))
    monkeypatch.setenv(TORCHRUN, "none")
    refuse_other_launchers()
    monkeypatch.delenv(TORCHRUN)
    monkeypatch.setenv(size, "1")
    refuse_other_launchers()


IN_A_JOB = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "4"},  # a shell of salloc
        IN_A_JOB,  # a batch script
        IN_A_JOB | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},  # salloc's shell on a node
        # One process of mpirun, whose own helpers srun started, and of torchrun within srun.
        IN_A_JOB | {"SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        IN_A_JOB | {"SLURM_STEP_NUM_TASKS": "1", "WORLD_SIZE": "1", "RANK": "0"},
    ],
)
def test_a_process_that_is_alone_in_its_job_is_not_refused(monkeypatch, alone, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refuse_other_launchers()


def test_one_process_of_torchrun_in_each_of_several_tasks_is_refused(monkeypatch, alone):
    for name, value in {
        "WORLD_SIZE": "1",
        "RANK": "0",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AlmError, match=r"^srun started 4 processes \(SLURM_STEP_NUM_TASKS=4\)"):
        refuse_other_launchers()


def test_a_file_is_not_written_over_that_is_read_or_written_too(tmp_path, capsys):
    parser, read = Parser("A command."), tmp_path / "a"
    (tmp_path / "link").symlink_to(read)
    refuse_inputs_as_outputs(parser, [read, None], json=tmp_path / "b", plot=None)
    cases = ({"json": tmp_path / "link"}, "reads it"), ({"json": "b", "plot": "b"}, "--json names it too")
    for outputs, reason in cases:
        with pytest.raises(SystemExit):
            refuse_inputs_as_outputs(parser, [read], **outputs)
        assert reason in capsys.readouterr().err
