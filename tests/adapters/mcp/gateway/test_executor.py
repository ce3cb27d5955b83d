"""A tool as an executor: the hub does its tasks, by a call each."""

import asyncio
from typing import Any
from uuid import UUID

from core.agents import RegisterAgent, register
from core.caller import SYSTEM
from core.gateway import grants
from core.gateway.grants import CreateGrant, Subject
from core.tasks.read import GetTask, get_task
from core.tasks.submit import SubmitTask, submit
from core.tasks.task import Task
from core.transitions import FINAL
from schemas.vocabulary import AgentProtocol, CallState, GrantEffect, GrantSubject, TaskState
from tests.adapters.mcp.gateway.conftest import Gate
from tests.adapters.mcp.support import ANN, TENANT


async def agent_of(gate: Gate, tool: str, effect: GrantEffect | None = GrantEffect.ALLOW) -> UUID:
    """An agent that is a tool, and a grant for it."""
    told = {"mcp_tool": {"server": "sdk", "tool": tool}}
    wish = RegisterAgent(tool, AgentProtocol.MCP, routing_tags=[tool], metadata=told)
    agent = await gate.platform.write(SYSTEM(TENANT), register, wish)
    if effect is not None:
        command = CreateGrant(Subject(GrantSubject.AGENT, id=agent.id), "sdk", tool, effect)
        await gate.platform.write(SYSTEM(TENANT), grants.create_grant, command)
    return agent.id


async def submitted(gate: Gate, tool: str, **input: Any) -> Task:
    """A task for it."""
    return await gate.platform.write(ANN, submit, SubmitTask("do it", required_tags=[tool], input=input))


async def final(gate: Gate, task: Task) -> Task:
    """The task once it has ended."""
    async with asyncio.timeout(30):
        while True:
            found = await gate.platform.read(ANN, get_task, GetTask(task.id))
            if found.state in FINAL:
                return found
            await asyncio.sleep(0.05)


async def test_a_task_is_done_by_a_call(gate: Gate) -> None:
    await gate.server("dual")
    agent_id = await agent_of(gate, "echo")
    for given in ({"text": "hello"}, {"arguments": {"text": "hello"}}):
        done = await final(gate, await submitted(gate, "echo", **given))
        assert (done.state, done.agent_id) == (TaskState.COMPLETED, agent_id)
        assert done.output in ("hello", {"result": "hello"})
    records = await gate.calls()
    assert [call.principal_id for call in records] == [agent_id, agent_id]


async def test_a_call_waits_for_leave_while_its_task_is_under_way(gate: Gate) -> None:
    await gate.server("legacy")
    await agent_of(gate, "echo", GrantEffect.APPROVE)
    task = await submitted(gate, "echo", text="hello")
    async with asyncio.timeout(30):
        while not (found := await gate.calls()):  # noqa: ASYNC110 - no hint tells
            await asyncio.sleep(0.02)
    assert found[0].state is CallState.AWAITING_APPROVAL
    await gate.decide(found[0])
    assert (await final(gate, task)).state is TaskState.COMPLETED


async def test_what_is_not_granted_is_not_called(gate: Gate) -> None:
    await gate.server("dual")
    await agent_of(gate, "echo", None)
    done = await final(gate, await submitted(gate, "echo", text="hello"))
    assert done.state is TaskState.FAILED
    assert done.error is not None
    assert done.error["category"] == "not_granted"
    assert await gate.calls() == []


async def test_a_tool_that_fails_fails_its_task(gate: Gate) -> None:
    await gate.server("dual")
    await agent_of(gate, "echo")
    done = await final(gate, await submitted(gate, "echo", wrong=1))
    assert done.state is TaskState.FAILED
    assert done.error is not None
    assert done.error["category"] == "tool_failed"
