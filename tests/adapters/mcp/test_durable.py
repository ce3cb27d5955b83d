"""The tasks extension (SEP-2663): our durable tasks as MCP tasks, for clients that opted in."""

from typing import Any

import pytest
from starlette.types import ASGIApp

from core.approvals import AskApproval, ask
from core.tasks.input import RequestInput, request_input
from core.tasks.report import FailTask, ReportedError, fail
from tests.adapters.mcp.support import TASKS, Executor, Modern, listen


@pytest.fixture
def able(ann: Modern) -> Modern:
    """A client of Ann's that has opted in, and can ask its user."""
    return Modern(ann.http, "ann", {**TASKS, "elicitation": {"form": {}}})


async def submitted(client: Modern, **arguments: Any) -> dict[str, Any]:
    return await client.call("submit_task", title="long", wait_seconds=30, **arguments)


async def state(client: Modern, task_id: str) -> dict[str, Any]:
    return await client.result("tasks/get", {"taskId": task_id})


async def test_a_long_call_becomes_a_task_for_whoever_opted_in(able: Modern, executor: Executor) -> None:
    made = await submitted(able)
    assert (made["resultType"], made["status"], made["ttlMs"]) == ("task", "working", None)
    assert (await state(able, made["taskId"]))["status"] == "working"
    await executor.finish({"n": 1})
    told = await state(able, made["taskId"])
    assert (told["resultType"], told["status"]) == ("complete", "completed")
    assert told["result"]["structuredContent"]["output"] == {"n": 1}
    assert told["result"]["isError"] is False


async def test_a_short_call_is_answered_by_its_result(able: Modern) -> None:
    assert (await able.told("submit_task", title="short"))["state"] == "ready"


async def test_a_failure_of_the_task_is_a_result_that_is_an_error(able: Modern, executor: Executor) -> None:
    made = await submitted(able)
    held = await executor.take()
    error = ReportedError("broken", "it broke", recoverable=False)
    await executor.do(fail, FailTask(held.task.id, error, lease_id=held.lease_id))
    told = await state(able, made["taskId"])
    assert (told["status"], told["result"]["isError"]) == ("completed", True)


async def test_a_question_is_asked_of_the_user_and_its_answer_goes_back(
    able: Modern, executor: Executor
) -> None:
    made = await submitted(able)
    held = await executor.take()
    await executor.do(request_input, RequestInput(held.task.id, held.lease_id, [{"text": "Which colour?"}]))
    told = await state(able, made["taskId"])
    assert told["status"] == "input_required"
    ((key, asked),) = told["inputRequests"].items()
    assert (asked["method"], asked["params"]["message"]) == ("elicitation/create", "Which colour?")
    for response in ({"action": "cancel"}, {"action": "decline"}):
        await able.result("tasks/update", {"taskId": made["taskId"], "inputResponses": {key: response}})
    assert (await state(able, made["taskId"]))["status"] == "input_required"
    accepted = {key: {"action": "accept", "content": {"answer": "blue"}}, "unknown": {"action": "accept"}}
    ack = await able.result("tasks/update", {"taskId": made["taskId"], "inputResponses": accepted})
    assert ack["resultType"] == "complete"
    again = await able.result("tasks/update", {"taskId": made["taskId"], "inputResponses": accepted})
    assert again["resultType"] == "complete"
    assert (await state(able, made["taskId"]))["status"] == "working"
    messages = (await able.told("get_task", task_id=made["taskId"]))["messages"]
    assert messages[-1]["parts"] == [{"text": "blue"}]


async def test_a_client_that_cannot_ask_is_not_asked(able: Modern, executor: Executor) -> None:
    made = await submitted(able)
    held = await executor.take()
    await executor.do(request_input, RequestInput(held.task.id, held.lease_id, [{"text": "?"}]))
    told = await state(Modern(able.http, "ann", TASKS), made["taskId"])
    assert (told["status"], told["statusMessage"]) == ("working", "?")


async def test_an_approval_is_decided_by_the_user(able: Modern, executor: Executor) -> None:
    made = await submitted(able)
    held = await executor.take()
    approval = await executor.do(ask, AskApproval(held.task.id, held.lease_id, "Publish?"))
    told = await state(able, made["taskId"])
    assert told["inputRequests"][str(approval.id)]["params"]["message"] == "Publish?"
    answer = {str(approval.id): {"action": "accept", "content": {"decision": "approve"}}}
    await able.result("tasks/update", {"taskId": made["taskId"], "inputResponses": answer})
    assert (await able.told("list_approvals", status="approved"))["total"] == 1


async def test_cancelling_is_acknowledged_however_often(able: Modern) -> None:
    made = await submitted(able)
    for _ in range(2):
        ack = await able.result("tasks/cancel", {"taskId": made["taskId"]})
        assert set(ack) == {"resultType", "_meta"}
    assert (await state(able, made["taskId"]))["status"] == "cancelled"


async def test_a_task_is_its_submitters_alone_even_for_operators(able: Modern) -> None:
    made = await submitted(able)
    for name in ("ben", "eve", "root"):
        theirs = Modern(able.http, name, TASKS)
        for method in ("tasks/get", "tasks/cancel", "tasks/update"):
            params = {"taskId": made["taskId"], "inputResponses": {}}
            assert (await theirs.error(method, params))["code"] == -32602
    assert (await able.error("tasks/get", {"taskId": "none"}))["code"] == -32602


async def test_whoever_has_not_opted_in_is_told_how(ann: Modern) -> None:
    answer = await ann.post("tasks/get", {"taskId": "x"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": TASKS})


async def test_changes_of_a_task_are_pushed_to_whoever_listens(
    able: Modern, app: ASGIApp, executor: Executor
) -> None:
    made = await submitted(able)
    stream = listen(app, {"taskIds": [made["taskId"]]}, capabilities=TASKS)
    first = await stream.next()
    assert first is not None
    assert first["params"]["notifications"] == {"taskIds": [made["taskId"]]}
    await executor.finish("ok")
    while (told := await stream.next()) is not None:
        assert told["method"] == "notifications/tasks"
        if told["params"]["status"] == "completed":
            break
    assert told is not None
    assert told["params"]["result"]["structuredContent"]["output"] == "ok"
    await stream.hang_up()
