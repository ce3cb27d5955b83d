"""`jsonschema` validator classes whose every keyword ends in bounded time.

Four keywords are replaced: those that match with Python's backtracking engine, and the one that compares
items pair by pair. Everything else keeps the behaviour of `jsonschema`, under a budget of steps and seconds.
This module does not judge schemas; `schemas.validation` does.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from time import monotonic
from typing import Any, Final

import jsonschema
import re2  # type: ignore[import-untyped]
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

MAX_STEPS: Final = 100_000
"""Subschemas applied in one validation; references that multiply each other end here."""
MAX_SECONDS: Final = 1.0
SHOWN: Final = 300
"""Characters of a value that a message repeats."""


class Exhausted(Exception):
    """The budget of one validation is spent."""


class Budget:
    __slots__ = ("deadline", "steps")

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.deadline = monotonic() + MAX_SECONDS

    def spend(self) -> None:
        """Take one step.

        Raises:
            Exhausted: there is none left, or time is up.
        """
        self.steps -= 1
        if self.steps < 0 or (self.steps & 63 == 0 and monotonic() > self.deadline):
            raise Exhausted


BUDGET: ContextVar[Budget] = ContextVar("schema_budget")


@lru_cache(maxsize=1024)
def regex(pattern: str) -> Any:
    """The pattern compiled by RE2; `re2.error` when it cannot be."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


def _evolve(self: Any, **changes: Any) -> Any:
    """Every subschema passes here. Unlike the original it never leaves our class for a `$schema` inside."""
    BUDGET.get().spend()
    return type(self)(
        schema=changes.get("schema", self.schema),
        registry=self._registry,
        _resolver=changes.get("_resolver", self._resolver),
    )


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regex(pattern).search(instance):
        yield ValidationError(f"{instance[:SHOWN]!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    spend = BUDGET.get().spend
    for pattern, subschema in patterns.items():
        search = regex(pattern).search
        for name, value in instance.items():
            spend()
            if search(name):
                yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    spend = BUDGET.get().spend
    named = schema.get("properties", {})
    searches = [regex(pattern).search for pattern in schema.get("patternProperties", {})]
    refused: list[str] = []
    for name, value in instance.items():
        if name in named:
            continue
        for search in searches:
            spend()
            if search(name):
                break
        else:
            if additional is False:
                refused.append(name)
            else:
                yield from validator.descend(value, additional, path=name)
    if refused:
        listed = ", ".join(repr(name[:SHOWN]) for name in refused[:20])
        yield ValidationError(f"additional properties are not allowed: {listed}")


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not unique or not isinstance(instance, list):
        return
    seen: set[Any] = set()
    for index, item in enumerate(instance):
        key = _key(item)
        if key in seen:
            yield ValidationError(f"item {index} is a repetition")
            return
        seen.add(key)


def _key(value: Any) -> Any:
    """A hashable that is equal exactly when JSON Schema calls two values equal: 1 is 1.0 but not true."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return ("list", *map(_key, value))
    if isinstance(value, dict):
        return ("dict", frozenset((name, _key(inner)) for name, inner in value.items()))
    return value


def _guarded(base: Any) -> Any:
    keywords: dict[str, Callable[..., Iterator[ValidationError]]] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    guarded: Any = extend(base, keywords)  # type: ignore[no-untyped-call]
    guarded.evolve = _evolve
    return guarded


DEFAULT_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VALIDATORS: Final[Mapping[str, Any]] = {
    DEFAULT_DIALECT: _guarded(jsonschema.Draft202012Validator),
    "https://json-schema.org/draft/2019-09/schema": _guarded(jsonschema.Draft201909Validator),
    "http://json-schema.org/draft-07/schema": _guarded(jsonschema.Draft7Validator),
    "http://json-schema.org/draft-06/schema": _guarded(jsonschema.Draft6Validator),
    "http://json-schema.org/draft-04/schema": _guarded(jsonschema.Draft4Validator),
}
