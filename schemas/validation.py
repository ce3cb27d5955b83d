"""JSON Schemas that users bring: checked once, compiled once, unable to fetch, stall or outgrow the hub.

`jsonschema` by itself fetches remote references, matches `pattern` with a backtracking engine, compares
`uniqueItems` pair by pair and follows references without bound. Here references stay inside the document,
patterns run through RE2 in linear time, and one validation has a budget. `format` is an annotation.
See JSON Schema 2020-12, https://json-schema.org/draft/2020-12.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import re2  # type: ignore[import-untyped]
import referencing
from jsonschema.exceptions import SchemaError, ValidationError

from schemas.bounded_keywords import BUDGET, DEFAULT_DIALECT, SHOWN, VALIDATORS, Budget, Exhausted, regex
from schemas.strict_json import dump_json

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_SCHEMA_DEPTH: Final = 32
MAX_ISSUES: Final = 20

_CACHED: Final = 256
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
# What these hold is data, not schemas: nothing in them is followed.
_DATA: Final = frozenset({"const", "enum", "default", "examples", "example"})
_NAMED_SCHEMAS: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)


class InvalidSchema(ValueError):
    """The schema itself is not acceptable."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{message} (at {path})" if path else message)
        self.message = message
        self.path = path
        """JSON Pointer into the schema."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One way in which a value does not match."""

    path: str
    """JSON Pointer (RFC 6901) into the value; empty for the whole."""
    message: str


def check_schema(schema: Any) -> None:
    """Accept a schema for later use; `validate` with it will not raise.

    Raises:
        InvalidSchema: it is no JSON Schema, over 64 KiB, deeper than 32, names an unknown dialect, refers
            outside itself or to nothing, or holds a pattern that RE2 cannot run.
    """
    _compiled(schema)


def validate(schema: Any, value: Any) -> list[Issue]:
    """What is wrong with a value, at most 20 points; an empty list when it matches.

    Raises:
        InvalidSchema: as `check_schema`. A schema that passed it once raises no more.
    """
    validator = _compiled(schema)
    token = BUDGET.set(Budget())
    try:
        return [_issue(error) for error in islice(validator.iter_errors(value), MAX_ISSUES)]
    except Exhausted:
        return [Issue("", "the value is too large for this schema to be checked in time")]
    except RecursionError:
        return [Issue("", "the schema refers to itself without end")]
    except Exception:  # a reference into plain data can make a schema of anything
        return [Issue("", "the schema cannot be applied to this value")]
    finally:
        BUDGET.reset(token)


def _issue(error: ValidationError | SchemaError) -> Issue:
    path = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)
    message = error.message
    return Issue(path, message if len(message) <= SHOWN else message[:SHOWN] + " …")


_compiled_by_hash: OrderedDict[bytes, Any] = OrderedDict()
_cache_lock = threading.Lock()  # the writer of SQLite has a thread of its own


def _compiled(schema: Any) -> Any:
    try:
        text = dump_json(schema)
    except ValueError as error:
        raise InvalidSchema("is not JSON") from error
    if len(text) > MAX_SCHEMA_BYTES:
        raise InvalidSchema(f"is longer than {MAX_SCHEMA_BYTES} bytes")
    digest = hashlib.sha256(text).digest()
    with _cache_lock:
        validator = _compiled_by_hash.get(digest)
        if validator is not None:
            _compiled_by_hash.move_to_end(digest)
            return validator
    validator = _compile(schema)
    with _cache_lock:
        _compiled_by_hash[digest] = validator
        if len(_compiled_by_hash) > _CACHED:
            _compiled_by_hash.popitem(last=False)
    return validator


def _compile(schema: Any) -> Any:
    if not isinstance(schema, dict | bool):
        raise InvalidSchema("is neither an object nor a boolean")
    if _depth(schema) > MAX_SCHEMA_DEPTH:
        raise InvalidSchema(f"is nested deeper than {MAX_SCHEMA_DEPTH}")
    dialect = schema.get("$schema", DEFAULT_DIALECT) if isinstance(schema, dict) else DEFAULT_DIALECT
    guarded = VALIDATORS.get(dialect.rstrip("#")) if isinstance(dialect, str) else None
    if guarded is None:
        raise InvalidSchema("names a dialect other than drafts 4, 6, 7, 2019-09 and 2020-12", "/$schema")
    try:
        guarded.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise InvalidSchema(error.message[:SHOWN], _issue(error).path) from None
    names = set(_names(schema))
    if "patternProperties" in names and names & {"unevaluatedProperties", "unevaluatedItems"}:
        # That corner of jsonschema matches with the backtracking engine.
        raise InvalidSchema("combines patternProperties with unevaluated…, which is not supported")
    validator = guarded(schema, registry=referencing.Registry())
    _check_subschema(schema, "", validator)
    return validator


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth)
            if depth > MAX_SCHEMA_DEPTH:
                break
            inner = item.values() if isinstance(item, dict) else item
            waiting.extend((value, depth + 1) for value in inner)
    return deepest


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _check_subschema(schema: Any, path: str, validator: Any) -> None:
    if isinstance(schema, list):
        for index, inner in enumerate(schema):
            _check_subschema(inner, f"{path}/{index}", validator)
        return
    if not isinstance(schema, dict):
        return
    if path and isinstance(schema.get("$schema"), str):
        raise InvalidSchema("changes the dialect inside the document", path)
    if path and isinstance(schema.get("$id"), str):
        raise InvalidSchema("embeds another document by its id", path)
    for word in _REFERENCES:
        _check_reference(schema.get(word), f"{path}/{word}", validator)
    if isinstance(pattern := schema.get("pattern"), str):
        _check_pattern(pattern, f"{path}/pattern")
    for word, inner in schema.items():
        if word in _NAMED_SCHEMAS and isinstance(inner, dict):
            for name, subschema in inner.items():
                if word == "patternProperties":
                    _check_pattern(name, f"{path}/{word}")
                _check_subschema(subschema, f"{path}/{word}/{name}", validator)
        elif word not in _DATA:
            _check_subschema(inner, f"{path}/{word}", validator)


def _check_reference(reference: Any, path: str, validator: Any) -> None:
    if reference is None or isinstance(reference, dict):  # a property of that name
        return
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise InvalidSchema("refers outside the document: a reference must begin with #", path)
    try:
        found = validator._resolver.lookup(reference).contents
    except Exception:  # pointers of all kinds fail in all kinds of ways
        found = None
    if not isinstance(found, dict | bool):
        raise InvalidSchema(f"refers to {reference[:SHOWN]!r}, which does not exist", path)


def _check_pattern(pattern: str, path: str) -> None:
    try:
        regex(pattern)
    except re2.error:
        raise InvalidSchema(
            "holds a pattern that RE2 cannot run (no look-around, no back-references)", path
        ) from None
