"""How commands end: one line on standard error and a status, whatever went wrong."""

import argparse
import io
import subprocess
import sys
import threading
import warnings

import pytest
from support import REPOSITORY

from alm.errors import AlmError, PictureError
from run_scripts.cli.main import clear_ending
from run_scripts.cli.parser import LARGEST, LAUNCHERS, Parser, refuse_several_processes, whole_number
from utils.errors import DataError, LogError


def ended(error, capsys, **options):
    """Return status and standard error of a command that raises."""
    with pytest.raises(SystemExit) as ending, clear_ending(**options):
        raise error
    out, err = capsys.readouterr()
    assert out == ""
    return ending.value.code, err


@pytest.mark.parametrize("kind", [AlmError, DataError, LogError, PictureError])
def test_bad_input_of_every_kind_is_its_message(kind, capsys):
    assert ended(kind("fix\n--train_list"), capsys) == (1, "error: fix --train_list\n")
    assert ended(kind("fix it"), capsys, bad_input=2) == (2, "error: fix it\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(28, "No space left on device", "a.json"),
            "a.json: No space left on device; make room, or name another place",
        ),
        (OSError(28, "No space left on device"), "No space left on device; make room, or name another place"),
        (OSError(2, "No such file or directory", "a/b"), "a/b: No such file or directory; check the path"),
        (OSError(5, "Input/output error", "a"), "a: Input/output error"),
        (OSError("odd"), "odd"),
        (MemoryError(), "out of memory; lower --batch_size or --workers, or end other programs"),
        (
            ModuleNotFoundError("No module named 'it'", name="it"),
            f"the package it is not installed for {sys.executable}; pip install -r requirement.txt",
        ),
    ],
)
def test_other_errors_say_what_they_mean(error, line, capsys):
    assert ended(error, capsys) == (1, f"error: {line}\n")


def test_a_fault_of_the_program_says_so_and_where(capsys):
    status, line = ended(TypeError("two\nlines"), capsys)
    assert status == 1
    assert line.startswith("error: TypeError: two (a fault of the program, at test_cli.py:")
    assert line.endswith("; --debug shows how it came there)\n")


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "--debug"])
    status, text = ended(AlmError("fix it"), capsys)
    assert status == 1
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("AlmError: fix it\n")


def test_an_interrupt_is_one_word(capsys):
    assert ended(KeyboardInterrupt(), capsys) == (130, "interrupted\n")


def test_a_warning_is_one_line():
    before = warnings.formatwarning
    with clear_ending():
        shown = warnings.formatwarning("two of ten pictures are missing", UserWarning, "loader.py", 7)
    assert shown == "warning: two of ten pictures are missing\n"
    assert warnings.formatwarning is before


def test_a_value_passes_through():
    def main():
        with clear_ending():
            return 3

    assert main() == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_that_cannot_show_a_character_spells_it_out(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    with clear_ending():
        print("训 \udcff")
    shown = "训 \\udcff" if encoding == "utf-8" else "\\u8bad \\udcff"
    assert raw.getvalue() == f"{shown}\n".encode(encoding)


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


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_is_closed_takes_everything(monkeypatch, name):
    """As `>&-` leaves it."""
    monkeypatch.setattr(sys, name, None)
    with clear_ending():
        stream = getattr(sys, name)
        print("训 \udcff", file=stream, flush=True)
    stream.close()


def test_what_ends_a_thread_is_one_line(capsys):
    def fail():
        raise OSError(28, "No space left on device")

    before = threading.excepthook
    with clear_ending():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert capsys.readouterr() == ("", "warning: No space left on device; make room, or name another place\n")
    assert threading.excepthook is before


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


def test_launchers_are_those_that_there_are():
    assert {"WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"} <= {size for size, *_ in LAUNCHERS}


COMMANDS = ["run_ALM", "prepare_data", "loss", "compare", "export", "benchmark"]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_is_shown_by_a_terminal_that_knows_ascii_alone(command):
    end = subprocess.run(
        [sys.executable, str(REPOSITORY / "run_scripts" / f"{command}.py"), "--help"],
        capture_output=True, text=True, env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )  # fmt: skip
    assert (end.returncode, end.stderr) == (0, "")
    assert "--debug" in end.stdout
