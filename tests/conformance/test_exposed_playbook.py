"""An exposed playbook as the official clients meet it: sent to, followed, decided about, cancelled."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import acp
import grpc.aio  # type: ignore[import-untyped]
import httpx
import httpx2
import pytest
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.struct_pb2 import Value  # type: ignore[import-untyped]
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from tests.conformance.hub_process import RunningHub, running_hub
from tests.conformance.scripted_worker import ScriptedWorker
from tests.conformance.test_acp_python_client import Editor, Place
from tests.crash.run import postgres_database

PLAYBOOK: dict[str, Any] = {
    "name": "release",
    "slug": "release",
    "outcome": "it is out",
    "definition": {
        "parameters": [{"slug": "what", "title": "What", "required": True}],
        "stages": [
            {
                "name": "build",
                "tasks": [
                    {
                        "name": "code",
                        "title": "code",
                        "input": {"text": "echo {{ parameters.what }}"},
                        "deliverable": True,
                    }
                ],
                "gate": {"summary": "out with it?"},
            },
            {"name": "ship", "tasks": [{"name": "ship", "title": "ship", "input": {"text": "echo shipped"}}]},
        ],
        "output": {"said": "{{ tasks.ship.output }}"},
    },
}


@pytest.fixture(name="settings", params=["sqlite", "postgresql"])
async def _settings(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    """Which database the hub uses."""
    if request.param == "sqlite":
        yield {}
        return
    server = os.environ.get("CROSSDOCK_TEST_POSTGRES_URL")
    if server is None:
        pytest.skip("CROSSDOCK_TEST_POSTGRES_URL names no database")
    async with postgres_database(server) as url:
        yield {"CROSSDOCK_DATABASE_URL": url}


@pytest.fixture(name="playing")
def _playing(tmp_path: Path, settings: dict[str, str]) -> Iterator[RunningHub]:
    """A hub with a worker and an exposed playbook."""
    with running_hub(tmp_path, **settings) as hub, ScriptedWorker(hub) as worker:
        place = hub.post("/workspaces", {"name": "here", "slug": "here"})
        hub.post("/playbooks", PLAYBOOK)
        target = {"kind": "playbook", "name": "release", "workspace_id": place["id"]}
        hub.post("/exposures", {"slug": "release", "target": target})
        yield hub
        assert not worker.faults, worker.faults


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """What the client sends with."""
    async with httpx.AsyncClient(timeout=30) as http:
        yield http


async def _client(hub: RunningHub, http: httpx.AsyncClient, binding: str) -> tuple[Client, list[Any]]:
    channels: list[Any] = []

    def channel(address: str) -> Any:
        channels.append(grpc.aio.insecure_channel(address))
        return channels[-1]

    card = await A2ACardResolver(http, f"{hub.url}/agents/release").get_agent_card()
    config = ClientConfig(
        streaming=True,
        httpx_client=http,
        grpc_channel_factory=channel,
        supported_protocol_bindings=[binding],
    )
    return ClientFactory(config).create(card), channels


def _said(text: str = "", *, task_id: str = "", data: Any = None) -> pb.SendMessageRequest:
    part = pb.Part(text=text)
    if data is not None:
        value = Value()
        value.struct_value.update(data)
        part = pb.Part(data=value)
    message = pb.Message(message_id=uuid4().hex, role=pb.ROLE_USER, parts=[part], task_id=task_id)
    return pb.SendMessageRequest(message=message)


async def test_a_playbook_is_an_agent_whose_task_follows_its_workflow(
    playing: RunningHub, http: httpx.AsyncClient
) -> None:
    key = playing.key_for("ann")
    context = ClientCallContext(service_parameters={"Authorization": f"Bearer {key}"})
    for binding in ("JSONRPC", "GRPC"):
        client, channels = await _client(playing, http, binding)
        asked = [f async for f in client.send_message(_said(data={"what": "v1"}), context=context)]
        task_id = asked[0].task.id
        status = asked[-1].status_update.status
        assert status.state == pb.TaskState.TASK_STATE_INPUT_REQUIRED
        assert "build" in status.message.parts[0].text
        told = [f async for f in client.send_message(_said("approve", task_id=task_id), context=context)]
        assert told[-1].status_update.status.state == pb.TaskState.TASK_STATE_COMPLETED
        task = await client.get_task(pb.GetTaskRequest(id=task_id), context=context)
        artifacts = {a.artifact_id: MessageToDict(a.parts[0]) for a in task.artifacts}
        assert artifacts == {"code.0": {"text": "v1"}, "output": {"data": {"said": "shipped"}}}
        assert any("stages completed" in part.text for m in task.history for part in m.parts)
        for one in channels:
            await one.close()


async def test_cancelling_the_task_cancels_the_workflow_and_a_missing_parameter_is_told(
    playing: RunningHub, http: httpx.AsyncClient
) -> None:
    context = ClientCallContext(service_parameters={"Authorization": f"Bearer {playing.key_for('ann')}"})
    client, _ = await _client(playing, http, "JSONRPC")
    with pytest.raises(Exception, match="colour"):
        [f async for f in client.send_message(_said(data={"colour": "red"}), context=context)]
    asked = [f async for f in client.send_message(_said("what=v2"), context=context)]
    task_id = asked[0].task.id
    cancelled = await client.cancel_task(pb.CancelTaskRequest(id=task_id), context=context)
    assert cancelled.status.state == pb.TaskState.TASK_STATE_CANCELED
    (workflow,) = playing.get("/workflows")
    follow = f"/workflows/{workflow['id']}"
    for _ in range(100):
        if playing.get(follow)["state"] == "cancelled":
            break
        playing.post("/tasks/claim", {"agent_id": playing.get("/agents")[0]["id"], "wait_seconds": 1})
    assert playing.get(follow)["state"] == "cancelled"


async def test_nobody_else_sees_the_task(playing: RunningHub, http: httpx.AsyncClient) -> None:
    context, other = (
        ClientCallContext(service_parameters={"Authorization": f"Bearer {playing.key_for(who)}"})
        for who in ("ann", "bob")
    )
    client, _ = await _client(playing, http, "JSONRPC")
    asked = [f async for f in client.send_message(_said("v3"), context=context)]
    task_id = asked[0].task.id
    with pytest.raises(Exception, match="o such task"):
        await client.get_task(pb.GetTaskRequest(id=task_id), context=other)
    with pytest.raises(Exception, match="o such task"):
        [f async for f in client.send_message(_said("approve", task_id=task_id), context=other)]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_playbook_is_a_tool_and_a_prompt_and_its_workflow_a_resource(
    playing: RunningHub, mode: str
) -> None:
    headers = {"Authorization": f"Bearer {playing.key_for('ann')}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{playing.url}/mcp/crossdock", http_client=http)
        async with McpClient(transport, mode=mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["playbook_release"].input_schema["required"] == ["what"]
            asked = await client.call_tool("playbook_release", {"what": "v1"})
            assert asked.structured_content is not None, asked
            task_id = asked.structured_content["id"]
            assert [a["kind"] for a in asked.structured_content["approvals"]] == ["gate"]
            await client.call_tool("answer_task", {"task_id": task_id, "option_id": "approve"})
            ended = await client.call_tool("get_task", {"task_id": task_id, "wait_seconds": 30})
            assert ended.structured_content is not None
            assert ended.structured_content["output"] == {"said": "shipped"}
            got = await client.get_prompt("release", {"what": "v1"})
            assert "playbook_release" in got.messages[0].content.text  # type: ignore[union-attr]
            (workflow,) = playing.get("/workflows")
            read = await client.read_resource(f"crossdock://workflows/{workflow['id']}")
            assert '"completed"' in read.contents[0].text  # type: ignore[union-attr]


async def test_a_playbook_is_a_command_of_a_session(playing: RunningHub) -> None:
    editor = Editor(lambda options: "approve")
    place = Place(playing, "websocket", playing.key_for("ann"))
    async with place.connect(editor) as connection, asyncio.timeout(30):
        session = await connection.new_session(cwd="/work", mcp_servers=[])
        await editor.until(lambda e: any(u.session_update == "available_commands_update" for u in e.updates))
        (told,) = [u for u in editor.updates if u.session_update == "available_commands_update"]
        assert [(c.name, c.input.root.hint) for c in told.available_commands] == [("release", "what")]
        ended = await connection.prompt(session.session_id, [acp.text_block("/release v1")])
        assert ended.stop_reason == "end_turn"
        plans = [u.entries for u in editor.updates if u.session_update == "plan"]
        assert [entry.status for entry in plans[0]] == ["in_progress", "pending"]
        assert [entry.status for entry in plans[-1]] == ["completed", "completed"]
        (asked,) = editor.asked
        assert "build" in asked.title
        assert "v1" in editor.said
        assert "shipped" in editor.said
        with pytest.raises(Exception, match="what"):
            await connection.prompt(session.session_id, [acp.text_block("/release")])
