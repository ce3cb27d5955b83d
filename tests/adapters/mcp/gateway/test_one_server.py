"""One server behind the gateway, in each way it may have to be spoken to, for clients of either era."""

import asyncio
import json

import pytest

from schemas.vocabulary import CallState
from tests.adapters.mcp.gateway.conftest import Gate, asked
from tests.adapters.mcp.sdk_server import WAYS
from tests.adapters.mcp.support import BEN, said_in


@pytest.mark.parametrize("way", WAYS)
async def test_tools_are_listed_and_called_in_both_eras(gate: Gate, way: str) -> None:
    await gate.server(way)
    await gate.grant()
    modern, session = gate.modern(), await gate.session()
    for client in (modern, session):
        listed = await client.result("tools/list")
        assert [tool["name"] for tool in listed["tools"]][:2] == ["echo", "count"]
        told = await client.result("tools/call", {"name": "echo", "arguments": {"text": "hello"}})
        assert told["content"][0]["text"] == "hello"
        assert ("resultType" in told) is (client is modern)
    records = await gate.calls()
    assert [(call.tool, call.state.value, call.is_error) for call in records] == [
        ("echo", "succeeded", False)
    ] * 2
    assert records[0].arguments == {"text": "hello"}


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_asks_reaches_a_client_of_either_era(gate: Gate, way: str) -> None:
    await gate.server(way)
    await gate.grant()
    accepted = {"action": "accept", "content": {"colour": "blue"}}
    session = await gate.session(elicitation={})
    told = await asked(gate, session, "ask", {"result": accepted})
    assert told["content"][0]["text"] == "blue"
    if way == "dual":  # a tool that asks over the wire fails in the era that has results that ask
        return
    modern = gate.modern(elicitation={})
    first = await modern.result("tools/call", {"name": "ask", "arguments": {}})
    assert first["resultType"] == "input_required"
    ((key, request),) = first["inputRequests"].items()
    assert request["method"] == "elicitation/create"
    again = {"name": "ask", "arguments": {}, "requestState": first["requestState"]}
    stranger = gate.modern("ben", elicitation={})
    await gate.grant(BEN)
    refused = await stranger.error("tools/call", {**again, "inputResponses": {key: accepted}})
    assert "requestState" in refused["message"]
    other = {**again, "name": "echo", "arguments": {"text": "x"}}
    assert "requestState" in (await modern.error("tools/call", other))["message"]
    last = await modern.result("tools/call", {**again, "inputResponses": {key: accepted}})
    assert last["content"][0]["text"] == "blue"
    refused = await modern.error("tools/call", {**again, "inputResponses": {key: accepted}})
    assert "requestState" in refused["message"]


async def test_a_client_is_never_asked_for_what_it_does_not_offer(gate: Gate) -> None:
    await gate.server("legacy")
    await gate.grant()
    for client in (await gate.session(), gate.modern()):
        told = said_in(await client.post("tools/call", {"name": "ask", "arguments": {}}))
        assert told["error"]["message"] == "The client does not offer elicitation/create."


@pytest.mark.parametrize("way", WAYS)
async def test_progress_comes_under_the_clients_token(gate: Gate, way: str) -> None:
    await gate.server(way)
    await gate.grant()
    params = {"name": "count", "arguments": {"to": 2}, "_meta": {"progressToken": "mine"}}
    for client in (gate.modern(), await gate.session()):
        answer = await client.post("tools/call", params)
        told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        progress = [one["params"] for one in told if one.get("method") == "notifications/progress"]
        assert [one["progress"] for one in progress] == [1, 2]
        assert {one["progressToken"] for one in progress} == {"mine"}


@pytest.mark.parametrize("way", WAYS)
async def test_prompts_resources_and_completion_pass_through(gate: Gate, way: str) -> None:
    await gate.server(way)
    await gate.grant()
    for client in (gate.modern(), await gate.session()):
        prompts = (await client.result("prompts/list"))["prompts"]
        assert [prompt["name"] for prompt in prompts] == ["greet"]
        got = await client.result("prompts/get", {"name": "greet", "arguments": {"who": "Ann"}})
        assert got["messages"][0]["content"]["text"] == "Greet Ann"
        listed = (await client.result("resources/list"))["resources"]
        assert [resource["uri"] for resource in listed] == ["note://one"]
        read = await client.result("resources/read", {"uri": "note://one"})
        assert read["contents"][0]["text"] == "the note"
        templates = (await client.result("resources/templates/list"))["resourceTemplates"]
        assert [template["uriTemplate"] for template in templates] == ["note://{name}/text"]


async def test_cancelling_reaches_the_server(gate: Gate) -> None:
    await gate.server("legacy")
    await gate.grant()
    session = await gate.session()
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "hang", "arguments": {}}}
    calling = asyncio.ensure_future(gate.http.post("/mcp/sdk", json=body, headers=session.headers))
    await started(gate)
    await session.post("notifications/cancelled", {"requestId": 7}, id=None)
    async with asyncio.timeout(10):
        await calling
        await ended(gate)
    (record,) = await gate.calls()
    assert record.error is not None
    assert (record.state.value, record.error["reason_code"]) == ("failed", "cancelled")


async def test_a_session_survives_a_restart_of_the_gateway(gate: Gate) -> None:
    await gate.server("legacy")
    await gate.grant()
    session = await gate.session()
    await session.result("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    await gate.gateway.desk.pool.close()  # what this process kept of it
    told = await session.result("tools/call", {"name": "echo", "arguments": {"text": "b"}})
    assert told["content"][0]["text"] == "b"


async def started(gate: Gate) -> None:
    """Wait until a call is under way."""
    await _until(gate, CallState.STARTED)


async def ended(gate: Gate) -> None:
    """Wait until a call has failed."""
    await _until(gate, CallState.FAILED)


async def _until(gate: Gate, state: CallState) -> None:
    async with asyncio.timeout(10):
        while state not in [call.state for call in await gate.calls()]:  # noqa: ASYNC110 - no hint tells
            await asyncio.sleep(0.01)
