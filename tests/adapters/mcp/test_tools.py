"""The hub's tools: what they do, what they refuse, and that they allow what REST allows and no more."""

from typing import Any

import httpx
import jsonschema
import pytest

from adapters.mcp.own_server import TOOLS
from core.approvals import AskApproval, ask
from tests.adapters.mcp.support import VERSION, Executor, Modern


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_says_what_it_does_takes_and_returns(tool: Any) -> None:
    said = tool.shown(VERSION)
    assert said["description"].endswith(".")
    for schema in (said["inputSchema"], said["outputSchema"]):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
    assert set(said["annotations"]) >= {"readOnlyHint", "destructiveHint", "title"}


async def checked(client: Modern, named: str, /, **arguments: Any) -> dict[str, Any]:
    """Call a tool, and hold what it returns to its own schema."""
    said = await client.told(named, **arguments)
    tool = next(tool for tool in TOOLS if tool.name == named)
    jsonschema.validate(said, tool.output_schema)
    return said


async def test_a_whole_conversation_over_tools_alone(ann: Modern, keys: Any, executor: Executor) -> None:
    keys.callers["agent"] = executor.caller
    agent = Modern(ann.http, "agent")
    task = await checked(ann, "submit_task", title="Report", input="two lines", metadata={"a": 1})
    assert (task["state"], task["input"]) == ("ready", {"text": "two lines"})

    taken = (await checked(agent, "claim_task"))["task"]
    lease = {"task_id": taken["id"], "lease_id": taken["lease_id"]}
    assert (taken["id"], taken["state"]) == (task["id"], "in_progress")
    await checked(agent, "renew_lease", **lease)
    await checked(agent, "add_message", text="on it", **lease)
    asked = await checked(agent, "request_input", text="which two?", **lease)
    assert asked["state"] == "input_required"

    seen = await checked(ann, "get_task", task_id=task["id"])
    assert seen["questions"][0]["parts"] == [{"text": "which two?"}]
    await checked(ann, "answer_task", task_id=task["id"], text="the first")

    taken = (await checked(agent, "claim_task", wait_seconds=5))["task"]
    assert [said["role"] for said in taken["messages"]][-2:] == ["agent", "user"]
    lease = {"task_id": taken["id"], "lease_id": taken["lease_id"]}
    made = await checked(agent, "put_artifact", name="report", text="one\ntwo", **lease)
    done = await checked(agent, "complete_task", output={"lines": 2}, **lease)
    assert (done["state"], done["output"]) == ("completed", {"lines": 2})

    (listed,) = (await checked(ann, "list_artifacts", task_id=task["id"]))["artifacts"]
    assert listed["artifact_id"] == made["artifact_id"]
    whole = await checked(ann, "get_artifact", task_id=task["id"], artifact_id=made["artifact_id"])
    assert whole["parts"] == [{"text": "one\ntwo"}]
    read = await ann.result("resources/read", {"uri": made["uri"]})
    assert read["contents"] == [{"uri": made["uri"], "mimeType": "text/plain", "text": "one\ntwo"}]
    assert read["ttlMs"] == 0
    events = (await checked(ann, "read_events", after=0, task_id=task["id"]))["events"]
    assert events[0]["type"] == "task.created"
    assert (await checked(ann, "list_tasks", state="completed"))["total"] == 1


async def test_an_agent_may_make_a_part_of_the_task_that_it_holds(
    ann: Modern, keys: Any, executor: Executor
) -> None:
    keys.callers["agent"] = executor.caller
    agent = Modern(ann.http, "agent")
    task = await ann.told("submit_task", title="whole")
    await executor.take()
    part = await agent.told("submit_task", title="part", parent_id=task["id"])
    assert part["parent_id"] == task["id"]


async def test_approvals_are_listed_and_decided_by_whoever_may(
    ann: Modern, executor: Executor, keys: Any
) -> None:
    task = await ann.told("submit_task", title="risky")
    held = await executor.take()
    await executor.do(ask, AskApproval(held.task.id, held.lease_id, "Delete it?"))
    (pending,) = (await checked(ann, "list_approvals"))["approvals"]
    keys.callers["agent"] = executor.caller
    itself = await Modern(ann.http, "agent").call(
        "decide_approval", approval_id=pending["id"], action="approve"
    )
    assert itself["isError"]
    decided = await checked(ann, "decide_approval", approval_id=pending["id"], action="reject", feedback="no")
    assert (decided["status"], decided["feedback"]) == ("rejected", "no")
    again = await ann.call("decide_approval", approval_id=pending["id"], action="approve")
    assert again["isError"]
    await executor.do(ask, AskApproval(held.task.id, held.lease_id, "Keep it?"))
    await checked(ann, "answer_task", task_id=task["id"], option_id="approve")
    assert (await checked(ann, "list_approvals", status="approved"))["total"] == 1


async def test_foreign_and_missing_look_alike(ann: Modern) -> None:
    task = await ann.told("submit_task", title="mine")
    missing = await ann.call("get_task", task_id="0190f000-0000-7000-8000-00000000dead")
    for name in ("ben", "eve"):
        foreign = await Modern(ann.http, name).call("get_task", task_id=task["id"])
        assert foreign["isError"]
        assert foreign["content"] == missing["content"]
        assert (await Modern(ann.http, name).told("list_tasks"))["total"] == 0
        assert (await Modern(ann.http, name).result("resources/list"))["resources"] == []
        error = await Modern(ann.http, name).error("resources/read", {"uri": task["uri"]})
        assert (error["code"], error["data"]) == (-32602, {"uri": task["uri"]})


async def test_an_operator_sees_with_tools_what_it_sees_over_rest(ann: Modern) -> None:
    task = await ann.told("submit_task", title="hers")
    root = Modern(ann.http, "root")
    assert (await root.told("get_task", task_id=task["id"]))["title"] == "hers"


async def test_a_call_with_a_key_of_its_own_happens_once(ann: Modern) -> None:
    first = await ann.told("submit_task", title="once", request_id="r-1")
    assert (await ann.told("submit_task", title="once", request_id="r-1"))["id"] == first["id"]
    assert (await ann.call("submit_task", title="else", request_id="r-1"))["isError"]
    assert (await ann.told("list_tasks"))["total"] == 1


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("submit_task", {}),
        ("submit_task", {"title": "x", "unknown": 1}),
        ("submit_task", {"title": "x", "wait_seconds": 301}),
        ("get_task", {"task_id": "x"}),
        ("answer_task", {"task_id": "0190f000-0000-7000-8000-000000000001"}),
        ("claim_task", {}),
        ("put_artifact", {"task_id": "x"}),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(
    ann: Modern, tool: str, arguments: dict[str, Any]
) -> None:
    told = await ann.call(tool, **arguments)
    assert told["isError"]
    assert told["content"][0]["text"].startswith("VALIDATION_ERROR: ")
    assert told["_meta"]["crossdock/error"]["code"] == "VALIDATION_ERROR"


async def test_a_late_report_is_refused(ann: Modern, executor: Executor, keys: Any) -> None:
    await ann.told("submit_task", title="x")
    held = await executor.take()
    await ann.told("cancel_task", task_id=str(held.task.id), reason="enough")
    keys.callers["agent"] = executor.caller
    late = await Modern(ann.http, "agent").call(
        "complete_task", task_id=str(held.task.id), lease_id=str(held.lease_id), output=1
    )
    assert late["isError"]


async def test_an_unknown_tool_is_a_fault_of_the_protocol(ann: Modern) -> None:
    assert (await ann.error("tools/call", {"name": "no_such"}))["code"] == -32602


async def test_tasks_are_paged_as_resources(ann: Modern) -> None:
    for n in range(51):
        await ann.told("submit_task", title=f"t{n}")
    first = await ann.result("resources/list")
    rest = await ann.result("resources/list", {"cursor": first["nextCursor"]})
    assert (len(first["resources"]), len(rest["resources"]), "nextCursor" in rest) == (50, 1, False)
    assert (await ann.error("resources/list", {"cursor": "bm8="}))["code"] == -32602


async def test_clients_learn_how_to_authenticate(http: httpx.AsyncClient) -> None:
    told = (await http.get("/.well-known/oauth-protected-resource/mcp/crossdock")).json()
    assert told["resource"] == "http://hub.test/mcp/crossdock"
    assert told["bearer_methods_supported"] == ["header"]
    root = (await http.get("/.well-known/oauth-protected-resource")).json()
    assert root["resource"] == "http://hub.test/mcp"
