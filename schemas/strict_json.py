"""The one JSON parser for everything that arrives from outside.

It refuses what parsers are known to disagree about (duplicate keys, NaN, lone surrogates) and what stores and
stacks choke on (NUL, deep nesting, endless numbers), so that no later layer decides on a value another layer
reads differently. See RFC 8259 §4, §6, §8 and RFC 7493 (I-JSON). It is not a validator: shapes are checked by
pydantic models and by `schemas.validation`.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

MAX_DEPTH: Final = 64
"""Nested arrays and objects."""
MAX_NODES: Final = 100_000
"""Values in one document, containers included."""
MAX_INTEGER_DIGITS: Final = 64

# An unterminated string runs to the end of the text, so each byte is looked at once whatever is sent.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
# Each match is one escape; pairs of backslashes are consumed, so `\\u0000` is not taken for a NUL.
_ESCAPED_NUL: Final = re.compile(rb"\\(?:[^u]|u(?!0000))|(\\u0000)", re.DOTALL)
_WHITESPACE: Final = b" \t\r\n"
_ALL_BUT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SHOWN: Final = 64


class InvalidJson(ValueError):
    """The bytes are not JSON as we accept it."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        """Index into the decoded text, where one is known."""


def parse_json(data: bytes, *, max_bytes: int | None = None) -> Any:
    """Parse one JSON document, strictly.

    Raises:
        InvalidJson: not UTF-8, not JSON, longer than `max_bytes`, deeper than 64, more than 100,000 values, a
            repeated key, NaN or an infinity (by name or by overflow), an integer over 64 digits, a lone
            surrogate, or a NUL character.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise InvalidJson(f"longer than {max_bytes} bytes")
    # Counting every opener and comma overestimates depth and size, and so clears almost every document in
    # well under a microsecond; only a suspicious one is looked at closely.
    opened = data.count(b"[") + data.count(b"{")
    if opened > MAX_DEPTH or opened + data.count(b",") >= MAX_NODES:
        _check_structure(data)
    try:
        value = _DECODER.decode(data.decode())
    except json.JSONDecodeError as error:
        raise InvalidJson(f"not valid JSON: {error.msg}", error.pos) from None
    except UnicodeDecodeError as error:
        raise InvalidJson("not valid UTF-8", error.start) from None
    if b"\\u" in data:
        _check_escapes(data)
    if b"\0" in data:  # outside a string the decoder has refused it, inside it is a control character
        raise InvalidJson("a NUL character is not accepted", data.index(b"\0"))
    return value


class Rendered(dict[str, Any]):
    """An object together with its JSON, for what is answered again and again. It is not changed any more."""

    __slots__ = ("json",)

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__(value)
        self.json = to_json(value)


def dump_json(value: Any) -> bytes:
    """Compact UTF-8 JSON of a value; pydantic models, UUIDs, times and enums included."""
    return value.json if type(value) is Rendered else to_json(value)


def _check_structure(data: bytes) -> None:
    """Measure depth and size without building anything, so that a hostile document costs no memory."""
    structure = _STRING.sub(b"0", data).translate(None, _WHITESPACE)
    opened = structure.count(b"[") + structure.count(b"{")
    empty = structure.count(b"[]") + structure.count(b"{}")
    if 1 + structure.count(b",") + opened - empty > MAX_NODES:
        raise InvalidJson(f"more than {MAX_NODES} values")
    depth = 0
    for byte in structure.translate(None, _ALL_BUT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidJson(f"nested deeper than {MAX_DEPTH}")
        else:
            depth -= 1


def _check_escapes(data: bytes) -> None:
    """The standard decoder lets `\\ud800` and `\\u0000` through."""
    try:
        from_json(data)
    except ValueError as error:
        raise InvalidJson(f"not valid JSON: {error}") from None
    for match in _ESCAPED_NUL.finditer(data):
        if match.group(1):
            raise InvalidJson("a NUL character is not accepted", match.start())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidJson(f"the key {key[:_SHOWN]!r} is repeated")
            seen.add(key)
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS and len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise InvalidJson(f"an integer has more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson("a number is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
