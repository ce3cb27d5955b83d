"""What must not get through: to places the hub does not call, under names that are not the caller's own."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from starlette.applications import Starlette

from adapters.mcp import gateway_of, routes
from adapters.outbound import Outbound
from core.caller import SYSTEM
from core.store.tx import Tx
from tests.adapters.mcp.gateway.conftest import Gate
from tests.adapters.mcp.scripted_server import ScriptedServer, tool
from tests.adapters.mcp.support import ANN, BEN, META, TENANT, Session
from tests.core.gateway.servers import add_server

ONE: dict[str, Any] = {"name": "one", "arguments": {}}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    """A server that keeps what it was sent."""
    server = ScriptedServer(tools=[tool("one"), tool("two")])
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def there(gate: Gate, scripted: ScriptedServer) -> Gate:
    """That server, registered and granted."""
    await gate.register(scripted.url)
    await gate.grant()
    return gate


class Rebinding(AbstractResolver):
    """A name that was somewhere else when it was looked at."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """This machine, by now."""
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/mcp",
        "https://169.254.169.254/mcp",
        "https://[::1]/mcp",
        "https://rebound.example/mcp",
    ],
)
async def test_a_call_goes_nowhere_that_the_hub_does_not_call(
    gate: Gate, scripted: ScriptedServer, url: str
) -> None:
    outbound = Outbound(resolver=Rebinding())
    guarded = gateway_of(gate.platform, gate.gateway.desk.config, outbound)
    gate.stack.push_async_callback(outbound.close)
    app = Starlette(routes=list(routes(gate.platform, guarded.desk.config, gate.keys, guarded)))
    server_id = uuid4()

    async def add(tx: Tx, _: None) -> None:
        said = {"endpoint_url": url, "capabilities": {"tools": {}, "resources": {}}, "verified_era": "modern"}
        said |= {"verified_transport": "streamable_http", "verified_version": "2026-07-28"}
        await add_server(tx, server_id, "sdk", **said)

    await gate.platform.write(SYSTEM(TENANT), add, None)
    await gate.grant()
    gate.http._transport.app = app  # type: ignore[attr-defined]  # the same client, another gateway
    told = await gate.modern().error("resources/list")
    assert told["code"] == -31502
    assert "blocked" in told["message"]
    assert url not in json.dumps(told)


async def test_a_redirect_is_not_followed(there: Gate, scripted: ScriptedServer) -> None:
    async def redirect(request: web.Request, message: Any) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "http://169.254.169.254/latest/meta-data"})

    scripted.faults["tools/call"] = redirect
    told = await there.modern().error("tools/call", ONE)
    assert told["code"] == -31502
    assert "169.254" not in json.dumps(told)


async def test_nothing_of_the_callers_credential_or_claims_reaches_a_server(
    there: Gate, scripted: ScriptedServer
) -> None:
    spoofed = {
        META + "clientInfo": {"name": "root"},
        META + "serverInfo": {"name": "other"},
        "crossdock/principal": "root",
        "traceparent": "00-1-2-3",
    }
    answer = await there.modern().post(
        "tools/call",
        {**ONE, "_meta": spoofed},
        X_Forwarded_User="root",
        Cookie="a=b",
        Mcp_Session_Id="theirs",
    )
    assert answer.status_code == 200
    for headers, message in scripted.requests:
        sent = {name.lower(): value for name, value in headers.items()}
        assert not {"authorization", "cookie", "x-forwarded-user"} & set(sent)
        assert sent.get("mcp-session-id") != "theirs"
        assert "root" not in json.dumps(message)
    _, last = scripted.requests[-1]
    assert last["params"]["_meta"] == {"traceparent": "00-1-2-3"}


@pytest.mark.parametrize(
    ("params", "headers", "code"),
    [
        (ONE, {"Mcp_Name": "two"}, -32020),
        (ONE, {"Mcp_Name": None}, -32020),
        (ONE, {"Mcp_Method": "tools/list"}, -32020),
        (ONE, {"MCP_Protocol_Version": "2025-11-25"}, -32020),
        ({**ONE, "Name": "two"}, {}, -32602),
        ({**ONE, "ARGUMENTS": {"x": 1}}, {}, -32602),
    ],
)
async def test_what_is_judged_is_what_is_sent(
    there: Gate, scripted: ScriptedServer, params: Any, headers: Any, code: int
) -> None:
    answer = await there.modern().post("tools/call", params, **headers)
    assert answer.json()["error"]["code"] == code
    assert "tools/call" not in scripted.methods()


async def test_a_name_that_is_sent_twice_is_refused(there: Gate, scripted: ScriptedServer) -> None:
    session = await there.session()
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one","name":"two"}}'
    answer = await there.http.post("/mcp/sdk", content=body, headers=session.headers)
    assert answer.status_code == 400
    assert "tools/call" not in scripted.methods()


async def test_a_session_is_its_principals_its_servers_and_its_tasks_alone(there: Gate) -> None:
    await there.grant(BEN)
    bound = {"task_id": uuid4(), "lease_id": uuid4()}
    there.keys.callers["bound"] = replace(ANN, **bound)  # type: ignore[arg-type]  # two ids
    session = await there.session()
    for name, path in (("ben", "/mcp/sdk"), ("ann", "/mcp"), ("ann", "/mcp/crossdock")):
        stolen = Session(there.http, name, session.id, {}, path)
        answer = await stolen.post("tools/list")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32001)
        assert (await there.http.delete(path, headers=stolen.headers)).status_code == 404
    answer = await Session(there.http, "bound", session.id, {}, "/mcp/sdk").post("tools/list")
    assert "result" not in answer.json()
    assert (await session.post("tools/list")).status_code == 200


async def test_one_server_in_trouble_leaves_the_others_alone(there: Gate, scripted: ScriptedServer) -> None:
    await there.server("dual", "good")
    await there.grant(server="good")
    await scripted.stop()
    client = there.modern(path="/mcp")
    names = [found["name"] for found in (await client.result("tools/list"))["tools"]]
    assert {"sdk__one", "good__echo"} <= set(names)  # no empty list in place of an error
    told = await client.error("tools/call", {"name": "sdk__one", "arguments": {}})
    assert told["data"]["details"]["reason_code"] == "mcp_server_unreachable"
    good = await client.result("tools/call", {"name": "good__echo", "arguments": {"text": "here"}})
    assert good["content"][0]["text"] == "here"
    for _ in range(3):
        await client.error("tools/call", {"name": "sdk__one", "arguments": {}})
    told = await client.error("tools/call", {"name": "sdk__one", "arguments": {}})
    assert told["data"]["details"]["reason_code"] == "mcp_server_unreachable"
    await scripted.start()


async def test_a_server_that_says_too_much_is_cut_off(there: Gate, scripted: ScriptedServer) -> None:
    async def flood(request: web.Request, message: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(12):
            await response.write(b" " * 2**20)
        return response

    scripted.faults["tools/call"] = flood
    told = await there.modern().error("tools/call", ONE)
    assert "too large" in told["message"]


async def test_a_server_that_refuses_the_hub_is_told_apart(there: Gate, scripted: ScriptedServer) -> None:
    async def refuse(request: web.Request, message: Any) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})

    scripted.faults["tools/call"] = refuse
    told = await there.modern().error("tools/call", ONE)
    assert told["data"]["details"]["reason_code"] == "mcp_server_needs_reauth"
