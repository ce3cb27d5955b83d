"""A call of an operation: its arguments in their places, and its response as the result of a tool."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic_core import from_json

from adapters.mcp.upstream.headers import header_value
from adapters.mcp.upstream.openapi.operations import FORM, JSON, TEXT, Argument, Operation
from schemas.strict_json import dump_json

SHOWN: Final = 64 * 1024
"""Bytes of a failed response that a caller sees."""


class BadArguments(Exception):
    """The call cannot be made; the text is for whoever made the arguments."""


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it goes out: below the base URL."""

    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes | None


def written(operation: Operation, arguments: Mapping[str, Any]) -> Written:
    """A call with these arguments.

    Raises:
        BadArguments: one of them cannot be put where it has to go.
    """
    path = operation.path
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    for one in operation.arguments:
        if one.given_as not in arguments:
            if one.required:
                raise BadArguments(f"{one.given_as} is missing")
            continue
        value = arguments[one.given_as]
        if one.place == "path":
            text = _joined(one, value)
            if text in ("", ".", ".."):
                raise BadArguments(f"{one.given_as} cannot stand in a path")
            path = path.replace("{" + one.name + "}", quote(text, safe=""))
        elif one.place == "query":
            query += _query(one, value)
        elif one.place == "header":
            headers[one.name] = _field(one, _joined(one, value))
        else:
            cookies[one.name] = quote(_joined(one, value), safe="")
    body = None
    if operation.body is not None and "body" in arguments:
        headers["Content-Type"] = operation.body
        body = _body(operation.body, arguments["body"])
    return Written(path, tuple(query), headers, cookies, body)


def result_of(status: int, media: str, body: bytes, uri: str) -> dict[str, Any]:
    """The result of a tool, from a response. A status other than 2xx is an error that a model can read."""
    if not 200 <= status < 300:
        said = body[:SHOWN].decode("utf-8", "replace") if _is_text(media) else ""
        text = f"HTTP status {status}" + (f"\n{said}" if said.strip() else "")
        return _result([_text(text)], error=True)
    if not body:
        return _result([_text(f"HTTP status {status}")])
    if _is_json(media):
        try:
            value = from_json(body, allow_inf_nan=False)
        except ValueError:
            return _result([_text("the response is not the JSON that it says it is")], error=True)
        made = _result([_text(body.decode("utf-8", "replace"))])
        return {**made, "structuredContent": value} if type(value) is dict else made
    if _is_text(media):
        return _result([_text(body.decode("utf-8", "replace"))])
    blob = base64.b64encode(body).decode()
    for kind in ("image", "audio"):
        if media.startswith(kind + "/"):
            return _result([{"type": kind, "data": blob, "mimeType": media}])
    kind = media or "application/octet-stream"
    return _result([{"type": "resource", "resource": {"uri": uri, "mimeType": kind, "blob": blob}}])


def failed(text: str) -> dict[str, Any]:
    """The result of a call that could not be made."""
    return _result([_text(text)], error=True)


def _result(content: list[dict[str, Any]], *, error: bool = False) -> dict[str, Any]:
    return {"resultType": "complete", "content": content, "isError": error}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _is_json(media: str) -> bool:
    return media == JSON or media.endswith("+json")


def _is_text(media: str) -> bool:
    return media.startswith("text/") or _is_json(media) or media in ("application/xml", "application/yaml")


def _plain(one: Argument, value: Any) -> str:
    if value is None:
        return ""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (str, int, float):
        return str(value)
    raise BadArguments(f"{one.given_as} is nested more deeply than it can be written")


def _joined(one: Argument, value: Any) -> str:
    """A value in the style `simple`, or as JSON where the document says so."""
    if one.as_json:
        return dump_json(value).decode()
    if type(value) is list:
        return ",".join(_plain(one, item) for item in value)
    if type(value) is dict:
        between = "=" if one.explode else ","
        return ",".join(f"{key}{between}{_plain(one, item)}" for key, item in value.items())
    return _plain(one, value)


def _query(one: Argument, value: Any) -> list[tuple[str, str]]:
    if one.as_json:
        return [(one.name, dump_json(value).decode())]
    if type(value) is dict:
        if one.style == "deepObject":
            return [(f"{one.name}[{key}]", _plain(one, item)) for key, item in value.items()]
        if one.explode:
            return [(key, _plain(one, item)) for key, item in value.items()]
    if type(value) is list:
        if one.explode:
            return [(one.name, _plain(one, item)) for item in value]
        between = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(one.style, ",")
        return [(one.name, between.join(_plain(one, item) for item in value))]
    return [(one.name, _joined(one, value))]


def _field(one: Argument, text: str) -> str:
    if header_value(text) != text:
        raise BadArguments(f"{one.given_as} has a value that no header can carry")
    return text


def _body(media: str, value: Any) -> bytes:
    if media == TEXT:
        if type(value) is not str:
            raise BadArguments("body must be a string")
        return value.encode()
    if media == FORM:
        if type(value) is not dict:
            raise BadArguments("body must be an object")
        pairs = []
        for key, item in value.items():
            for each in item if type(item) is list else [item]:
                plain = type(each) in (str, int, float)
                pairs.append((key, str(each) if plain else dump_json(each).decode()))
        return urlencode(pairs).encode()
    return dump_json(value)
