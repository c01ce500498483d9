"""What the documents say is what the program does."""

import re

import pytest
from conftest import REPOSITORY

from run_scripts import argument, benchmark
from run_scripts.argument import PUBLISHED, SYNTHETIC
from run_scripts.benchmark import GOALS


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command():
    command = text_of(".ci/run").rstrip().splitlines()[-1]
    assert command in text_of("README.md").splitlines()


def test_the_options_that_all_commands_have_are_in_the_introduction():
    assert "`--debug`" in text_of("run_scripts/README.md").partition("\n## ")[0]


@pytest.mark.parametrize(("command", "name"), [(argument, "run_ALM.py"), (benchmark, "benchmark.py")])
def test_every_option_is_in_the_table(command, name):
    table = section(text_of("run_scripts/README.md"), name)
    for action in command.build_parser()._actions:
        for option in action.option_strings:
            assert f"`{option}" in table or option in ("-h", "--help", "--debug"), option


@pytest.mark.parametrize(
    ("document", "heading"), [("README.md", "What it costs"), ("README.zh-CN.md", "开销")]
)
def test_every_goal_is_in_the_readme_with_its_verdict(document, heading):
    """A measured figure that misses its goal says so, and no other does. English rows are those printed."""
    table = section(text_of(document), heading)
    rows = [line for line in table.splitlines() if re.search(r"[<>]= \d", line)]
    goals = [goal for goals in GOALS.values() for goal in goals]
    for row, goal in zip(rows, goals, strict=True):
        what, measured, wanted = row.split("|")[1:4]
        assert what.strip() == goal.what.format(few=35, many=350) or document != "README.md"
        met = goal.met(float(measured.split()[0]))
        assert wanted.strip() == (str(goal) if met else f"{goal}, {MISSED[document]}")


MISSED = {"README.md": "missed", "README.zh-CN.md": "未达到"}


def test_the_table_has_both_defaults():
    table = text_of("run_scripts/README.md")
    for name in PUBLISHED:
        row = next(line for line in table.splitlines() if line.startswith(f"| `--{name} "))
        numbers = {float(number) for number in re.findall(r"\d[\d.e-]*", row.split("|")[2])}
        for defaults in (PUBLISHED, SYNTHETIC):
            value = defaults[name]
            assert numbers.issuperset(value if isinstance(value, tuple) else [value]), (name, value)


def test_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text_of("README.md")):
        assert (REPOSITORY / target).exists(), target


def test_the_chinese_readme_follows_the_english_one():
    """The same headings' order and the same commands."""
    english, chinese = text_of("README.md"), text_of("README.zh-CN.md")
    assert commands(english) == commands(chinese)
    assert outline(english) == outline(chinese)
    assert len(outline(english)) > 10


def section(text, heading):
    """Return what stands under a heading, up to the next."""
    return re.search(rf"^## {re.escape(heading)}[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def commands(text):
    return re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)


def outline(text):
    """Return headings by level, with the commands, tables and pictures between them in order."""
    return re.findall(r"^(#+|```\w*|\|---|!\[)", text, re.MULTILINE)
