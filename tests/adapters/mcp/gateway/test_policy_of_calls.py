"""What a caller may call through the gateway, and calls that need leave."""

import asyncio
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from adapters.mcp.gateway.runner import Runner
from core.caller import SYSTEM
from core.gateway.records import CallRecord
from core.store.tables.mcp_registry import mcp_item
from core.store.tx import Tx
from schemas.vocabulary import CallState, GrantEffect
from tests.adapters.mcp.gateway.conftest import Gate
from tests.adapters.mcp.support import ANN, BEN, TASKS, TENANT

ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello"}}


async def waiting(gate: Gate) -> CallRecord:
    """The one call that waits for leave."""
    async with asyncio.timeout(10):
        while True:
            for call in await gate.calls():
                if call.state is CallState.AWAITING_APPROVAL:
                    return call
            await asyncio.sleep(0.01)


async def test_what_is_not_granted_does_not_exist(gate: Gate) -> None:
    await gate.server("dual")
    refused = await gate.modern().post("tools/list")
    unknown = await gate.modern(path="/mcp/nobody").post("tools/list")
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["error"] == unknown.json()["error"]
    await gate.grant(tool="echo")
    await gate.grant(tool="count", effect=GrantEffect.DENY)
    ann = gate.modern()
    assert [tool["name"] for tool in (await ann.result("tools/list"))["tools"]] == ["echo"]
    for name in ("count", "hang", "nothing"):
        told = await ann.error("tools/call", {"name": name, "arguments": {}})
        assert (told["code"], told["message"]) == (-32602, f"Unknown tool: {name}")
    assert (await gate.modern("ben").post("tools/list")).status_code == 404
    assert (await gate.modern("root").post("tools/list")).status_code == 404
    assert (await gate.modern("eve").post("tools/list")).status_code == 404


async def test_a_call_waits_for_leave_and_is_made_once(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    calling = asyncio.ensure_future(gate.modern().result("tools/call", ECHO))
    call = await waiting(gate)
    await gate.decide(call)
    told = await calling
    assert told["content"][0]["text"] == "hello"
    assert told["_meta"]["crossdock/call"] == {"id": str(call.id), "state": "succeeded"}
    (record,) = await gate.calls()
    assert (record.id, record.state) == (call.id, CallState.SUCCEEDED)


async def test_a_call_that_was_not_allowed_says_so(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    calling = asyncio.ensure_future((await gate.session()).result("tools/call", ECHO))
    await gate.decide(await waiting(gate), "reject")
    told = await calling
    assert told["isError"] is True
    assert told["_meta"]["crossdock/call"]["reason_code"] == "rejected"


async def test_whoever_left_finds_the_result_by_asking_again(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    calling = asyncio.ensure_future(gate.modern().result("tools/call", ECHO))
    call = await waiting(gate)
    calling.cancel()
    await gate.decide(call)
    told = await gate.modern().result("tools/call", ECHO)
    assert told["content"][0]["text"] == "hello"
    assert len(await gate.calls()) == 1


async def test_a_client_that_knows_tasks_gets_one(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    ann = gate.modern(**TASKS)
    made = await ann.result("tools/call", ECHO)
    assert (made["resultType"], made["status"]) == ("task", "working")
    task = {"taskId": made["taskId"]}
    assert (await ann.result("tasks/get", task))["status"] == "working"
    await gate.grant(BEN)
    assert (await gate.modern("ben", **TASKS).error("tasks/get", task))["code"] == -32602
    assert (await gate.modern().error("tasks/get", task))["code"] == -32021
    await gate.decide(await waiting(gate))
    async with asyncio.timeout(10):
        while (done := await ann.result("tasks/get", task))["status"] == "working":  # noqa: ASYNC110 - polling
            await asyncio.sleep(0.01)
    assert done["status"] == "completed"
    assert done["result"]["content"][0]["text"] == "hello"


async def test_a_definition_that_changed_meanwhile_is_not_called(gate: Gate) -> None:
    server = await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    calling = asyncio.ensure_future(gate.modern().result("tools/call", ECHO))
    call = await waiting(gate)
    await change(gate, server.id)
    await gate.decide(call)
    told = await calling
    assert told["_meta"]["crossdock/call"]["reason_code"] == "definition_changed"
    assert "Unknown tool" in (await gate.modern().error("tools/call", ECHO))["message"]
    listed = (await gate.modern().result("tools/list"))["tools"]
    assert "echo" not in [tool["name"] for tool in listed]


async def test_two_gateways_send_a_call_once(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    await gate.gateway.runner.stop()
    ann = gate.modern(**TASKS)
    await ann.result("tools/call", ECHO)
    await gate.decide(await waiting(gate))
    runners = [Runner(gate.gateway.desk) for _ in range(4)]
    await asyncio.gather(*(runner.look() for runner in runners))
    assert sum(len(runner._running) for runner in runners) <= 1
    await asyncio.gather(*(runner.settled() for runner in runners))
    (record,) = await gate.calls()
    assert record.state is CallState.SUCCEEDED


async def test_what_a_dead_hub_started_is_unknown_and_told_so(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(effect=GrantEffect.APPROVE)
    ann = gate.modern()
    calling = asyncio.ensure_future(ann.result("tools/call", {"name": "hang", "arguments": {}}))
    await gate.decide(await waiting(gate))
    async with asyncio.timeout(10):
        while (await gate.calls())[0].state is not CallState.STARTED:  # noqa: ASYNC110 - no hint tells
            await asyncio.sleep(0.01)
    calling.cancel()
    await asyncio.wait({calling}, timeout=10)  # whoever asked is gone before there is an end to tell
    await gate.gateway.runner.stop()
    (record,) = await gate.calls()
    assert record.state is CallState.UNKNOWN
    told = await ann.result("tools/call", {"name": "hang", "arguments": {}})
    assert told["_meta"]["crossdock/call"]["state"] == "unknown"


async def test_a_result_may_be_too_large(gate: Gate) -> None:
    await gate.server("dual")
    await gate.grant(max_result_bytes=50)
    told = await gate.modern().error("tools/call", {"name": "echo", "arguments": {"text": "x" * 100}})
    assert told["data"]["details"]["reason_code"] == "result_too_large"


async def test_a_tool_takes_only_so_long(gate: Gate) -> None:
    await gate.server("legacy")
    await gate.grant(timeout_seconds=1)
    told = await gate.modern().error("tools/call", {"name": "hang", "arguments": {}})
    assert told["data"]["details"]["reason_code"] == "timeout"
    (record,) = await gate.calls()
    assert record.state is CallState.FAILED


async def test_a_token_of_a_task_reaches_nothing_of_the_hub_itself(gate: Gate) -> None:
    gate.keys.callers["bound"] = replace(ANN, task_id=ANN.principal_id, lease_id=ANN.principal_id)
    answer = await gate.modern("bound", "/mcp/crossdock").post("tools/list")
    assert answer.status_code == 404


async def change(gate: Gate, server_id: Any) -> None:
    """Let a server's tool be another than the one that was approved."""

    async def quarantine(tx: Tx, _: None) -> None:
        item = mcp_item.c
        await tx.run(
            sa.update(mcp_item)
            .where(item.server_id == server_id, item.name == "echo")
            .values(state="quarantined", definition_hash="other")
        )

    await gate.platform.write(SYSTEM(TENANT), quarantine, None)
