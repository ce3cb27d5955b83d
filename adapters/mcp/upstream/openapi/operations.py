"""The operations of an OpenAPI document as tools: a name, an input schema, and where each argument goes."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.mcp.upstream.openapi.document import BadDocument, resolved
from adapters.mcp.upstream.openapi.schema import Schemas

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch")
PLACES: Final = frozenset({"path", "query", "header", "cookie"})
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
TEXT: Final = "text/plain"
BODIES: Final = (JSON, FORM, TEXT)
"""Media types of bodies that the hub can write, the best first."""
_OURS: Final = frozenset({"accept", "content-type", "authorization", "host", "cookie", "content-length"})
_MOST_TEXT: Final = 4096
_READING: Final = frozenset({"get", "head", "options"})


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of an operation, and the name under which a caller gives it."""

    given_as: str
    name: str
    place: str
    style: str
    explode: bool
    required: bool
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation."""

    tool: str
    method: str
    path: str
    arguments: tuple[Argument, ...]
    body: str | None
    """The media type of its body, where it takes one; given as `body`."""
    definition: Mapping[str, Any]
    """The tool as MCP lists it."""


def operations_of(
    document: Mapping[str, Any], filled: Collection[tuple[str, str]]
) -> tuple[dict[str, Operation], list[str]]:
    """The operations by the names of their tools, in the document's order, and what was left out, and why.

    `filled` are the parameters, by place and lower-case name, that the hub itself fills in: nobody is asked
    for them.
    """
    found: dict[str, Operation] = {}
    warnings: list[str] = []
    for path, item in document["paths"].items():
        try:
            item = resolved(document, item)
        except BadDocument as error:
            warnings.append(f"{path} was left out: {error.message}")
            continue
        if type(item) is not dict or not path.startswith("/"):
            continue
        for method in METHODS:
            if type(item.get(method)) is not dict:
                continue
            try:
                made = _operation(document, path, method, item, filled)
            except BadDocument as error:
                warnings.append(f"{method.upper()} {path} was left out: {error.message}")
                continue
            if made.tool in found:
                warnings.append(f"{method.upper()} {path} was left out: its name {made.tool} is there twice")
            else:
                found[made.tool] = made
    return found, warnings


def _operation(
    document: Mapping[str, Any],
    path: str,
    method: str,
    item: Mapping[str, Any],
    filled: Collection[tuple[str, str]],
) -> Operation:
    said: Mapping[str, Any] = item[method]
    schemas = Schemas(document)
    properties: dict[str, Any] = {}
    arguments: list[Argument] = []
    for parameter in _parameters(document, item, said):
        place, name = parameter.get("in"), parameter.get("name")
        if type(place) is not str or place not in PLACES or type(name) is not str or not name:
            raise BadDocument("a parameter has no name or no place")
        if (place, name.lower()) in filled or (place == "header" and name.lower() in _OURS):
            continue
        given_as = name if name not in properties and name != "body" else f"{place}_{name}"
        schema, as_json = _schema_of(document, parameter)
        properties[given_as] = _described(schemas.standing_alone(schema), parameter.get("description"))
        default = "form" if place in ("query", "cookie") else "simple"
        style = parameter.get("style", default)
        explode = parameter.get("explode", style == "form")
        required = place == "path" or parameter.get("required") is True
        arguments.append(Argument(given_as, name, place, str(style), explode is True, required, as_json))
    missing = set(re.findall(r"\{([^{}]+)\}", path)) - {one.name for one in arguments if one.place == "path"}
    missing -= {name for name in missing if ("path", name.lower()) in filled}
    if missing:
        raise BadDocument(f"its path needs {', '.join(sorted(missing))}, which no parameter gives")
    required_names = [one.given_as for one in arguments if one.required]
    media, body = _body(document, said)
    if media is not None:
        properties["body"] = _described(
            schemas.standing_alone(body.get("schema", {})), body.get("description")
        )
        if body.get("required") is True:
            required_names.append("body")
    accepted: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required_names:
        accepted["required"] = required_names
    if schemas.needed:
        accepted["$defs"] = schemas.needed
    name = _name(said.get("operationId"), method, path)
    definition = _tool(name, method, path, said, accepted)
    return Operation(name, method.upper(), path, tuple(arguments), media, definition)


def _parameters(
    document: Mapping[str, Any], item: Mapping[str, Any], said: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Those of the path, and those of the operation, which take precedence."""
    found: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for given in (item.get("parameters"), said.get("parameters")):
        for one in given if type(given) is list else ():
            parameter = resolved(document, one)
            if type(parameter) is dict:
                found[str(parameter.get("in")), str(parameter.get("name"))] = parameter
    return list(found.values())


def _schema_of(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> tuple[Any, bool]:
    content = parameter.get("content")
    if type(content) is dict and content:
        media, said = next(iter(content.items()))
        if media != JSON or type(said) is not dict:
            raise BadDocument("a parameter is written in a way that the hub does not know")
        return said.get("schema", {}), True
    return parameter.get("schema", {}), False


def _body(document: Mapping[str, Any], said: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The media type in which a body is sent, and what is said about it."""
    body = resolved(document, said.get("requestBody"))
    if type(body) is not dict:
        return None, {}
    content = body.get("content")
    given = content.items() if type(content) is dict else ()
    offered = {str(media).partition(";")[0].strip().lower(): value for media, value in given}
    for media in (*BODIES, *(one for one in offered if one.endswith("+json"))):
        if type(offered.get(media)) is dict:
            schema = offered[media].get("schema", {"type": "string"} if media == TEXT else {})
            return media, {**body, "schema": schema}
    if body.get("required") is True:
        raise BadDocument("it needs a body of a kind that the hub does not write")
    return None, {}


def _described(schema: Any, description: Any) -> Any:
    if type(description) is not str or not description or type(schema) is not dict or "description" in schema:
        return schema
    return {**schema, "description": description[:_MOST_TEXT]}


def _name(operation_id: Any, method: str, path: str) -> str:
    """A name that every model's API takes."""
    text = operation_id if type(operation_id) is str and operation_id else f"{method}_{path}"
    return re.sub(r"_{2,}", "_", re.sub(r"[^A-Za-z0-9_-]+", "_", text)).strip("_")[:60] or method


def _tool(
    name: str, method: str, path: str, said: Mapping[str, Any], schema: Mapping[str, Any]
) -> Mapping[str, Any]:
    summary, description = said.get("summary"), said.get("description")
    texts = [text for text in (summary, description) if type(text) is str and text.strip()]
    if said.get("deprecated") is True:
        texts.append("Deprecated.")
    texts.append(f"Calls {method.upper()} {path}.")
    tool: dict[str, Any] = {
        "name": name,
        "description": "\n\n".join(texts)[:_MOST_TEXT],
        "inputSchema": schema,
        "annotations": {
            "readOnlyHint": method in _READING,
            "destructiveHint": method not in _READING and method != "post",
            "idempotentHint": method in _READING or method in ("put", "delete"),
            "openWorldHint": True,
        },
    }
    if type(summary) is str and summary.strip():
        tool["title"] = summary.strip()[:200]
    return tool
