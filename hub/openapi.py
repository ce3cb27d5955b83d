"""The description of the API (OpenAPI 3.1), made from the route table.

`python -m hub.openapi` writes it to `schemas/v1/openapi.json`; a test compares the two. Statuses that follow
from what a route takes (a body, a credential, a replay key) are added here, so that no route forgets them.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

import schemas.v1
from hub.api import ROUTES
from hub.api.routing import Route
from hub.version import version
from schemas.errors import MEANINGS
from schemas.v1.envelope import ErrorAnswer
from schemas.v1.fields import MAX_REQUEST_ID
from schemas.v1.health import Health

PATH: Final = Path(schemas.v1.__path__[0], "openapi.json")
_REF: Final = "#/components/schemas/{model}"
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_DESCRIPTION: Final = """\
A durable task hub. Submit tasks, claim and do them, follow what happens; whatever was acknowledged is kept.

Every answer is `{"data": …, "meta": …}`, every refusal `{"error": {"code", "message", …}, "meta": …}`.
A mutation with the header `Idempotency-Key` (or `request_id` in its body) happens once, however often it
is sent.
"""
_TAGS: Final[Mapping[str, str]] = {
    "Execution": "Doing tasks: claim, keep the lease, report.",
    "Tasks": "Asking for work, and looking after it.",
    "Content": "What is said, made and asked while a task is done.",
    "Review": "Stopping, repeating and judging.",
    "Approvals": "What somebody must allow.",
    "Agents": "Who does the work.",
    "Remote mcp oauth": "How the hub is let in by MCP servers that want OAuth.",
    "Remote mcp oauth profiles": "OAuth clients that serve several MCP servers.",
    "Events": "The log of everything that happened.",
    "Auth": "Keys and tokens.",
    "Health": "For whoever watches the hub.",
}


class _Generator(GenerateJsonSchema):
    """Titles that only repeat a field's name are left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Types:
    """Every type that the API takes or gives, described in one go, so that each has one name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {}
        for route in routes:
            for name, mode, kind in _types_of(route):
                wanted[name, mode] = TypeAdapter(kind)
        wanted["error", "serialization"] = TypeAdapter(ErrorAnswer)
        wanted["health", "serialization"] = TypeAdapter(Health)
        inputs = [(name, mode, adapter) for (name, mode), adapter in wanted.items()]
        self._found, described = TypeAdapter.json_schemas(
            inputs, ref_template=_REF, schema_generator=_Generator
        )
        self.components: dict[str, Any] = dict(sorted(described.get("$defs", {}).items()))

    def of(self, name: str, mode: JsonSchemaMode) -> dict[str, Any]:
        """The schema of one type, by reference where it has a name."""
        return dict(self._found[name, mode])

    def resolved(self, name: str) -> dict[str, Any]:
        """The schema of an input itself."""
        schema = self.of(name, "validation")
        reference = schema.get("$ref")
        return self.components[reference.rsplit("/", 1)[-1]] if reference else schema


def _types_of(route: Route) -> Iterable[tuple[str, JsonSchemaMode, Any]]:
    name = route.operation_id
    if route.body is not None:
        yield name, "validation", route.body
    if route.query is not None:
        yield f"{name}?", "validation", route.query
    if route.returns is not None:
        yield name, "serialization", route.returns
        yield f"{name}.meta", "serialization", route.meta


def document(routes: Sequence[Route] = ROUTES) -> dict[str, Any]:
    """The whole description."""
    types = _Types(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.url_path, {})[route.method.lower()] = _operation(route, types)
    paths |= _health(types)
    queries = {types.of(f"{r.operation_id}?", "validation").get("$ref", "") for r in routes if r.query}
    unused = {reference.rsplit("/", 1)[-1] for reference in queries}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Crossdock",
            "version": version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": said} for name, said in _TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {name: said for name, said in types.components.items() if name not in unused},
            "responses": _refusals(types),
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or an access token made from one.",
                }
            },
        },
    }


_HEADERS: Final[Mapping[str, Any]] = {
    "request-id": {
        "description": "Correlation id: the one that was sent, else one made by the hub.",
        "schema": {"type": "string"},
    },
    "replayed": {
        "description": "`true` when an earlier call with this replay key did it.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "claim-replayed": {
        "description": "`true` when the agent had no free place and got its own tasks again.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def _operation(route: Route, types: _Types) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "x-crossdock-scopes": [] if route.scope is None else [route.scope.value],
    }
    parameters = _parameters(route, types)
    if parameters:
        operation["parameters"] = parameters
    if route.scope is None:
        operation["security"] = []
    if route.body is not None:
        content: dict[str, Any] = {"schema": types.of(route.operation_id, "validation")}
        if route.example is not None:
            content["example"] = route.example
        required = bool(types.resolved(route.operation_id).get("required"))
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    if route.raw:
        operation["requestBody"] = {"required": True, "content": {"*/*": {"schema": {}}}}
    operation["responses"] = _responses(route, types)
    return operation


def _parameters(route: Route, types: _Types) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, is_id in route.params:
        schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
        if is_id:
            schema = {"type": "string", "format": "uuid"}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        model = types.resolved(f"{route.operation_id}?")
        found += [_query_parameter(name, said) for name, said in model["properties"].items()]
    if route.stream:
        schema = {"type": "string", "pattern": "^[0-9]{1,15}$"}
        said = "Where to go on; stronger than `after`."
        found.append({"name": "Last-Event-ID", "in": "header", "description": said, "schema": schema})
    if route.method in _UNSAFE and route.scope is not None:
        schema = {"type": "string", "minLength": 1, "maxLength": MAX_REQUEST_ID}
        said = "Replay key: the same call with the same key happens once. Same as `request_id` in the body."
        found.append({"name": "Idempotency-Key", "in": "header", "description": said, "schema": schema})
    return found


def _query_parameter(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in said.items() if key not in ("description", "anyOf")}
    choices = [choice for choice in said.get("anyOf", ()) if choice != {"type": "null"}]
    if choices:
        schema = {**choices[0], **schema}
    if schema.get("default", ...) is None:
        del schema["default"]
    parameter = {"name": name, "in": "query", "required": False, "schema": schema}
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    if "description" in said:
        parameter["description"] = said["description"]
    return parameter


def _responses(route: Route, types: _Types) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-Id": {"$ref": "#/components/headers/request-id"}}
    if route.method in _UNSAFE and route.scope is not None:
        headers["Idempotency-Replayed"] = {"$ref": "#/components/headers/replayed"}
    if route.operation_id == "tasks_claim":
        headers["X-Claim-Replayed"] = {"$ref": "#/components/headers/claim-replayed"}
    content: dict[str, Any] | None = None
    if route.stream:
        content = {"text/event-stream": {"schema": {"type": "string"}}}
    elif route.gives is not None:
        content = {route.gives: {"schema": {}}}
    elif route.returns is not None:
        data = types.of(route.operation_id, "serialization")
        meta = types.of(f"{route.operation_id}.meta", "serialization")
        envelope = {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {"data": data, "meta": meta},
        }
        content = {"application/json": {"schema": envelope}}
    told: dict[int, Any] = {}
    for status, meaning in {route.status: HTTPStatus(route.status).phrase, **route.also}.items():
        told[status] = {"description": meaning, "headers": headers}
        if content is not None and status != 204:
            told[status]["content"] = content
    for status in _refused_with(route):
        told[status] = {"$ref": f"#/components/responses/{status}"}
    return {str(status): told[status] for status in sorted(told)}


def _refused_with(route: Route) -> set[int]:
    statuses = {400, 403, 421, 429, 500, 503, *route.errors}
    if route.scope is not None:
        statuses.add(401)
        if route.method in _UNSAFE:
            statuses.add(409)  # the replay key was used for something else
    if route.body is not None:
        statuses |= {413, 415, 422}
    if route.raw:
        statuses |= {413, 415, 422}
    return statuses


def _refusals(types: _Types) -> dict[str, Any]:
    content = {"application/json": {"schema": types.of("error", "serialization")}}
    meanings: dict[int, list[str]] = {421: ["`BAD_REQUEST`: the request names another host."]}
    for code, meaning in MEANINGS.items():
        meanings.setdefault(meaning.http, []).append(f"`{code}`: {meaning.meaning}")
    return {
        str(status): {"description": "\n\n".join(said), "content": content}
        for status, said in sorted(meanings.items())
    }


def _health(types: _Types) -> dict[str, Any]:
    content = {"application/json": {"schema": types.of("health", "serialization")}}
    ok = {"description": "OK", "content": content}
    away = {"description": "It cannot serve now.", "content": content}

    def get(operation_id: str, summary: str, responses: Mapping[str, Any]) -> dict[str, Any]:
        about = {"operationId": operation_id, "tags": ["Health"], "summary": summary}
        return {"get": {**about, "security": [], "x-crossdock-scopes": [], "responses": responses}}

    return {
        "/health": get("health", "Does the hub answer?", {"200": ok}),
        "/health/live": get("health_live", "Does the process live?", {"200": ok}),
        "/health/ready": get("health_ready", "Can it serve?", {"200": ok, "503": away}),
    }


def written() -> bytes:
    """The description as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False).encode() + b"\n"


def main() -> int:
    """Write the description."""
    PATH.write_bytes(written())
    sys.stdout.write(f"{PATH.name}: {len(ROUTES)} routes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
