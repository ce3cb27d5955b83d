"""Sends, reads and lists, over each binding. Specification §3.1.1, §3.1.3, §3.1.4, §3.2, §3.4."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conformance.a2a.conftest import Speaker
from tests.conformance.a2a.wires import at_once, message

requirement = pytest.mark.requirement
DONE, WORKING = "TASK_STATE_COMPLETED", "TASK_STATE_WORKING"


@requirement("3.1.1-either", "3.2.2-waits", "3.2.2-whole", "3.4.1-new", "3.4.2-unique", "3.7-artifacts")
async def test_a_send_waits_for_the_task_and_brings_its_artifacts(ann: Speaker) -> None:
    first, second = [await ann.ask("SendMessage", message("echo forty-two")) for _ in range(2)]
    assert list(first) == list(second) == ["task"]
    task = first["task"]
    assert task["status"]["state"] == DONE
    assert task["artifacts"][0]["parts"] == [{"text": "forty-two"}]
    assert "message" not in task["status"], "the result is an artifact"
    assert task["id"] != second["task"]["id"]
    assert task["contextId"] != second["task"]["contextId"]


@requirement("3.1.1-message", "3.1.1-either")
async def test_an_executor_may_answer_with_a_message(ann: Speaker) -> None:
    told = await ann.ask("SendMessage", message("final forty-two"))
    assert list(told) == ["message"]
    assert (told["message"]["role"], told["message"]["parts"]) == ("ROLE_AGENT", [{"text": "forty-two"}])
    assert told["message"]["contextId"]


@requirement("3.1.1-media-type", "5.4-content-type", "13.4-media-types", "3.1.2-refusals")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_media_type_that_is_not_taken_is_refused(ann: Speaker, operation: str) -> None:
    part = {"raw": "iVBORw0KGgo=", "mediaType": "image/png"}
    refusal = await ann.refused(operation, message(parts=[part]))
    assert refusal.code == {"JSONRPC": -32005, "HTTP+JSON": 400, "GRPC": "INVALID_ARGUMENT"}[ann.binding]
    assert (refusal.reason, refusal.info["domain"]) == ("CONTENT_TYPE_NOT_SUPPORTED", "a2a-protocol.org")


@requirement("3.1.1-terminal", "3.1.2-refusals", "5.4-unsupported-operation")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_task_that_is_over_takes_no_message(ann: Speaker, operation: str) -> None:
    done = await ann.send(message())
    refusal = await ann.refused(operation, message(taskId=done["id"]))
    assert refusal.code == {"JSONRPC": -32004, "HTTP+JSON": 400, "GRPC": "FAILED_PRECONDITION"}[ann.binding]
    assert refusal.reason == "UNSUPPORTED_OPERATION"
    assert await ann.get(done["id"]) == done


@requirement("3.1.1-unknown", "3.1.2-refusals", "3.4.2-existing")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
@pytest.mark.parametrize("id", ["0190f000-0000-7000-8000-0000000000aa", "my-own-id"])
async def test_a_task_id_names_a_task_that_exists(ann: Speaker, operation: str, id: str) -> None:
    context = uuid4().hex
    refusal = await ann.refused(operation, message(taskId=id, contextId=context))
    assert refusal.reason == "TASK_NOT_FOUND"
    assert (await ann.ask("ListTasks", {"contextId": context})).get("tasks", []) == []


@requirement("3.2.2-at-once")
async def test_a_send_may_answer_at_once(ann: Speaker) -> None:
    task = await ann.send(at_once("wait"))
    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", WORKING)
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement("3.2.2-interrupted", "3.4.3-continues", "3.4.3-inferred")
@pytest.mark.parametrize(
    ("script", "state"),
    [("hold Which?", "TASK_STATE_INPUT_REQUIRED"), ("auth Who?", "TASK_STATE_AUTH_REQUIRED")],
)
async def test_an_interruption_ends_the_wait_and_an_answer_goes_on(
    ann: Speaker, script: str, state: str
) -> None:
    asked = await ann.send(message(script))
    assert asked["status"]["state"] == state
    done = await ann.send(message("blue", taskId=asked["id"]))
    assert (done["id"], done["contextId"]) == (asked["id"], asked["contextId"])
    assert (done["status"]["state"], done["artifacts"][0]["parts"]) == (DONE, [{"text": "you said blue"}])


@requirement("3.4.1-kept", "3.4.1-grouped", "3.1.4-filters")
async def test_a_context_of_the_clients_own_is_kept_and_groups_its_tasks(ann: Speaker) -> None:
    context = f"mine-{uuid4().hex}"
    sent = [await ann.send(message(contextId=context)) for _ in range(2)]
    assert {task["contextId"] for task in sent} == {context}
    listed = await ann.ask("ListTasks", {"contextId": context})
    assert [task["id"] for task in listed["tasks"]] == [task["id"] for task in reversed(sent)]


@requirement("3.4.3-mismatch")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_context_that_is_not_the_tasks_is_refused(ann: Speaker, operation: str) -> None:
    task = await ann.send(message("hold Which?"))
    refusal = await ann.refused(operation, message("blue", taskId=task["id"], contextId="another"))
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", ["message.contextId"])
    assert await ann.get(task["id"]) == task
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement("3.4.3-references", "4.6.2-messages")
async def test_what_a_message_refers_to_and_extends_is_kept(ann: Speaker) -> None:
    about: dict[str, Any] = {
        "referenceTaskIds": [str(uuid4())],
        "extensions": ["https://example.com/geo/v1"],
        "metadata": {"https://example.com/geo/v1": {"latitude": 1.5}},
    }
    task = await ann.send(message(**about))
    kept = task["history"][0]
    assert {name: kept[name] for name in about} == about


@requirement("3.1.3-state", "3.3.1-reading")
async def test_a_task_is_read_whole_and_reading_changes_nothing(ann: Speaker) -> None:
    task = await ann.send(message())
    assert await ann.get(task["id"]) == await ann.get(task["id"]) == task


@requirement("3.1.3-unknown", "5.4-task-not-found")
async def test_a_task_that_does_not_exist_is_not_found(ann: Speaker) -> None:
    refusal = await ann.refused("GetTask", {"id": str(uuid4())})
    assert refusal.code == {"JSONRPC": -32001, "HTTP+JSON": 404, "GRPC": "NOT_FOUND"}[ann.binding]
    assert (refusal.reason, refusal.info["domain"]) == ("TASK_NOT_FOUND", "a2a-protocol.org")


@requirement("3.2.4-zero", "3.2.4-most", "3.2.4-unset")
async def test_a_length_of_history_counts_wherever_it_is_said(ann: Speaker) -> None:
    asked = await ann.send(message("hold Which?"))
    whole = await ann.send(message("blue", taskId=asked["id"]))
    assert len(whole["history"]) == 3
    context = whole["contextId"]
    for length, texts in (
        (0, None),
        (1, ["blue"]),
        (2, ["Which?", "blue"]),
        (9, ["hold Which?", "Which?", "blue"]),
    ):
        got = await ann.get(whole["id"], historyLength=length)
        (listed,) = (await ann.ask("ListTasks", {"contextId": context, "historyLength": length}))["tasks"]
        for task in (got, listed):
            assert ("history" in task) is (length > 0)
            assert texts is None or [m["parts"][0]["text"] for m in task["history"]] == texts
    sent = await ann.send(message(configuration={"historyLength": 0}))
    assert "history" not in sent


@requirement("3.1.4-no-artifacts", "3.1.4-artifacts")
async def test_a_list_shows_artifacts_only_when_asked(ann: Speaker) -> None:
    task = await ann.send(message())
    query = {"contextId": task["contextId"]}
    (plain,) = (await ann.ask("ListTasks", query))["tasks"]
    assert "artifacts" not in plain
    (whole,) = (await ann.ask("ListTasks", {**query, "includeArtifacts": True}))["tasks"]
    assert whole["artifacts"] == task["artifacts"]


@requirement("3.1.4-token", "3.1.4-cursor", "3.1.4-order", "3.1.4-totals", "3.1.4-size")
async def test_pages_hold_each_task_once_the_newest_first(ann: Speaker) -> None:
    context = uuid4().hex
    sent = [(await ann.send(message(contextId=context)))["id"] for _ in range(5)]
    seen: list[str] = []
    token = ""
    for n in range(5):
        page = await ann.ask("ListTasks", {"contextId": context, "pageSize": 2, "pageToken": token})
        assert (page["pageSize"], page["totalSize"]) == (2, 5 + n)
        times = [task["status"]["timestamp"] for task in page["tasks"]]
        assert times == sorted(times, reverse=True)
        seen += [task["id"] for task in page["tasks"]]
        token = page.get("nextPageToken", "") if ann.binding == "GRPC" else page["nextPageToken"]
        if not token:
            break
        await ann.send(message(contextId=context))  # a newer one moves nothing into the pages to come
    assert seen == list(reversed(sent))
    assert (await ann.ask("ListTasks", {"contextId": context}))["pageSize"] == 50


@requirement("3.1.4-size", "3.3.2-validated", "3.3.2-which")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"pageSize": 101}, "pageSize"),
        ({"pageSize": -1}, "pageSize"),
        ({"pageToken": "nonsense"}, "pageToken"),
        ({"historyLength": -1}, "historyLength"),
    ],
)
async def test_a_list_with_a_wrong_parameter_is_refused(ann: Speaker, query: Any, field: str) -> None:
    refusal = await ann.refused("ListTasks", query)
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", [field])


@requirement("3.1.4-filters")
async def test_a_list_is_narrowed_by_state_and_time(ann: Speaker) -> None:
    context = uuid4().hex
    old = await ann.send(message(contextId=context))
    failed = await ann.send(message("fail on purpose", contextId=context))

    async def found(**query: Any) -> list[str]:
        listed = await ann.ask("ListTasks", {"contextId": context, **query})
        return [task["id"] for task in listed.get("tasks", [])]

    assert await found(status=DONE) == [old["id"]]
    assert await found(status="TASK_STATE_FAILED") == [failed["id"]]
    assert await found(status=WORKING) == []
    assert await found(statusTimestampAfter=old["status"]["timestamp"]) == [failed["id"], old["id"]]
    assert await found(statusTimestampAfter="2999-01-01T00:00:00Z") == []


@requirement("3.1.4-mine", "13.1-filters", "13.1-every")
async def test_a_list_holds_only_the_callers_own_whatever_it_asks_for(ann: Speaker) -> None:
    task = await ann.send(message())
    for query in ({}, {"contextId": task["contextId"]}, {"status": DONE}, {"pageSize": 100}):
        listed = (await ann.other.told("ListTasks", query)).result
        assert task["id"] not in [other["id"] for other in listed.get("tasks", [])]
    assert (await ann.other.told("ListTasks", {"contextId": task["contextId"]})).result.get(
        "totalSize", 0
    ) == 0


@requirement("3.3.2-validated", "3.3.2-which", "5.7-missing", "5.7-empty")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"messageId": ""}, "message.messageId"),
        ({"messageId": None}, "message.messageId"),
        ({"role": None}, "message.role"),
        ({"role": "ROLE_AGENT"}, "message.role"),
        ({"parts": None}, "message.parts"),
        ({"parts": []}, "message.parts"),
        ({"parts": [{}]}, "message.parts[0]"),
    ],
)
async def test_a_message_that_lacks_something_makes_no_task(ann: Speaker, wrong: Any, field: str) -> None:
    context = uuid4().hex
    for operation in ("SendMessage", "SendStreamingMessage"):
        refusal = await ann.refused(operation, message(contextId=context, **wrong))
        assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", [field])
        assert field in refusal.message
    assert (await ann.ask("ListTasks", {"contextId": context})).get("tasks", []) == []


@requirement("3.2.2-at-once", "3.4.2-unique")
async def test_sends_at_the_same_time_make_tasks_of_their_own(ann: Speaker) -> None:
    made = await asyncio.gather(*(ann.send(at_once("echo x", messageId="same")) for _ in range(5)))
    assert len({UUID(task["id"]) for task in made}) == 5
