"""Headers of the modern era: values as a header can carry them, and arguments that are repeated in headers.

See https://modelcontextprotocol.io/specification/2026-07-28/basic/transports.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.mcp import wire

PARAM: Final = "Mcp-Param-"
ANNOTATION: Final = "x-mcp-header"
_SAFE: Final = re.compile(r"[\x20-\x7e]*")
_SENTINEL: Final = re.compile(r"=\?base64\?.*\?=")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PRIMITIVE: Final = frozenset({"string", "integer", "boolean"})
_MOST: Final = 10_000


def header_value(text: str) -> str:
    """The text as a header value; base64 where plain text would not survive."""
    if _SAFE.fullmatch(text) and text == text.strip() and not _SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def request_headers(method: str, params: Mapping[str, Any], version: str) -> dict[str, str]:
    """The headers that repeat what the body of a request says."""
    said = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    named = wire.NAMED_BY.get(method)
    if named is not None and type(params.get(named)) is str:
        said["Mcp-Name"] = header_value(params[named])
    return said


def param_headers(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The `Mcp-Param-…` headers of a call, as the tool's input schema asks for them."""
    said: dict[str, str] = {}
    for path, token in annotated(schema):
        value: Any = arguments
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if type(value) is bool:
            said[PARAM + token] = "true" if value else "false"
        elif type(value) in (str, int, float):
            said[PARAM + token] = header_value(str(value))
    return said


def annotated(schema: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Every annotated property: its path and its token. Only for schemas in which nothing is wrong."""
    return [
        (path, one[ANNOTATION])
        for path, one in _positions(schema)
        if path and type(one.get(ANNOTATION)) is str
    ]


def wrong_annotation(schema: Any) -> str | None:
    """What is wrong with the annotations of an input schema, if anything. Such a tool may not be offered."""
    seen: set[str] = set()
    for path, one in _positions(schema):
        if ANNOTATION not in one:
            continue
        token = one[ANNOTATION]
        if not path:
            return f"{ANNOTATION} is at a place that no plain property leads to"
        if type(token) is not str or not _TOKEN.fullmatch(token):
            return f"{ANNOTATION} of {'.'.join(path)} is no header name"
        kind = one.get("type")
        if type(kind) is not str or kind not in _PRIMITIVE:
            return f"{ANNOTATION} of {'.'.join(path)} is not on a string, integer or boolean"
        if token.lower() in seen:
            return f"{ANNOTATION} {token} is there twice"
        seen.add(token.lower())
    return None


def _positions(schema: Any) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Every schema inside a schema, with the way there by `properties` alone, else None."""
    waiting: list[tuple[tuple[str, ...] | None, Any]] = [((), schema)]
    for _ in range(_MOST):
        if not waiting:
            return
        path, one = waiting.pop()
        if isinstance(one, Mapping):
            yield path, one
            for key, value in one.items():
                if key == "properties" and isinstance(value, Mapping):
                    for name, inner in value.items():
                        waiting.append((None if path is None else (*path, name), inner))
                elif key in _OF_NAMES and isinstance(value, Mapping):
                    waiting += [(None, inner) for inner in value.values()]
                elif key in _OF_SCHEMAS:
                    waiting.append((None, value))
        elif isinstance(one, list):
            waiting += [(None, inner) for inner in one]


_OF_NAMES: Final = frozenset({"$defs", "definitions", "patternProperties", "dependentSchemas"})
_OF_SCHEMAS: Final = frozenset(
    {
        "items", "prefixItems", "additionalProperties", "unevaluatedProperties", "unevaluatedItems",
        "contains", "propertyNames", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
        "additionalItems", "contentSchema",
    }
)  # fmt: skip
