"""The strict JSON parser: what RFC 8259 leaves open, and what I-JSON (RFC 7493) and our stores forbid."""

import json
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.strict_json import MAX_DEPTH, MAX_INTEGER_DIGITS, MAX_NODES, InvalidJson, dump_json, parse_json

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=40,
)


@given(VALUES, st.booleans())
def test_whatever_json_can_say_comes_through_unchanged(value: Any, escaped: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(VALUES)
def test_what_is_dumped_parses_again(value: Any) -> None:
    assert parse_json(dump_json(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a": 1, "a": 2}', "repeated"),
        (b'[{"b": {"x": 1, "\\u0078": 2}}]', "repeated"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b"1e400", "too large"),
        (b"-1.5e999", "too large"),
        (b"1" * (MAX_INTEGER_DIGITS + 1), "digits"),
        (b"-" + b"1" * (MAX_INTEGER_DIGITS + 1), "digits"),
        (b"1" * 5000, "digits"),
        (b'"\\ud800"', "not valid JSON"),
        (b'"\\ud800x"', "not valid JSON"),
        (b'"\\udc00\\ud800"', "not valid JSON"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xff"', "UTF-8"),
        (b'"a\\u0000b"', "NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'"\\\\\\u0000"', "NUL"),
        (b'"\0"', "control character"),
        (b'"\n"', "control character"),
        (b"\xef\xbb\xbf1", "not valid JSON"),
        ("1".encode("utf-16"), "UTF-8"),
        (b"", "not valid JSON"),
        (b"   ", "not valid JSON"),
        (b"1 2", "not valid JSON"),
        (b"[1,]", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b"01", "not valid JSON"),
        (b'"open', "not valid JSON"),
        (b"[1] // no", "not valid JSON"),
    ],
)
def test_what_parsers_disagree_about_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(InvalidJson, match=says):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\u00000" '.replace(b"0000", b"0041"), "A0"),
        (b"9" * MAX_INTEGER_DIGITS, 10**MAX_INTEGER_DIGITS - 1),
        (b"-" + b"9" * MAX_INTEGER_DIGITS, 1 - 10**MAX_INTEGER_DIGITS),
        (b' \t\r\n{"a" : [ ] }\n', {"a": []}),
        (b'{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
    ],
)
def test_unusual_but_plain_json_is_accepted(text: bytes, value: Any) -> None:
    assert parse_json(text) == value


def test_nesting_is_accepted_up_to_the_limit_and_not_beyond() -> None:
    parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    parse_json(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH)
    with pytest.raises(InvalidJson, match="nested"):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(InvalidJson, match="nested"):
        parse_json(b"[" * 50_000)


def test_brackets_inside_strings_are_not_nesting() -> None:
    text = '[{"\\"' * 1000
    assert parse_json(json.dumps([text, text]).encode()) == [text, text]


def test_values_are_accepted_up_to_the_limit_and_not_beyond() -> None:
    assert len(parse_json(b"[" + b",".join([b"0"] * (MAX_NODES - 1)) + b"]")) == MAX_NODES - 1
    with pytest.raises(InvalidJson, match="values"):
        parse_json(b"[" + b",".join([b"0"] * MAX_NODES) + b"]")
    with pytest.raises(InvalidJson, match="values"):
        parse_json(b"[" + b",".join([b"[]"] * MAX_NODES) + b"]")


def test_commas_inside_strings_are_not_values() -> None:
    text = "," * (MAX_NODES + 1)
    assert parse_json(json.dumps([text]).encode()) == [text]


def test_a_document_longer_than_asked_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidJson, match="longer than 3 bytes"):
        parse_json(b"null", max_bytes=3)
    assert parse_json(b"null", max_bytes=4) is None


def test_a_refusal_names_where_it_happened() -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(b'{"a": }')
    assert caught.value.position == 6


@pytest.mark.parametrize(
    "text",
    [b'"\\"' * 300_000 + b"[" * 100, b"[" * 65 + b'"' + b'\\"' * 300_000, b"{" * 65 + b'"\\' * 300_000],
    ids=["quotes", "escapes", "half escapes"],
)
def test_hostile_text_is_refused_in_linear_time(text: bytes) -> None:
    def refuse() -> None:
        with pytest.raises(InvalidJson):
            parse_json(text)

    assert timeit.timeit(refuse, number=1) < 2
