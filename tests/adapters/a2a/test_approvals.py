"""Approvals over A2A: whoever may decide is asked, and answers by a message. Specification §4.1.3, §7.6."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from core.approval_queue import GetApproval, await_decision, get_approval
from core.approvals import AskApproval, ask
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed
from schemas.vocabulary import ApprovalStatus
from tests.adapters.a2a.support import Client, Executor, at_once, listen, message
from tests.adapters.a2a.test_streams import told

OPTIONS = [
    {"id": "yes", "name": "Go ahead", "kind": "allow_once"},
    {"id": "no", "name": "Never", "kind": "reject_once"},
]


async def asked(executor: Executor, ann: Client, **more: Any) -> tuple[str, Claimed, Any]:
    """A task whose executor asks for leave."""
    task = (await ann.result("SendMessage", at_once("delete it")))["task"]
    held = await executor.take()
    command = AskApproval(held.task.id, held.lease_id, "Delete 3 files?", subject={"files": 3}, **more)
    return task["id"], held, await executor.do(ask, command)


async def status_of(executor: Executor, approval: Any) -> ApprovalStatus:
    query = GetApproval(approval.id)
    found = await executor.platform.read(executor.caller, get_approval, query)
    status: ApprovalStatus = found.status
    return status


async def test_whoever_may_decide_sees_what_is_asked_and_how_to_answer(
    ann: Client, executor: Executor
) -> None:
    id, _, approval = await asked(executor, ann, options=OPTIONS)
    status = (await ann.result("GetTask", {"id": id}))["status"]
    assert status["state"] == "TASK_STATE_INPUT_REQUIRED"
    text, data = status["message"]["parts"]
    assert text == {"text": "Delete 3 files?\nAnswer with one of: yes (Go ahead), no (Never)."}
    assert data["data"]["approval"] == {
        "id": str(approval.id),
        "kind": "permission",
        "title": "Delete 3 files?",
        "subject": {"files": 3},
        "options": [{"id": "yes", "name": "Go ahead"}, {"id": "no", "name": "Never"}],
    }


@pytest.mark.parametrize(
    ("said", "options", "status"),
    [
        ("yes", OPTIONS, ApprovalStatus.APPROVED),
        (" Go ahead ", OPTIONS, ApprovalStatus.APPROVED),
        ("NO", OPTIONS, ApprovalStatus.REJECTED),
        ("approve", OPTIONS, ApprovalStatus.APPROVED),
        ("Reject", (), ApprovalStatus.REJECTED),
        ("yes please", OPTIONS, ApprovalStatus.PENDING),
        ("approved", (), ApprovalStatus.PENDING),
    ],
)
async def test_exactly_an_option_decides_and_anything_else_is_only_heard(
    ann: Client, executor: Executor, said: str, options: Any, status: ApprovalStatus
) -> None:
    id, _, approval = await asked(executor, ann, options=options)
    task = (await ann.result("SendMessage", at_once(said, taskId=id)))["task"]
    assert await status_of(executor, approval) is status
    waits = status is ApprovalStatus.PENDING
    assert task["status"]["state"] == f"TASK_STATE_{'INPUT_REQUIRED' if waits else 'WORKING'}"
    assert task["history"][-1]["parts"] == [{"text": said}]


async def test_a_blocking_answer_waits_for_the_work_that_it_allowed(ann: Client, executor: Executor) -> None:
    id, held, approval = await asked(executor, ann)
    waiting = asyncio.ensure_future(ann.result("SendMessage", message("approve", taskId=id)))
    decided = await await_decision(executor.platform, executor.caller, approval.id, 5.0)
    assert decided.status is ApprovalStatus.APPROVED
    await executor.do(complete, CompleteTask(held.task.id, output="deleted", lease_id=held.lease_id))
    assert (await waiting)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_stream_closes_with_the_request_and_opens_again_with_the_answer(
    app: ASGIApp, ann: Client, executor: Executor
) -> None:
    stream = listen(app, "SendStreamingMessage", message("delete it"))
    task = (await stream.frame())["task"]
    held = await executor.take()
    await executor.do(ask, AskApproval(held.task.id, held.lease_id, "Sure?", options=OPTIONS))
    state, text = told((await stream.rest())[-1])
    assert (state, text.splitlines()[0]) == ("INPUT_REQUIRED", "Sure?")
    stream = listen(app, "SendStreamingMessage", message("yes", taskId=task["id"]))
    assert told(await stream.frame()) == "WORKING"
    await executor.do(complete, CompleteTask(held.task.id, lease_id=held.lease_id))
    assert [told(frame) for frame in await stream.rest()] == ["COMPLETED"]


async def test_a_subscriber_hears_the_decision(app: ASGIApp, ann: Client, executor: Executor) -> None:
    id, held, _ = await asked(executor, ann)
    stream = listen(app, "SubscribeToTask", {"id": id})
    assert told(await stream.frame()) == "INPUT_REQUIRED"
    await ann.result("SendMessage", at_once("approve", taskId=id))
    assert told(await stream.frame()) == "WORKING"
    await executor.do(complete, CompleteTask(held.task.id, lease_id=held.lease_id))
    assert [told(frame) for frame in await stream.rest()] == ["COMPLETED"]


async def test_lists_find_the_task_under_the_state_that_it_shows(
    ann: Client, http: httpx.AsyncClient, executor: Executor
) -> None:
    id, _, _ = await asked(executor, ann)

    async def found(state: str) -> list[str]:
        listed = await ann.result("ListTasks", {"status": f"TASK_STATE_{state}"})
        assert listed["totalSize"] == len(listed["tasks"])
        return [task["id"] for task in listed["tasks"]]

    assert (await found("INPUT_REQUIRED"), await found("WORKING")) == ([id], [])
    await ann.result("SendMessage", at_once("approve", taskId=id))
    assert (await found("INPUT_REQUIRED"), await found("WORKING")) == ([], [id])
