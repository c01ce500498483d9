"""What the documents say is what the program does."""

import re

from conftest import REPOSITORY

from run_scripts.argument import PUBLISHED, SYNTHETIC, build_parser


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command():
    command = text_of(".ci/run").rstrip().splitlines()[-1]
    assert command in text_of("README.md").splitlines()


def test_every_option_is_in_the_table():
    table = text_of("run_scripts/README.md")
    for action in build_parser()._actions:
        for option in action.option_strings:
            assert f"`{option}" in table or option in ("-h", "--help", "--batch-size"), option


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


def commands(text):
    return re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)


def outline(text):
    """Return headings by level, with the commands, tables and pictures between them in order."""
    return re.findall(r"^(#+|```\w*|\|---|!\[)", text, re.MULTILINE)
