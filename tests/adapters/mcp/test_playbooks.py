"""Exposed playbooks on the hub's own MCP server: tools, prompts, and workflows as resources."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from starlette.types import ASGIApp

from core.caller import SYSTEM
from core.exposures import ChangeExposure, Expose, Exposure, Target, change_exposure, expose
from core.keyring import Keyring
from core.platform import Platform
from core.playbooks import CreatePlaybook, create_playbook
from core.push import Seals
from core.store.tx import Tx
from core.workflows.advance import advance, due_workflows
from core.workspaces import CreateWorkspace, create_workspace
from schemas.vocabulary import ExposureKind
from tests.adapters.mcp.support import TASKS, TENANT, Executor, Modern, Session, listen

OPERATOR = SYSTEM(TENANT)
RELEASE: Mapping[str, Any] = {
    "parameters": [
        {"slug": "what", "title": "What", "required": True},
        {"slug": "how", "title": "How", "default": "well"},
    ],
    "stages": [{"name": "build", "tasks": [{"name": "code"}], "gate": {"summary": "out?"}}],
    "output": "{{ tasks.code.output }}",
}


async def _sealing(tx: Tx, ring: Keyring) -> None:
    tx.memory(Seals).install(ring)


@pytest.fixture(name="release")
async def _release(platform: Platform) -> Exposure:
    """An exposed playbook."""
    await platform.write(OPERATOR, _sealing, Keyring("k" * 32))
    place = await platform.write(OPERATOR, create_workspace, CreateWorkspace("here", "here"))
    command = CreatePlaybook("Release", "it is out", RELEASE, slug="release")
    await platform.write(OPERATOR, create_playbook, command)
    target = Target(ExposureKind.PLAYBOOK, "release", place.id)
    return await platform.write(OPERATOR, expose, Expose("out", target))


@pytest.fixture(name="able")
def _able(ann: Modern) -> Modern:
    """A client that knows MCP tasks, and can ask its user."""
    return Modern(ann.http, "ann", {**TASKS, "elicitation": {"form": {}}})


async def go_on(platform: Platform) -> None:
    """What the hub does by itself."""
    for due in await platform.read(OPERATOR, due_workflows, None):
        await platform.write(OPERATOR, advance, due)


async def tools_of(client: Modern) -> dict[str, Any]:
    return {tool["name"]: tool for tool in (await client.result("tools/list"))["tools"]}


async def test_a_playbook_is_a_tool_with_its_parameters_while_it_is_exposed(
    platform: Platform, release: Exposure, ann: Modern, session: Session
) -> None:
    tool = (await tools_of(ann))["playbook_out"]
    assert tool["title"] == "Release"
    assert (tool["inputSchema"]["required"], sorted(tool["inputSchema"]["properties"])) == (
        ["what"],
        ["how", "request_id", "what"],
    )
    for schema in (tool["inputSchema"], tool["outputSchema"]):
        jsonschema.Draft202012Validator.check_schema(schema)
    await platform.write(OPERATOR, change_exposure, ChangeExposure(release.id, is_active=False))
    assert "playbook_out" not in await tools_of(ann)
    assert (await ann.error("tools/call", {"name": "playbook_out", "arguments": {"what": "x"}}))[
        "code"
    ] == -32602
    assert (await ann.result("prompts/list"))["prompts"] == []


async def test_a_call_is_an_mcp_task_that_asks_and_ends(
    platform: Platform, release: Exposure, able: Modern, executor: Executor
) -> None:
    made = await able.call("playbook_out", what="v1")
    assert (made["resultType"], made["status"]) == ("task", "working")
    held = await executor.finish("built")
    assert held.task.workflow_id is not None
    await go_on(platform)
    told = await able.result("tasks/get", {"taskId": made["taskId"]})
    assert told["status"] == "input_required"
    ((key, _),) = told["inputRequests"].items()
    answer = {key: {"action": "accept", "content": {"decision": "approve"}}}
    await able.result("tasks/update", {"taskId": made["taskId"], "inputResponses": answer})
    told = await able.result("tasks/get", {"taskId": made["taskId"]})
    assert (told["status"], told["result"]["structuredContent"]["output"]) == ("completed", "built")


async def test_a_client_without_tasks_waits_until_it_is_asked(
    platform: Platform, release: Exposure, ann: Modern, executor: Executor
) -> None:
    call = asyncio.ensure_future(ann.told("playbook_out", what="v1"))
    await executor.finish("built")
    await go_on(platform)
    seen = await asyncio.wait_for(call, 10)
    (approval,) = seen["approvals"]
    assert approval["kind"] == "gate"
    await ann.told("answer_task", task_id=seen["id"], option_id="approve")
    assert (await ann.told("get_task", task_id=seen["id"]))["output"] == "built"


async def test_what_it_does_not_take_is_refused_in_words_and_a_repeat_runs_nothing(
    platform: Platform, release: Exposure, able: Modern
) -> None:
    refused = await able.call("playbook_out", colour="red")
    assert refused["isError"]
    assert "colour" in refused["content"][0]["text"]
    made = [await able.call("playbook_out", what="v1", request_id="k") for _ in range(2)]
    assert made[0]["taskId"] == made[1]["taskId"]
    assert (await able.told("list_tasks"))["total"] == 2  # the task, and the first of its workflow


async def test_a_prompt_tells_how_to_run_it(release: Exposure, ann: Modern, session: Session) -> None:
    (prompt,) = (await ann.result("prompts/list"))["prompts"]
    assert (prompt["name"], [a["required"] for a in prompt["arguments"]]) == ("out", [True, False])
    got = await ann.result("prompts/get", {"name": "out", "arguments": {"what": "v1"}})
    assert 'playbook_out with the arguments {"what":"v1"}' in got["messages"][0]["content"]["text"]
    for name, arguments in (("out", {}), ("out", {"what": "x", "y": "z"}), ("none", {})):
        error = await ann.error("prompts/get", {"name": name, "arguments": arguments})
        assert error["code"] == -32602


async def test_a_workflow_is_a_resource_that_tells_its_changes(
    platform: Platform, release: Exposure, able: Modern, executor: Executor, app: ASGIApp
) -> None:
    await able.call("playbook_out", what="v1")
    page = await able.result("resources/list")
    page = await able.result("resources/list", {"cursor": page["nextCursor"]})
    (resource,) = page["resources"]
    assert "nextCursor" not in page
    uri = resource["uri"]
    (content,) = (await able.result("resources/read", {"uri": uri}))["contents"]
    shown = json.loads(content["text"])
    assert (shown["state"], shown["stages"][0]["status"]) == ("active", "active")
    stream = listen(app, {"resourceSubscriptions": [uri]})
    await stream.next()
    await executor.finish("built")
    await go_on(platform)
    told = await stream.next()
    assert told is not None
    assert (told["method"], told["params"]["uri"]) == ("notifications/resources/updated", uri)
    await stream.hang_up()
    missing = uri[:-12] + "0" * 12
    assert (await able.error("resources/read", {"uri": missing}))["code"] == -32602
