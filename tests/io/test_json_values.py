"""JSON that anyone may have written."""

import json
import math

import pytest

from utils.io.untrusted import is_number, is_share, parsed


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1} b', "\x00"])
def test_what_is_no_json_is_none(text):
    assert parsed(text) is None


def test_json_is_what_it_says():
    assert parsed('{"a": [1, 2.5, true]}') == {"a": [1, 2.5, True]}


@pytest.mark.parametrize("value", [True, None, "1", [1], math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_number(value):
    assert not is_number(value)
    assert not is_share(value)


@pytest.mark.parametrize(("value", "share"), [(0, True), (1, True), (0.5, True), (-1e-9, False), (2, False)])
def test_numbers_and_shares(value, share):
    assert is_number(json.loads(json.dumps(value)))
    assert is_share(value) is share
