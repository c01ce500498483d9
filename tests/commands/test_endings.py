"""Every command begins by `run` and ends in one line and a status, whatever goes wrong.

What a command does with bad input is tested in this process; what only a process can show, on one command
without torch and one with it.
"""

import ast
import io
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from importlib import import_module
from shutil import which

import pytest
from PIL import Image
from support import REPOSITORY
from support.cli import SCRIPTS, process, status_here
from support.logs import write_log
from support.models import ATTRIBUTES, model_of, own_checkpoint

from alm.checkpoint.restore import save_checkpoint
from alm.constants import PATIENCE, TORCHRUN
from alm.errors import AlmError, PictureError
from run_scripts.cli.main import SHARED, Interruption, bad_input_status, clear_ending, run
from run_scripts.cli.parser import Parser
from run_scripts.cli.reference import EXIT_STATUS
from run_scripts.loss import PLOT
from utils.diagnostics.fingerprint_comparison import FORMAT, STAGES
from utils.errors import DataError, LogError
from utils.io.process import beyond_interrupts

# Beginnings.


@pytest.mark.parametrize("command", sorted({file.stem for file in SCRIPTS.glob("*.py")} - set(SHARED)))
def test_torchrun_starts_no_command_twice_that_is_for_one_process(command, monkeypatch, capsys):
    slept = []
    monkeypatch.setattr("signal.signal", lambda *_: None)  # `run` ends a process
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("importlib.import_module", lambda module: pytest.fail("it has begun"))
    monkeypatch.setenv(TORCHRUN, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = f"error: {command}.py is for one process; start it without torchrun\n"
    for rank, errors in ("0", line), ("1", ""):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as ending:
            run(f"run_scripts.{command}")
        assert ending.value.code == bad_input_status(command)
        assert capsys.readouterr() == ("", errors)
    assert slept == [PATIENCE]


# Errors, warnings and streams.


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
        (OSError(2, "No such file or directory", "a/b"), "a/b: No such file or directory; check the path"),
        (OSError(28, "No space left on device"), "No space left on device; make room, or name another place"),
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
    assert line.startswith("error: TypeError: two (a fault of the program, at test_endings.py:")
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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_that_cannot_show_a_character_spells_it_out(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    with clear_ending():
        print("训 \udcff")
    shown = "训 \\udcff" if encoding == "utf-8" else "\\u8bad \\udcff"
    assert raw.getvalue() == f"{shown}\n".encode(encoding)


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


# Each exit status that docs/cli.md has.

CASES = {
    ("run_ALM", 0): "-e --resume 7.pth.tar --val_list list.txt --data_root . --workers 0 --device cpu",
    ("run_ALM", 1): "-e --resume absent.pth.tar",
    ("run_ALM", 2): "--no-such-option",
    ("prepare_data", 0): "csv --table table.csv --output lists",
    ("prepare_data", 1): "csv --table absent.csv --output lists",
    ("prepare_data", 2): "--no-such-option",
    ("predict", 0): "--checkpoint 7.pth.tar 1.png --device cpu",
    ("predict", 1): "--checkpoint 7.pth.tar 1.png broken.png --device cpu",
    ("predict", 2): "--no-such-option",
    ("export", 0): "--to reference 7.pth.tar published.pth.tar",
    ("export", 1): "--to reference absent.pth.tar published.pth.tar",
    ("export", 2): "--no-such-option",
    ("loss", 0): "--compare a.log a.log",
    ("loss", 1): "--compare a.log b.log",
    ("loss", 2): "--compare a.log absent.log",
    ("compare", 0): "worse.csv better.csv --labels long.txt --attributes names.txt",
    ("compare", 1): "better.csv worse.csv --labels long.txt --attributes names.txt",
    ("compare", 2): "better.csv absent.csv --labels long.txt --attributes names.txt",
    ("locate", 0): "--compare a.jsonl a.jsonl",
    ("locate", 1): "--compare a.jsonl b.jsonl",
    ("locate", 2): "--compare a.jsonl absent.jsonl",
    ("benchmark", 1): "--device sdaa",
    ("benchmark", 2): "--no-such-option",
}
ELSEWHERE = {("benchmark", 0)}  # test_benchmark.py: it takes half a minute; test.sh: test_acceptance.py


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a small one of every file that a command reads."""
    folder = tmp_path_factory.mktemp("files")
    options = {"approach": "bn_inception", "experiment": "custom"}
    checkpoint = own_checkpoint(model_of(approach="bn_inception"), options=options)
    save_checkpoint(folder / "7.pth.tar", checkpoint)
    Image.new("RGB", (64, 128), "red").save(folder / "1.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "list.txt").write_text("1.png 0 1 0\n")
    (folder / "table.csv").write_text(
        "image,Hat,Bag\n" + "".join(f"{k}.png,{k % 2},{1 - k % 2}\n" for k in range(10))
    )
    (folder / "names.txt").write_text("\n".join(ATTRIBUTES))
    labels = [[(k + j) % 2 for j in range(3)] for k in range(40)]
    (folder / "long.txt").write_text(
        "".join(f"{k}.png {' '.join(map(str, row))}\n" for k, row in enumerate(labels))
    )
    for name, sign in (("better", 1), ("worse", -1)):
        rows = (
            f"{k}.png," + ",".join(str(sign * (2 * label - 1)) for label in row)
            for k, row in enumerate(labels)
        )
        (folder / f"{name}.csv").write_text("\n".join(["path," + ",".join(ATTRIBUTES), *rows]))
    for name, norm in (("a", 1.0), ("b", 9.0)):
        run = {"type": "run", "format": FORMAT, "precision": "float32", "weights": "same"}
        tensor = {"type": "tensor", "iteration": 0, "name": "network", "dtype": "float32", "shape": [1]}
        numbers = {"largest": 1, "nonfinite": 0, "projection_1": 0, "projection_2": 0, "norm": norm}
        batch = {"type": "batch", "iteration": 0, "images": "same", "labels": "same", "mirror": "same"}
        entries = run, batch, *(tensor | numbers | {"stage": stage} for stage in STAGES)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        write_log("a.log", range(21, 1, -1))
        write_log("b.log", range(210, 10, -10))
    return folder


def test_each_status_that_is_documented_is_tested():
    commands = {name.removesuffix(".py") for name in EXIT_STATUS} - {"test.sh"}
    assert {(command, status) for command in commands for status in range(3)} == CASES.keys() | ELSEWHERE


@pytest.mark.parametrize(("command", "status"), CASES)
def test_a_command_ends_with_its_documented_status(folder, monkeypatch, capsys, command, status):
    monkeypatch.chdir(folder)
    words = CASES[command, status].split()
    assert status_here(import_module(f"run_scripts.{command}"), *words) == status
    output, errors = capsys.readouterr()
    if status >= bad_input_status(command):
        assert errors.splitlines()[-1].startswith("error: ")
    if words == ["--no-such-option"]:
        assert (output, errors.count("\n")) == ("", 1)
        assert errors.endswith(f" ({command}.py --help shows the options)\n")


# Processes: what they leave, imports, signals, a reader that is gone.

SUCCESSES = [(command, words) for (command, status), words in CASES.items() if status == 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        *SUCCESSES,
        ("export", "--to onnx 7.pth.tar new.onnx"),
        ("predict", "--checkpoint model.onnx 1.png --csv new.csv"),
    ],
)
def test_a_command_calls_nobody_and_writes_what_was_named(
    folder, request, tmp_path, monkeypatch, command, words
):
    """Beside loss.py's plot, matplotlib's list of fonts, and torch's folder for compiled code, which stays
    empty. Calls are seen if there is strace.
    """
    here, home, temporary, trace = (tmp_path / name for name in ("here", "home", "temporary", "trace"))
    for path in (here, home, temporary):
        path.mkdir()
    written = {"lists", "published.pth.tar", str(PLOT)}  # by other tests
    files = {path.name: path for path in folder.iterdir() if path.name not in written}
    if ".onnx" in words:
        files["model.onnx"] = request.getfixturevalue("model_file")
    for name, path in files.items():
        os.link(path, here / name)
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    watch = ("strace", "-f", "-o", trace, "-e", "trace=connect,sendto,sendmsg") if which("strace") else ()
    places = {"HOME": str(home), "TMPDIR": str(temporary)}
    process(command, *words.split(), cwd=here, before=watch, env=places)
    assert all(path.parent.name == "matplotlib" for path in home.rglob("*") if path.is_file())
    assert all(path.name.startswith("torchinductor_") for path in temporary.iterdir())
    assert {path.name for path in here.iterdir()} - files.keys() <= {*words.split(), str(PLOT)}
    assert not watch or "AF_INET" not in trace.read_text()


PACKAGES = {"loss": "numpy", "run_ALM": "torch"}


def started(folder, command, program):
    """Start a command with a program in the place of a package that it imports."""
    (folder / f"{PACKAGES[command]}.py").write_text(program)
    return subprocess.Popen(
        [sys.executable, SCRIPTS / f"{command}.py"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def commands():
    return {
        path.stem: path for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
    }


def test_every_command_enters_by_run_before_it_imports_anything():
    assert len(commands()) == 9
    for name, path in commands().items():
        head = next(node for node in ast.parse(path.read_text(encoding="utf-8")).body if not is_text(node))
        assert isinstance(head, ast.If)
        assert ast.unparse(head.body[-1]) == f"run('run_scripts.{name}')"


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("command", PACKAGES)
@pytest.mark.parametrize(("name", "line", "status"), [("SIGINT", "interrupted\n", 130), ("SIGTERM", "", 143)])
def test_a_signal_during_an_import_ends_a_command_at_once(tmp_path, command, name, line, status):
    process = started(tmp_path, command, "import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    assert process.stdout.readline() == "importing\n"
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=10) == ("", line)
    assert process.returncode == status


def test_ctrl_c_stays_ignored_if_nohup_asked_for_it(tmp_path):
    program = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ModuleNotFoundError(name='it')\n"
    with beyond_interrupts():
        process = started(tmp_path, "loss", program)
    assert "the package it is not installed" in process.communicate(timeout=10)[1]
    assert process.returncode == 2


@pytest.mark.parametrize("command", PACKAGES)
def test_a_missing_package_is_one_line(tmp_path, command):
    process = started(tmp_path, command, "raise ModuleNotFoundError('No module named it', name='it')\n")
    output, errors = process.communicate(timeout=10)
    assert (output, errors.count("\n")) == ("", 1)
    assert errors.startswith("error: the package it is not installed")
    assert process.returncode == bad_input_status(command)


@pytest.mark.parametrize(("command", "status"), [("loss", 2), ("run_ALM", 1)])
def test_an_older_python_is_refused(monkeypatch, capsys, command, status):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit) as ending:
        run(f"run_scripts.{command}")
    assert ending.value.code == status
    assert capsys.readouterr().err.startswith("error: Python 3.10 or newer is needed, ")


def test_an_older_python_can_read_what_refuses_it():
    for path in (*commands().values(), SCRIPTS / "cli" / "main.py"):
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_after_its_end_a_command_dies_of_ctrl_c_silently(tmp_path):
    (tmp_path / "done.py").write_text(
        "import atexit, os, signal, time\n"
        "def main():\n    atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(5)))\n"
    )
    program = "from run_scripts.cli.main import run\nrun('done')"
    places = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        timeout=10,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, b"")


def test_importing_a_command_changes_nothing_here():
    import_module("run_scripts.loss")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.excepthook is sys.__excepthook__


def test_every_command_has_the_same_parser():
    for name in commands():
        assert isinstance(import_module(f"run_scripts.{name}").build_parser(), Parser)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "status", "line"), [("pipe", 141, ""), ("/dev/full", 2, "No space left")])
def test_output_that_cannot_be_written_ends_a_command_without_a_traceback(folder, place, status, line):
    read, write = os.pipe() if place == "pipe" else (None, os.open(place, os.O_WRONLY))
    if read is not None:
        os.close(read)
    command = [sys.executable, SCRIPTS / "compare.py", *CASES["compare", 0].split()]
    ended = subprocess.run(command, cwd=folder, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr.count("\n")) == (status, bool(line))
    assert line in ended.stderr


@pytest.mark.slow
def test_commands_that_need_no_torch_do_not_import_it():
    names = "acceptance", "compare", "locate", "loss", "predict", "prepare_data"
    program = f"import sys; from run_scripts import {', '.join(names)}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert answer.stdout == "False\n", answer.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX")
@pytest.mark.parametrize(
    ("number", "status"),
    [("SIGUSR1", 0), ("SIGUSR2", 0), ("SIGXCPU", 0), ("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)],
)
def test_a_first_signal_is_taken_note_of(number, status, capfd):
    number = getattr(signal, number)
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption()
        signal.raise_signal(number)
        assert interruption()
        assert interruption.status == status
    assert signal.getsignal(number) is before
    assert f"{signal.Signals(number).name}: ending after this iteration" in capfd.readouterr().err


SIGNALS = """
import hashlib, os, signal, sys, threading, time
from run_scripts.cli import main
main.ONE_REQUEST = 0.4
def send(words):
    for word in words:
        if word.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, word))
        else:
            time.sleep(float(word))
calls, *words = sys.argv[1:]
with main.Interruption() as interruption:
    sender = threading.Thread(target=send, args=(words,))
    sender.start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(calls))  # in which no handler runs
    sender.join()
    print(interruption.name)
"""
FOR_MINUTES = 2**31 - 1


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals are POSIX")
@pytest.mark.parametrize(
    ("words", "name", "status"),
    [
        ("1 SIGTERM SIGTERM 0.1 SIGINT", "SIGTERM", 0),
        (f"{FOR_MINUTES} SIGUSR2 0.6 SIGTERM", None, 143),
        (f"{FOR_MINUTES} SIGTERM SIGTERM 0.6 SIGINT", None, 130),
        ("1 SIGXCPU 0.6 SIGXCPU", "SIGXCPU", 0),
    ],
)
def test_signals_within_a_second_are_one_request_and_the_next_ends_the_process(words, name, status):
    command = [sys.executable, "-c", SIGNALS, *words.split()]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (ended.stdout, ended.returncode) == (f"{name}\n" if name else "", status)
