"""The operations of A2A over JSON-RPC, against a real platform. Specification §3."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from a2a.types import a2a_pb2

from core.platform import Platform
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.messages import AddMessage, add_message
from core.tasks.report import CompleteTask, FailTask, RefuseTask, ReportedError, complete, fail, refuse
from core.tasks.submit import SubmitTask, submit
from tests.adapters.a2a.support import ANN, Client, Executor, at_once, message, official


def checked(task: dict[str, Any]) -> dict[str, Any]:
    """The task, which the official types must accept without an unknown member."""
    official(task, a2a_pb2.Task)
    return task


async def test_a_send_that_does_not_wait_answers_with_the_submitted_task(ann: Client) -> None:
    task = checked((await ann.result("SendMessage", at_once("Say hello\nplease")))["task"])
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert task["history"][0]["parts"] == [{"text": "Say hello\nplease"}]
    assert task["history"][0]["role"] == "ROLE_USER"
    assert "artifacts" not in task
    assert await ann.result("GetTask", {"id": task["id"]}) == task


async def test_a_blocking_send_answers_with_the_finished_task(ann: Client, executor: Executor) -> None:
    answer, _ = await asyncio.gather(ann.result("SendMessage", message("hi")), executor.finish("HI"))
    task = checked(answer["task"])
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["artifacts"] == [{"artifactId": "output", "name": "output", "parts": [{"text": "HI"}]}]


async def test_an_output_that_is_no_text_is_a_data_part(ann: Client, executor: Executor) -> None:
    answer, _ = await asyncio.gather(ann.result("SendMessage", message("hi")), executor.finish({"n": 1}))
    part = checked(answer["task"])["artifacts"][0]["parts"][0]
    assert part == {"data": {"n": 1}, "mediaType": "application/json"}


async def test_artifacts_are_merged_and_then_the_output_is_none(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    for n, append in ((1, False), (2, True)):
        chunk = PutArtifact(
            held.task.id,
            [{"text": f"{n}", "media_type": "text/markdown"}],
            artifact_id="a",
            name="report",
            append=append,
            last_chunk=append,
            lease_id=held.lease_id,
        )
        await executor.do(put_artifact, chunk)
    await executor.do(complete, CompleteTask(held.task.id, output="x", lease_id=held.lease_id))
    got = checked(await ann.result("GetTask", {"id": task["id"]}))
    parts = [{"text": "1", "mediaType": "text/markdown"}, {"text": "2", "mediaType": "text/markdown"}]
    assert got["artifacts"] == [{"artifactId": "a", "name": "report", "parts": parts}]


async def test_an_executors_final_message_is_the_answer(ann: Client, executor: Executor) -> None:
    async def work() -> None:
        held = await executor.take()
        said = AddMessage(held.task.id, [{"text": "42"}], lease_id=held.lease_id, final=True)
        await executor.do(add_message, said)
        await executor.do(complete, CompleteTask(held.task.id, lease_id=held.lease_id))

    answer, _ = await asyncio.gather(ann.result("SendMessage", message("?")), work())
    assert list(answer) == ["message"]
    official(answer["message"], a2a_pb2.Message)
    assert answer["message"]["parts"] == [{"text": "42"}]
    assert answer["message"]["role"] == "ROLE_AGENT"
    task = await ann.result("GetTask", {"id": answer["message"]["taskId"]})
    assert task["contextId"] == answer["message"]["contextId"]


async def test_a_failure_says_why_in_its_status(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    error = ReportedError("bad_input", "the file is empty", recoverable=False)
    await executor.do(fail, FailTask(held.task.id, error, lease_id=held.lease_id))
    status = checked(await ann.result("GetTask", {"id": task["id"]}))["status"]
    assert status["state"] == "TASK_STATE_FAILED"
    assert status["message"]["parts"] == [{"text": "the file is empty"}]
    assert status["message"]["metadata"] == {"crossdock/error": {"category": "bad_input"}}


async def test_refused_work_is_rejected_with_its_reason(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    await executor.do(refuse, RefuseTask(held.task.id, held.lease_id, "not my job"))
    status = checked(await ann.result("GetTask", {"id": task["id"]}))["status"]
    assert (status["state"], status["message"]["parts"]) == ("TASK_STATE_REJECTED", [{"text": "not my job"}])


async def test_a_capped_wait_answers_with_the_task_as_it_stands(
    platform: Platform, http: httpx.AsyncClient, config: Any, ann: Client
) -> None:
    object.__setattr__(config, "blocking_seconds", 0.05)
    task = (await ann.result("SendMessage", message()))["task"]
    assert task["status"]["state"] == "TASK_STATE_SUBMITTED"


async def test_history_is_cut_to_the_newest(ann: Client, executor: Executor) -> None:
    sent = await ann.result("SendMessage", at_once("first"))
    held = await executor.take()
    for n in range(3):
        said = AddMessage(held.task.id, [{"text": f"step {n}"}], lease_id=held.lease_id)
        await executor.do(add_message, said)
    id = sent["task"]["id"]

    async def history(length: int | None) -> list[str] | None:
        params = {"id": id} if length is None else {"id": id, "historyLength": length}
        task = checked(await ann.result("GetTask", params))
        return [m["parts"][0]["text"] for m in task["history"]] if "history" in task else None

    assert await history(None) == ["first", "step 0", "step 1", "step 2"]
    assert await history(2) == ["step 1", "step 2"]
    assert await history(0) is None
    zero = await ann.result("SendMessage", at_once(configuration={"historyLength": 0}))
    assert "history" not in zero["task"]


async def test_what_a_message_carries_comes_back(ann: Client) -> None:
    params = at_once(
        extensions=["urn:x"], referenceTaskIds=["t1"], metadata={"k": [1]}, contextId="my context"
    )
    params["message"]["parts"] = [
        {"text": "a", "mediaType": "text/markdown", "filename": "a.md", "metadata": {"x": 1}},
        {"data": None},
        {"raw": "AAE="},
        {"url": "https://example.com/a"},
    ]
    params["metadata"] = {"ticket": 7}
    task = checked((await ann.result("SendMessage", params))["task"])
    assert (task["contextId"], task["metadata"]) == ("my context", {"ticket": 7})
    shown = task["history"][0]
    assert {**params["message"], "taskId": task["id"]} == shown


async def test_a_follow_up_takes_the_context_of_its_task(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once("one", contextId="c")))["task"]
    again = (await ann.result("SendMessage", at_once("two", taskId=task["id"])))["task"]
    assert (again["id"], again["contextId"]) == (task["id"], "c")
    assert [m["parts"][0]["text"] for m in again["history"]] == ["one", "two"]
    same = await ann.result("SendMessage", at_once("three", taskId=task["id"], contextId="c"))
    assert same["task"]["id"] == task["id"]


async def test_a_context_that_is_not_the_tasks_is_refused(ann: Client) -> None:
    task = (await ann.result("SendMessage", at_once(contextId="c")))["task"]
    error = await ann.error("SendMessage", at_once(taskId=task["id"], contextId="d"))
    assert error["code"] == -32602
    assert error["data"][1]["fieldViolations"][0]["field"] == "message.contextId"


async def test_a_final_task_takes_no_message_and_a_new_one_goes_on_in_its_context(
    ann: Client, executor: Executor
) -> None:
    answer, _ = await asyncio.gather(ann.result("SendMessage", message()), executor.finish())
    task = answer["task"]
    error = await ann.error("SendMessage", message(taskId=task["id"]))
    assert (error["code"], error["data"][0]["reason"]) == (-32004, "UNSUPPORTED_OPERATION")
    following = (await ann.result("SendMessage", at_once(contextId=task["contextId"])))["task"]
    assert following["contextId"] == task["contextId"]
    assert following["id"] != task["id"]


async def test_one_message_id_may_start_many_tasks(ann: Client) -> None:
    """Ours: never deduplicated by messageId alone, which real clients reuse."""
    first = (await ann.result("SendMessage", at_once()))["task"]
    second = (await ann.result("SendMessage", at_once()))["task"]
    assert first["id"] != second["id"]


async def test_an_idempotency_key_makes_one_task(ann: Client, http: httpx.AsyncClient) -> None:
    first = (await ann.result("SendMessage", at_once(), Idempotency_Key="k1"))["task"]
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": at_once()}
    again = await http.post("/a2a", json=body, headers=ann.headers({"Idempotency-Key": "k1"}))
    assert again.json()["result"]["task"] == first
    assert again.headers["Idempotency-Replayed"] == "true"
    error = await ann.error("SendMessage", at_once("other"), Idempotency_Key="k1")
    assert (error["code"], error["data"][0]["metadata"]["reason_code"]) == (-31409, "request_id_reused")
    assert (await ann.error("SendMessage", at_once(), Idempotency_Key="k" * 256))["code"] == -32602


async def test_a_replayed_send_shows_the_task_as_it_is_now(ann: Client, executor: Executor) -> None:
    await ann.result("SendMessage", at_once(), Idempotency_Key="k")
    await executor.finish()
    again = (await ann.result("SendMessage", at_once(), Idempotency_Key="k"))["task"]
    assert again["status"]["state"] == "TASK_STATE_COMPLETED"


@pytest.mark.parametrize(
    "id", ["0190f000-0000-7000-8000-0000000000aa", "nonsense", "x" * 36, "{0190f000-0000-7000-8000-00000000}"]
)
@pytest.mark.parametrize("method", ["GetTask", "CancelTask", "SubscribeToTask"])
async def test_a_task_that_is_not_there_is_not_found(ann: Client, id: str, method: str) -> None:
    error = await ann.error(method, {"id": id})
    assert (error["code"], error["message"]) == (-32001, "No such task.")


@pytest.mark.parametrize("other", ["ben", "root", "eve"])
async def test_another_principals_task_looks_like_none_even_to_operators(
    ann: Client, http: httpx.AsyncClient, executor: Executor, other: str
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    foreign, missing = Client(http, other), str(uuid4())
    for method in ("GetTask", "CancelTask", "SubscribeToTask"):
        assert await foreign.error(method, {"id": task["id"]}) == await foreign.error(method, {"id": missing})
    sends = [await foreign.error("SendMessage", at_once(taskId=id)) for id in (task["id"], missing)]
    assert sends[0] == sends[1]
    assert (await foreign.result("ListTasks"))["totalSize"] == 0
    assert (await ann.result("GetTask", {"id": task["id"]})) == task


async def test_the_executors_own_key_does_not_see_the_task_on_a2a(
    ann: Client, http: httpx.AsyncClient, executor: Executor, keys: Any
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    await executor.take()
    keys.callers["worker"] = executor.caller
    assert (await Client(http, "worker").error("GetTask", {"id": task["id"]}))["code"] == -32001


async def test_cancel_ends_a_task_once(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    cancelled = checked(
        await ann.result("CancelTask", {"id": task["id"], "metadata": {"reason": "too slow"}})
    )
    assert cancelled["status"]["state"] == "TASK_STATE_CANCELED"
    assert cancelled["status"]["message"]["parts"] == [{"text": "too slow"}]
    error = await ann.error("CancelTask", {"id": task["id"]})
    assert (error["code"], error["data"][0]["reason"]) == (-32002, "TASK_NOT_CANCELABLE")
    assert held.task.id == (await executor.platform.read(executor.caller, _get, held.task.id)).id


async def _get(tx: Any, task_id: Any) -> Any:
    from core.tasks.read import GetTask, get_task

    return await get_task(tx, GetTask(task_id))


async def test_a_client_that_hangs_up_while_it_waits_loses_nothing(ann: Client, executor: Executor) -> None:
    waiting = asyncio.ensure_future(ann.rpc("SendMessage", message(contextId="c")))
    held = await executor.take()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await executor.do(complete, CompleteTask(held.task.id, output="kept", lease_id=held.lease_id))
    listed = await ann.result("ListTasks", {"contextId": "c", "includeArtifacts": True})
    assert listed["tasks"][0]["artifacts"][0]["parts"] == [{"text": "kept"}]


@pytest.mark.parametrize(
    ("part", "taken"),
    [
        ({"text": "x", "mediaType": "text/markdown"}, True),
        ({"data": {}, "mediaType": "application/json; charset=utf-8"}, True),
        ({"raw": "AAE="}, True),
        ({"raw": "AAE=", "mediaType": "image/png"}, False),
        ({"url": "https://example.com/x", "mediaType": "application/pdf"}, False),
    ],
)
async def test_media_types_outside_the_input_modes_are_refused(
    ann: Client, part: dict[str, Any], taken: bool
) -> None:
    params = at_once(parts=[part])
    if taken:
        await ann.result("SendMessage", params)
    else:
        assert (await ann.error("SendMessage", params))["code"] == -32005
        assert (await ann.result("ListTasks"))["totalSize"] == 0


async def test_push_notifications_are_not_supported_and_start_nothing(ann: Client) -> None:
    config = {"url": "https://example.com/hook"}
    sent = message(configuration={"taskPushNotificationConfig": config})
    assert (await ann.error("SendMessage", sent))["code"] == -32003
    assert (await ann.result("ListTasks"))["totalSize"] == 0
    for method in ("Create", "Get", "Delete"):
        error = await ann.error(f"{method}TaskPushNotificationConfig", {"taskId": "x", "id": "y"})
        assert (error["code"], error["data"][0]["reason"]) == (-32003, "PUSH_NOTIFICATION_NOT_SUPPORTED")
    assert (await ann.error("ListTaskPushNotificationConfigs", {"taskId": "x"}))["code"] == -32003


async def test_a_task_that_came_in_by_rest_is_the_same_task_here(
    ann: Client, platform: Platform, executor: Executor
) -> None:
    born = await platform.write(ANN, submit, SubmitTask("by REST", input={"n": 1}))
    shown = checked(await ann.result("GetTask", {"id": str(born.id)}))
    assert (shown["status"]["state"], "history" in shown) == ("TASK_STATE_SUBMITTED", False)
    said = await ann.result("SendMessage", at_once("more", taskId=str(born.id)))
    assert said["task"]["history"][0]["parts"] == [{"text": "more"}]
    await executor.finish("x")
    assert (await ann.result("ListTasks"))["tasks"][0]["status"]["state"] == "TASK_STATE_COMPLETED"
