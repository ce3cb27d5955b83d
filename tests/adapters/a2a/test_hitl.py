"""The public extension hitl/v1: what a task waits for as data, and answers as data.

The payloads are those of https://kagent.dev/extensions/hitl/v1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp

from adapters.a2a import hitl
from core.approval_queue import GetApproval, get_approval
from core.approvals import AskApproval, ask
from core.tasks.input import RequestInput, request_input
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed
from schemas.vocabulary import ApprovalStatus, InputKind
from tests.adapters.a2a.support import Client, Executor, at_once, listen, message
from tests.adapters.a2a.test_approvals import status_of

HITL = "https://kagent.dev/extensions/hitl/v1"
TRIP: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "enum": ["eu", "us"], "title": "Which region?"},
        "nodes": {"type": "integer"},
        "zones": {"type": "array", "items": {"enum": ["a", "b"]}},
        "public": {"type": "boolean"},
    },
    "required": ["region", "nodes"],
}


async def waiting(executor: Executor, ann: Client, **wanted: Any) -> tuple[str, Claimed, str]:
    """A task whose executor asks something and holds on."""
    task = (await ann.result("SendMessage", at_once("deploy")))["task"]
    held = await executor.take()
    command = RequestInput(held.task.id, held.lease_id, [{"text": "Where?"}], hold=True, **wanted)
    asked = await executor.do(request_input, command)
    return task["id"], held, str(asked.input.id)


async def leave(executor: Executor, ann: Client, **more: Any) -> tuple[str, Claimed, Any]:
    """A task whose executor asks for leave."""
    task = (await ann.result("SendMessage", at_once("deploy")))["task"]
    held = await executor.take()
    asked = AskApproval(held.task.id, held.lease_id, "Deploy to production?", **more)
    return task["id"], held, await executor.do(ask, asked)


async def payload_of(ann: Client, id: str) -> Any:
    """What the task's status message says in the words of the extension."""
    told = (await ann.result("GetTask", {"id": id}, A2A_Extensions=HITL))["status"]["message"]
    assert told["extensions"] == [HITL]
    return told["metadata"][HITL]


def answer(payload: Any, id: str, *, extensions: Sequence[str] = (HITL,)) -> dict[str, Any]:
    return at_once("as data", taskId=id, extensions=list(extensions), metadata={HITL: payload})


async def test_a_request_for_leave_is_told_to_who_activates_the_extension(
    ann: Client, executor: Executor
) -> None:
    subject = {"tool": "deploy", "call_id": "call-1", "arguments": {"env": "prod"}}
    id, _, approval = await leave(executor, ann, subject=subject)
    tool = {"id": str(approval.id), "call_id": "call-1", "name": "deploy", "args": {"env": "prod"}}
    assert await payload_of(ann, id) == {
        "type": "tool_approval_request",
        "hint": "Deploy to production?",
        "tools": [tool],
    }
    plain = (await ann.result("GetTask", {"id": id}))["status"]["message"]
    assert "extensions" not in plain
    assert HITL not in plain.get("metadata", {})


async def test_a_request_for_leave_that_names_no_tool_has_a_name_all_the_same(
    ann: Client, executor: Executor
) -> None:
    id, _, approval = await leave(executor, ann)
    (tool,) = (await payload_of(ann, id))["tools"]
    name = str(approval.id)
    assert tool == {"id": name, "call_id": name, "name": "permission", "args": {}}


@pytest.mark.parametrize(
    ("approved", "status"), [(True, ApprovalStatus.APPROVED), (False, ApprovalStatus.REJECTED)]
)
async def test_a_decision_is_understood_with_its_reason(
    ann: Client, executor: Executor, approved: bool, status: ApprovalStatus
) -> None:
    id, held, approval = await leave(executor, ann)
    verdict = {"id": str(approval.id), "approved": approved, "rejection_reason": "not on a Friday"}
    said = {"type": "tool_approval_response", "approvals": [verdict]}
    task = (await ann.result("SendMessage", answer(said, id), A2A_Extensions=HITL))["task"]
    assert await status_of(executor, approval) is status
    assert task["status"]["state"] == "TASK_STATE_WORKING"
    assert task["history"][-1]["metadata"] == {HITL: said}
    await executor.do(complete, CompleteTask(held.task.id, lease_id=held.lease_id))


async def test_a_decision_about_one_call_never_allows_it_for_always(ann: Client, executor: Executor) -> None:
    options = [
        {"id": "always", "name": "Always", "kind": "allow_always"},
        {"id": "once", "name": "Once", "kind": "allow_once"},
    ]
    id, _, approval = await leave(executor, ann, options=options)
    said = {"type": "tool_approval_response", "approvals": [{"id": str(approval.id), "approved": True}]}
    await ann.result("SendMessage", answer(said, id))
    found = await executor.platform.read(executor.caller, get_approval, GetApproval(approval.id))
    assert found.option_id == "once"


async def test_a_question_is_told_and_its_answer_reaches_the_executor(
    ann: Client, executor: Executor
) -> None:
    id, held, input_id = await waiting(executor, ann)
    assert await payload_of(ann, id) == {
        "type": "ask_user_request",
        "id": input_id,
        "questions": [{"question": "Where?", "choices": [], "multiple": False}],
    }
    said = {"type": "ask_user_response", "id": input_id, "answers": [{"answer": ["us-east-1"]}]}
    task = (await ann.result("SendMessage", answer(said, id)))["task"]
    assert task["status"]["state"] == "TASK_STATE_WORKING"
    assert task["history"][-1]["parts"] == [{"text": "us-east-1"}]
    await executor.do(complete, CompleteTask(held.task.id, lease_id=held.lease_id))


async def test_a_schema_becomes_questions_and_the_answers_what_it_describes(
    ann: Client, executor: Executor
) -> None:
    id, _, input_id = await waiting(executor, ann, schema=TRIP)
    assert (await payload_of(ann, id))["questions"] == [
        {"question": "nodes", "choices": [], "multiple": False},
        {"question": "Which region?", "choices": ["eu", "us"], "multiple": False},
        {"question": "public", "choices": [], "multiple": False},
        {"question": "zones", "choices": ["a", "b"], "multiple": True},
    ]
    words = [["3"], ["eu"], [], ["a", "b"]]
    said = {"type": "ask_user_response", "id": input_id, "answers": [{"answer": w} for w in words]}
    task = (await ann.result("SendMessage", answer(said, id)))["task"]
    assert task["history"][-1]["parts"] == [
        {"data": {"region": "eu", "nodes": 3, "zones": ["a", "b"]}, "mediaType": "application/json"}
    ]


async def test_a_stream_tells_it_too(app: ASGIApp, executor: Executor) -> None:
    stream = listen(
        app, "SendStreamingMessage", message("deploy"), headers={"a2a-extensions": f"{HITL},urn:x"}
    )
    await stream.frame()
    assert stream.headers["a2a-extensions"] == HITL
    held = await executor.take()
    await executor.do(ask, AskApproval(held.task.id, held.lease_id, "Sure?"))
    last = (await stream.rest())[-1]["statusUpdate"]["status"]["message"]
    assert last["metadata"][HITL]["type"] == "tool_approval_request"


async def test_a_message_that_does_not_list_the_extension_is_words(ann: Client, executor: Executor) -> None:
    id, _, approval = await leave(executor, ann)
    said = {"type": "tool_approval_response", "approvals": [{"id": str(approval.id), "approved": True}]}
    await ann.result("SendMessage", answer(said, id, extensions=[]))
    assert await status_of(executor, approval) is ApprovalStatus.PENDING


async def test_a_wait_for_a_credential_is_no_question_of_the_extension(
    ann: Client, executor: Executor
) -> None:
    id, _, _ = await waiting(executor, ann, kind=InputKind.AUTH)
    told = (await ann.result("GetTask", {"id": id}, A2A_Extensions=HITL))["status"]
    assert told["state"] == "TASK_STATE_AUTH_REQUIRED"
    assert "extensions" not in told["message"]


_ONE = {"id": "ID", "approved": True}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([], ""),
        ({"type": "tool_approval_request"}, ".type"),
        ({"type": "tool_approval_response"}, ".approvals"),
        ({"type": "tool_approval_response", "approvals": [{"approved": True}]}, ".approvals[0].id"),
        ({"type": "tool_approval_response", "approvals": [{"id": "ID"}]}, ".approvals[0].approved"),
        (
            {"type": "tool_approval_response", "approvals": [{**_ONE, "approved": "yes"}]},
            ".approvals[0].approved",
        ),
        (
            {"type": "tool_approval_response", "approvals": [{**_ONE, "rejection_reason": 1}]},
            ".approvals[0].rejection_reason",
        ),
        ({"type": "tool_approval_response", "approvals": [_ONE, _ONE]}, ".approvals[1].id"),
        ({"type": "ask_user_response", "answers": [{"answer": ["x"]}]}, ".id"),
        ({"type": "ask_user_response", "id": "ID", "answers": []}, ".answers"),
        ({"type": "ask_user_response", "id": "ID", "answers": ["x"]}, ".answers[0].answer"),
        ({"type": "ask_user_response", "id": "ID", "answers": [{"answer": "x"}]}, ".answers[0].answer"),
    ],
)
async def test_an_answer_that_is_none_is_refused_by_its_field(
    ann: Client, executor: Executor, payload: Any, field: str
) -> None:
    id, _, approval = await leave(executor, ann)
    before = await ann.result("GetTask", {"id": id})
    error = await ann.error("SendMessage", answer(payload, id))
    assert error["code"] == -32602
    assert error["data"][1]["fieldViolations"][0]["field"] == f"message.metadata[{HITL}]{field}"
    assert await ann.result("GetTask", {"id": id}) == before
    assert await status_of(executor, approval) is ApprovalStatus.PENDING


async def test_what_is_not_open_cannot_be_answered_and_nothing_else_is_decided(
    ann: Client, executor: Executor
) -> None:
    id, _, approval = await leave(executor, ann)
    both = [{"id": str(approval.id), "approved": True}, {"id": "other", "approved": True}]
    for payload in (
        {"type": "tool_approval_response", "approvals": both},
        {"type": "ask_user_response", "id": str(approval.id), "answers": [{"answer": ["x"]}]},
    ):
        assert (await ann.error("SendMessage", answer(payload, id)))["code"] == -32602
    assert await status_of(executor, approval) is ApprovalStatus.PENDING
    task = await ann.result("GetTask", {"id": id})
    assert len(task["history"]) == 1


async def test_every_question_wants_an_answer_that_fits(ann: Client, executor: Executor) -> None:
    id, _, input_id = await waiting(executor, ann, schema=TRIP)
    for words in ([["3"]], [["3"], ["mars"], [], []], [["three"], ["eu"], [], []]):
        said = {"type": "ask_user_response", "id": input_id, "answers": [{"answer": w} for w in words]}
        assert (await ann.error("SendMessage", answer(said, id)))["code"] == -32602
    assert (await ann.result("GetTask", {"id": id}))["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


async def test_a_new_task_answers_nothing(ann: Client) -> None:
    said = {"type": "ask_user_response", "id": "x", "answers": [{"answer": ["x"]}]}
    error = await ann.error("SendMessage", at_once(extensions=[HITL], metadata={HITL: said}))
    assert error["data"][1]["fieldViolations"][0]["field"] == "message.taskId"
    assert (await ann.result("ListTasks"))["tasks"] == []


@pytest.mark.parametrize(
    ("schema", "words", "value"),
    [
        (None, ["a", "b"], "a, b"),
        ({"type": "number"}, ["1.5"], 1.5),
        ({"type": "number"}, ["nan"], "nan"),
        ({"type": "integer"}, ["9" * 5000], "9" * 5000),
        ({"type": "boolean"}, ["No"], False),
        ({"type": "boolean"}, ["maybe"], "maybe"),
        ({"enum": [1, True, None]}, ["true"], True),
        ({"type": "array"}, ["a"], ["a"]),
        ({"type": "object", "properties": {}}, ["a"], "a"),
        ({"properties": {"a": True}}, ["x"], {"a": "x"}),
    ],
)
def test_words_become_what_the_schema_asks_for(schema: Any, words: list[str], value: Any) -> None:
    assert hitl.value_of(hitl.Answers("id", [words]), schema) == value
