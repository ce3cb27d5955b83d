"""An HTTP API as a server: its operations are tools, and a call is a request as the document wants it."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from adapters.mcp.upstream import Client, NeedsAuth, RpcError, Session, Target, TooLarge, Upstream
from adapters.mcp.upstream.openapi import BadDocument, OpenApiSession, base_url
from adapters.mcp.upstream.openapi.operations import FORM, operations_of
from adapters.outbound import Outbound
from core.egress import Allowed
from schemas.validation import check_schema

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "2"},
    "servers": [{"url": "https://{region}.pets.example/v1", "variables": {"region": {"default": "eu"}}}],
    "paths": {
        "/pets/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "get": {
                "operationId": "getPet",
                "summary": "Read a pet",
                "parameters": [
                    {"name": "fields", "in": "query", "schema": {"type": "array"}},
                    {
                        "name": "tags",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {"name": "where", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "X-Api-Key", "in": "header", "required": True, "schema": {"type": "string"}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                    {"name": "flavour", "in": "cookie", "schema": {"type": "string"}},
                ],
            },
            "delete": {"responses": {}},
        },
        "/pets": {
            "post": {
                "operationId": "add pet!",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
            },
            "put": {
                "operationId": "form",
                "requestBody": {"content": {FORM: {"schema": {"type": "object"}}}},
            },
            "patch": {
                "operationId": "upload",
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {}}}},
            },
        },
        "/away": {"get": {"operationId": "away", "parameters": [{"$ref": "https://evil.example/x"}]}},
        "/any/{what}": {"get": {"operationId": "any", "parameters": [
            {"name": "what", "in": "path", "required": True, "schema": {"type": "string"}}]}},
    },
    "components": {
        "parameters": {
            "id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        },
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "parent": {"$ref": "#/components/schemas/Pet"},
                },
            }
        },
    },
}  # fmt: skip


class Api:
    """An API that answers as a test wants it, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str], bytes]] = []
        self.answer: Any = lambda: web.json_response({"ok": True})
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take any request."""
        self.asked.append((f"{request.method} {request.raw_path}", request.headers, await request.read()))
        made: web.StreamResponse = self.answer()
        return made


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """An API on loopback."""
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/base/"
    yield api
    await runner.cleanup()


@pytest.fixture
async def session(api: Api) -> AsyncIterator[Session]:
    """A session with it, as the gateway opens one."""
    outbound = Outbound(Allowed.parse("127.0.0.1"))
    target = Target(
        uuid4(),
        api.url,
        document=DOCUMENT,
        headers={"X-Api-Key": "secret"},
        query={"tenant": "t"},
        cookies={"session": "s"},
    )
    yield await Upstream(outbound).open(target, Client({"name": "t", "version": "1"}))
    await outbound.close()


async def called(session: Session, tool: str, **arguments: Any) -> Mapping[str, Any]:
    """The result of a tool."""
    return (await session.request("tools/call", {"name": tool, "arguments": arguments})).result()


async def test_every_operation_that_can_be_called_is_a_tool(session: Session) -> None:
    listed = (await session.request("tools/list", {})).result()["tools"]
    tools = {one["name"]: one for one in listed}
    assert list(tools) == ["getPet", "delete_pets_id", "form", "add_pet", "any"]
    assert isinstance(session, OpenApiSession)
    assert [warning.partition(" was")[0] for warning in session.warnings] == ["PATCH /pets", "GET /away"]
    pet = tools["getPet"]
    assert (pet["title"], pet["annotations"]["readOnlyHint"]) == ("Read a pet", True)
    assert list(pet["inputSchema"]["properties"]) == ["id", "fields", "tags", "where", "X-Trace", "flavour"]
    assert pet["inputSchema"]["required"] == ["id"]
    assert tools["delete_pets_id"]["annotations"]["destructiveHint"] is True
    assert tools["add_pet"]["inputSchema"]["properties"]["body"] == {"$ref": "#/$defs/Pet"}
    for tool in listed:
        check_schema(tool["inputSchema"])


async def test_arguments_go_where_the_document_says_and_secrets_with_them(api: Api, session: Session) -> None:
    made = await called(
        session,
        "getPet",
        id="a/b c",
        fields=["x", "y"],
        tags=["p", "q"],
        where={"age": 3},
        flavour="plain",
        **{"X-Trace": "t1"},
    )
    assert (made["structuredContent"], made["isError"]) == ({"ok": True}, False)
    line, headers, body = api.asked[0]
    path, _, query = line.partition("?")
    assert path == "GET /base/pets/a%2Fb%20c"
    assert query.replace("%2C", ",") == "fields=x&fields=y&tags=p,q&where%5Bage%5D=3&tenant=t" or (
        query.replace("%2C", ",") == "fields=x&fields=y&tags=p,q&where[age]=3&tenant=t"
    )
    assert (headers["X-Api-Key"], headers["X-Trace"]) == ("secret", "t1")
    assert headers["Cookie"] == "session=s; flavour=plain"
    assert body == b""


async def test_bodies_are_written_in_their_media_type(api: Api, session: Session) -> None:
    await called(session, "add_pet", body={"name": "Rex"})
    await called(session, "form", body={"a": 1, "b": ["x", "y&z"]})
    (_, first, json_body), (_, second, form_body) = api.asked
    assert (first["Content-Type"], json.loads(json_body)) == ("application/json", {"name": "Rex"})
    assert second["Content-Type"] == "application/x-www-form-urlencoded"
    assert form_body == b"a=1&b=x&b=y%26z"


async def test_wrong_arguments_call_nothing(api: Api, session: Session) -> None:
    for tool, arguments in (
        ("getPet", {}),
        ("getPet", {"id": 7}),
        ("getPet", {"id": ".."}),
        ("getPet", {"id": "1", "Authorization": "mine"}),
        ("getPet", {"id": "1", "X-Trace": "a\r\nX-Admin: 1"}),
        ("add_pet", {"body": {"parent": {"name": "x"}}}),
    ):
        made = await called(session, tool, **arguments)
        assert made["isError"] is True, arguments
    with pytest.raises(RpcError, match="Unknown tool"):
        await called(session, "dropPets")
    assert api.asked == []


async def test_a_response_is_told_as_what_it_is(api: Api, session: Session) -> None:
    api.answer = lambda: web.Response(text="plain")
    assert (await called(session, "any", what="x"))["content"] == [{"type": "text", "text": "plain"}]
    api.answer = lambda: web.Response(body=b"\x89PNG", content_type="image/png")
    [image] = (await called(session, "any", what="x"))["content"]
    assert (image["type"], image["mimeType"], image["data"]) == ("image", "image/png", "iVBORw==")
    api.answer = lambda: web.Response(status=204)
    assert (await called(session, "any", what="x"))["content"][0]["text"] == "HTTP status 204"
    api.answer = lambda: web.json_response([1, 2])
    made = await called(session, "any", what="x")
    assert (made["content"][0]["text"], "structuredContent" in made) == ("[1, 2]", False)


async def test_a_refusal_of_the_api_is_an_error_that_a_model_can_read(api: Api, session: Session) -> None:
    for status in (302, 400, 403, 404, 500):
        api.answer = lambda status=status: web.Response(status=status, text="why not")
        made = await called(session, "any", what="x")
        assert made["isError"] is True
        assert made["content"][0]["text"] == f"HTTP status {status}\nwhy not"
    api.answer = lambda: web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
    with pytest.raises(NeedsAuth):
        await called(session, "any", what="x")
    api.answer = lambda: web.Response(body=b"x" * 11 * 1024 * 1024)
    with pytest.raises(TooLarge):
        await called(session, "any", what="x")


def test_what_version_3_0_says_in_its_own_words_is_said_in_those_of_json_schema() -> None:
    document = {
        "openapi": "3.0.3",
        "paths": {
            "/x": {
                "get": {
                    "parameters": [
                        {
                            "name": "n",
                            "in": "query",
                            "schema": {
                                "type": "integer",
                                "nullable": True,
                                "minimum": 1,
                                "exclusiveMinimum": True,
                                "example": 5,
                            },
                        }
                    ]
                }
            }
        },
    }
    operations, warnings = operations_of(document, set())
    schema = operations["get_x"].definition["inputSchema"]["properties"]["n"]
    assert (schema, warnings) == ({"type": ["integer", "null"], "exclusiveMinimum": 1}, [])


def test_the_base_is_the_first_server_of_the_document() -> None:
    assert base_url(DOCUMENT, None) == "https://eu.pets.example/v1"
    relative = {**DOCUMENT, "servers": [{"url": "/v2"}]}
    assert base_url(relative, "https://pets.example/docs/openapi.json") == "https://pets.example/v2"
    with pytest.raises(BadDocument):
        base_url(relative, None)
