"""The commands' parsers come in; docs/cli.md, their reference, goes out.

python -m run_scripts.cli.reference > docs/cli.md
"""

import argparse
import re
from collections.abc import Iterator
from importlib import import_module

from run_scripts.training.options import OPTIONS, Trait, names

# What each command's exit status means: 0, 1 and 2.
EXIT_STATUS = {
    "run_ALM.py": (
        "trained or evaluated; or all was done already; or SIGUSR1, SIGUSR2 or SIGXCPU ended the run after "
        "it was saved",
        "bad input, or a fault on the way, such as a last save that failed",
        "a wrong option",
    ),
    "prepare_data.py": (
        "lists written, or pictures drawn; `check`: a training can start",
        "bad input, or a fault; `check`: a training would fail",
        "a wrong option",
    ),
    "predict.py": (
        "all pictures are predicted",
        "bad input, or a fault; or a picture could not be read",
        "a wrong option",
    ),
    "export.py": ("the file is written", "bad input, or a fault", "a wrong option"),
    "loss.py": (
        "both logs are whole, and agree",
        "a log disagrees, or has a loss that is not finite",
        "no verdict: a log lacks iterations, or the losses cannot show an agreement; or a wrong option, a "
        "log that cannot be used, or a fault",
    ),
    "compare.py": (
        "B is better than A, or the list or the seeds cannot tell them apart",
        "B is worse",
        "no verdict: mA or its interval is undefined, or a file lacks pictures or attributes; or a wrong "
        "option, a file that cannot be used, or a fault",
    ),
    "locate.py": (
        "everything is within its limits",
        "something is beyond its limit, or missing from a fingerprint",
        "no verdict: an operator could not be checked; or a wrong option, a file that cannot be used, or a "
        "fault",
    ),
    "benchmark.py": (
        "everything is measured, whether the goals are met or missed",
        "bad input, or a fault",
        "a wrong option",
    ),
    "test.sh": (
        "`loss.py` says that the logs agree",
        "`loss.py` says that they disagree, or a step before that failed",
        "no verdict: `loss.py` gave none, the drawn pictures differ as the logs do, or there is no log to "
        "compare with; or a wrong option",
    ),
}
HEAD = """# Every command and option

This page is generated from the commands' own tables: `python -m run_scripts.cli.reference > docs/cli.md`.

Each command in `run_scripts/` runs from any directory, installed or not, and shows its options with `--help`.
Each also takes `--debug`, which shows where an error came from. Without it, an error is one line on standard
error: what is wrong, where, and how to fix it. In an option's name `-` and `_` are the same.

## Exit statuses

| command | 0 | 1 | 2 |
|---|---|---|---|
"""
SIGNALS = """
For all of them, as a shell counts: 130 after Ctrl-C, 143 after SIGTERM, 129 if the terminal was closed.
`run_ALM.py` first saves what is trained, `predict.py --csv FILE` keeps its rows in `FILE.part`, and the
others leave nothing half written. The status is 141 if nobody reads the output any more, as behind
`| head`; but `run_ALM.py` trains on, because its log is a file.
"""


def reference_lines() -> Iterator[str]:
    """Yield the lines of docs/cli.md."""
    yield HEAD.rstrip("\n")
    for command, meanings in EXIT_STATUS.items():
        yield f"| `{command}` | {' | '.join(meanings)} |"
    yield SIGNALS.rstrip("\n")
    for command in EXIT_STATUS:
        if command.endswith(".py"):
            parser = import_module(f"run_scripts.{command.removesuffix('.py')}").build_parser()
            yield from command_lines(parser, f"## {command}", parser.description)
        if command == "locate.py":
            words = (word for name in names(Trait.STEP) for word in OPTIONS[name].flags)
            words = ", ".join(f"`{word}`" for word in words)
            yield f"\nIt also takes these options of `run_ALM.py`: {words}."


def command_lines(parser: argparse.ArgumentParser, heading: str, description: str) -> Iterator[str]:
    """Yield a heading, the description and one table of options; then the same of each subcommand."""
    yield f"\n{heading}\n"
    yield from description_lines(description)
    table = [line for group in parser._action_groups for line in group_lines(group)]
    if table:
        yield from ("\n| option | meaning |", "|---|---|", *table)
    if parser.epilog:
        yield f"\n{parser.epilog}"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                subparser = action.choices[choice.dest]
                description = subparser.description or f"{choice.help[0].upper()}{choice.help[1:]}."
                yield from command_lines(subparser, f"#{heading} {choice.dest}", description)


def description_lines(description: str) -> Iterator[str]:
    """Yield a description, with its examples, which begin with a command, in a block of code."""
    paragraphs = description.strip().split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ""
        is_code = re.match(r"(find|python) ", paragraph) is not None
        yield f"```sh\n{paragraph}\n```" if is_code else paragraph


def group_lines(group) -> Iterator[str]:
    """Yield the rows of a parser's group, with its title if it is not one of argparse's own."""
    rows = [row(action) for action in group._group_actions if is_documented(action)]
    if rows and group.title not in ("options", "optional arguments", "positional arguments"):
        yield f"| **{group.title}** | |"
    yield from rows


def is_documented(action: argparse.Action) -> bool:
    """Whether an option has a row of its own; --help and --debug are in the page's introduction."""
    return not isinstance(action, argparse._SubParsersAction) and action.dest not in ("help", "debug")


def row(action: argparse.Action) -> str:
    """Return an option's row: its spellings with what they take, and its meaning."""
    value = value_of(action)
    first, *others = action.option_strings or [""]
    words = ", ".join(f"`{word}`" for word in (f"{first} {value}".strip(), *others))
    if action.required and action.option_strings:
        words += " (required)"
    text = re.sub(r"[,;] here %\(default\)s", "", action.help)  # which depends on the machine
    text %= {"default": action.default, "choices": ", ".join(map(str, action.choices or ()))}
    return f"| {escaped(words)} | {escaped(text)} |"


def escaped(text: str) -> str:
    """Return a text for a table's cell."""
    return text.replace("|", "\\|")


def value_of(action: argparse.Action) -> str:
    """Return what stands behind an option, "" behind a switch."""
    if action.nargs == 0:
        return ""
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    if isinstance(action.nargs, int):
        return " ".join([value] * action.nargs)
    return {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}.get(action.nargs, value)


if __name__ == "__main__":
    print("\n".join(reference_lines()))
