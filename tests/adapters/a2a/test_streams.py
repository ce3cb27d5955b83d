"""Streams: the task first, then what happens, once and in order. Specification §3.1.2, §3.1.6, §3.5.2."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig
from core.errors import Unavailable
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.cancel import CancelTask, cancel
from core.tasks.input import RequestInput, request_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.progress import ReportProgress, report_progress
from core.tasks.report import CompleteTask, FailTask, ReportedError, complete, fail
from core.tasks.task import Claimed
from schemas.vocabulary import InputKind
from tests.adapters.a2a.support import (
    PUBLIC,
    Client,
    Executor,
    Few,
    Keys,
    Listening,
    at_once,
    listen,
    listen_rest,
    message,
)


def told(frame: dict[str, Any]) -> Any:
    """A frame in short."""
    if "task" in frame:
        return frame["task"]["status"]["state"].removeprefix("TASK_STATE_")
    if "artifactUpdate" in frame:
        update = frame["artifactUpdate"]
        return (update["artifact"]["artifactId"], update["append"], update["lastChunk"])
    status = frame["statusUpdate"]["status"]
    state = status["state"].removeprefix("TASK_STATE_")
    return (state, status["message"]["parts"][0].get("text")) if "message" in status else state


async def say(executor: Executor, held: Claimed, text: str, **more: Any) -> None:
    said = AddMessage(held.task.id, [{"text": text}], lease_id=held.lease_id, **more)
    await executor.do(add_message, said)


async def bring(executor: Executor, held: Claimed, text: str, **more: Any) -> None:
    chunk = PutArtifact(held.task.id, [{"text": text}], lease_id=held.lease_id, **more)
    await executor.do(put_artifact, chunk)


async def done(executor: Executor, held: Claimed, output: Any = None) -> None:
    await executor.do(complete, CompleteTask(held.task.id, output=output, lease_id=held.lease_id))


async def test_a_thousand_events_of_one_commit_reach_a_reader_who_reads(
    app: ASGIApp, executor: Executor
) -> None:
    streams = [listen(app, "SendStreamingMessage", message("go"))]
    await streams[0].frame()
    held = await executor.take()
    streams.append(listen(app, "SubscribeToTask", {"id": str(held.task.id)}))
    await streams[1].frame()
    chunks = [
        PutArtifact(held.task.id, [{"text": str(n)}], artifact_id="a", append=n > 0, last_chunk=n == 999)
        for n in range(1_000)
    ]
    await executor.do(report_progress, ReportProgress(held.task.id, held.lease_id, chunks))
    await done(executor, held)
    for stream in streams:
        texts = [
            frame["artifactUpdate"]["artifact"]["parts"][0]["text"]
            for frame in await stream.rest()
            if "artifactUpdate" in frame
        ]
        assert texts == [str(n) for n in range(1_000)]


async def test_a_stream_tells_the_whole_life_of_a_task(app: ASGIApp, executor: Executor) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    first = await stream.frame()
    assert told(first) == "SUBMITTED"
    held = await executor.take()
    await say(executor, held, "step 1")
    await bring(executor, held, "a", artifact_id="x", last_chunk=False)
    await bring(executor, held, "b", artifact_id="x", append=True)
    await done(executor, held, "unseen")
    assert [told(frame) for frame in await stream.rest()] == [
        "WORKING",
        ("WORKING", "step 1"),
        ("x", False, False),
        ("x", True, True),
        "COMPLETED",
    ]
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"


async def test_an_output_without_artifacts_comes_as_one_before_the_end(
    app: ASGIApp, executor: Executor
) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    await executor.finish("HI")
    frames = await stream.rest()
    assert [told(frame) for frame in frames] == ["WORKING", ("output", False, True), "COMPLETED"]
    assert frames[1]["artifactUpdate"]["artifact"]["parts"] == [{"text": "HI"}]


async def test_a_failure_and_a_cancellation_end_a_stream_with_their_reason(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    held = await executor.take()
    error = ReportedError("io", "disk full", recoverable=False)
    await executor.do(fail, FailTask(held.task.id, error, lease_id=held.lease_id))
    assert [told(frame) for frame in await stream.rest()] == ["WORKING", ("FAILED", "disk full")]
    stream = listen(app, "SendStreamingMessage", message("go"))
    task = (await stream.frame())["task"]
    await ann.result("CancelTask", {"id": task["id"], "metadata": {"reason": "enough"}})
    assert [told(frame) for frame in await stream.rest()] == [("CANCELED", "enough")]


async def test_event_ids_are_the_tasks_versions_and_grow(app: ASGIApp, executor: Executor) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    first = await stream.next()
    assert first is not None
    await executor.finish("x")
    ids = [first["id"]]
    while (event := await stream.next()) is not None:
        ids.append(event["id"])
    numbers = [id for id in ids if "." not in id]
    assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})
    assert ids == [*numbers[:-1], f"{numbers[-1]}.1", numbers[-1]], "the output shares its event with the end"


async def test_a_stream_closes_when_input_is_required_and_the_answer_opens_the_next(
    app: ASGIApp, executor: Executor
) -> None:
    stream = listen(app, "SendStreamingMessage", message("paint it"))
    task = (await stream.frame())["task"]
    held = await executor.take()
    asked = RequestInput(held.task.id, held.lease_id, [{"text": "Which colour?"}], schema={"type": "string"})
    await executor.do(request_input, asked)
    frames = await stream.rest()
    assert [told(frame) for frame in frames] == ["WORKING", ("INPUT_REQUIRED", "Which colour?")]
    about = frames[-1]["statusUpdate"]["status"]["message"]["metadata"]["crossdock/input"]
    assert (about["kind"], about["schema"]) == ("input", {"type": "string"})

    answer = listen(app, "SendStreamingMessage", message("blue", taskId=task["id"]))
    assert told(await answer.frame()) == "WORKING"
    await executor.finish("blue paint")
    assert [told(frame) for frame in await answer.rest()] == [("output", False, True), "COMPLETED"]


async def test_a_held_question_goes_on_with_the_same_executor(app: ASGIApp, executor: Executor) -> None:
    stream = listen(app, "SendStreamingMessage", message("paint it"))
    task = (await stream.frame())["task"]
    held = await executor.take()
    await executor.do(
        request_input, RequestInput(held.task.id, held.lease_id, [{"text": "Which?"}], hold=True)
    )
    await stream.rest()
    answer = listen(app, "SendStreamingMessage", message("blue", taskId=task["id"]))
    assert told(await answer.frame()) == "WORKING"
    await done(executor, held, "ok")
    assert [told(frame) for frame in await answer.rest()] == [("output", False, True), "COMPLETED"]


async def test_of_two_questions_the_second_is_asked_at_once_after_the_first_answer(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    for text in ("one?", "two?"):
        await executor.do(
            request_input, RequestInput(held.task.id, held.lease_id, [{"text": text}], hold=True)
        )
    stream = listen(app, "SendStreamingMessage", message("1", taskId=task["id"]))
    frames = await stream.rest()
    assert [told(frame) for frame in frames] == ["INPUT_REQUIRED"]
    assert frames[0]["task"]["status"]["message"]["parts"] == [{"text": "two?"}]


async def test_a_stream_stays_open_while_a_credential_is_awaited(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    stream = listen(app, "SendStreamingMessage", message("fetch"))
    task = (await stream.frame())["task"]
    held = await executor.take()
    asked = RequestInput(
        held.task.id, held.lease_id, [{"text": "Log in at …"}], kind=InputKind.AUTH, hold=True
    )
    await executor.do(request_input, asked)
    assert told(await stream.frame()) == "WORKING"
    assert told(await stream.frame()) == ("AUTH_REQUIRED", "Log in at …")
    blocking = await ann.result("GetTask", {"id": task["id"]})
    assert blocking["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
    await ann.result("SendMessage", at_once("done", taskId=task["id"]))
    assert told(await stream.frame()) == "WORKING"
    await done(executor, held)
    assert [told(frame) for frame in await stream.rest()] == ["COMPLETED"]


async def test_a_subscriber_gets_the_task_as_it_stands_and_then_its_events(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    await bring(executor, held, "a", artifact_id="x", last_chunk=False)
    stream = listen(app, "SubscribeToTask", {"id": task["id"]})
    first = await stream.frame()
    assert told(first) == "WORKING"
    assert first["task"]["artifacts"][0]["parts"] == [{"text": "a"}]
    await bring(executor, held, "b", artifact_id="x", append=True)
    await done(executor, held)
    assert [told(frame) for frame in await stream.rest()] == [("x", True, True), "COMPLETED"]


async def test_subscribing_to_a_final_task_is_unsupported(ann: Client, executor: Executor) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    await executor.finish()
    error = await ann.error("SubscribeToTask", {"id": task["id"]})
    assert (error["code"], error["data"][0]["reason"]) == (-32004, "UNSUPPORTED_OPERATION")


async def test_a_subscriber_of_a_waiting_task_sees_it_go_on(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    held = await executor.take()
    await executor.do(request_input, RequestInput(held.task.id, held.lease_id, [{"text": "?"}], hold=True))
    stream = listen(app, "SubscribeToTask", {"id": task["id"]})
    assert told(await stream.frame()) == "INPUT_REQUIRED"
    await ann.result("SendMessage", at_once("!", taskId=task["id"]))
    assert told(await stream.frame()) == "WORKING"
    await stream.hang_up()


async def test_all_subscribers_hear_the_same_in_the_same_order(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    streams = [listen(app, "SubscribeToTask", {"id": task["id"]}) for _ in range(5)]
    for stream in streams:
        await stream.frame()
    leaver = listen(app, "SubscribeToTask", {"id": task["id"]})
    await leaver.frame()
    await leaver.hang_up()
    held = await executor.take()
    for n in range(30):
        await say(executor, held, f"step {n}")
    await done(executor, held)
    heard = await asyncio.gather(*(stream.rest() for stream in streams))
    assert all(frames == heard[0] for frames in heard)
    assert [told(f) for f in heard[0]][1:-1] == [("WORKING", f"step {n}") for n in range(30)]


async def test_parts_too_large_for_an_event_are_told_all_the_same(app: ASGIApp, executor: Executor) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    held = await executor.take()
    large = "x" * 200_000
    await bring(executor, held, large, artifact_id="a")
    await say(executor, held, large)
    await done(executor, held)
    frames = await stream.rest()
    assert frames[1]["artifactUpdate"]["artifact"]["parts"] == [{"text": large}]
    assert frames[2]["statusUpdate"]["status"]["message"]["parts"] == [{"text": large}]


async def test_a_lost_executor_reads_working_again_and_never_submitted(
    app: ASGIApp, executor: Executor
) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    held = await executor.take()
    lost = ReportedError("infrastructure", "host died")
    await executor.do(fail, FailTask(held.task.id, lost, lease_id=held.lease_id))
    assert told(await stream.frame()) == "WORKING"
    retry = await stream.frame()
    assert told(retry) == "WORKING"
    assert retry["statusUpdate"]["metadata"]["crossdock/retry"]["reason"] == "host died"
    await executor.platform.write(held_by_ann(held), cancel, CancelTask(held.task.id))
    assert [told(frame) for frame in await stream.rest()] == ["CANCELED"]


def held_by_ann(held: Claimed) -> Any:
    from tests.adapters.a2a.support import ANN

    assert held.task.submitter_id == ANN.principal_id
    return ANN


async def test_a_silent_stream_says_that_it_lives(app: ASGIApp, ann: Client) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    await stream.until_silent()
    await stream.until_silent()
    await stream.hang_up()


async def test_a_client_that_hangs_up_leaves_the_task_alone(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    task = (await stream.frame())["task"]
    await stream.hang_up()
    await executor.finish("kept")
    assert (await ann.result("GetTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_blocking_send_notices_that_its_client_hung_up(app: ASGIApp, executor: Executor) -> None:
    waiting = listen(app, "SendMessage", message("go"))
    held = await executor.take()
    await waiting.hang_up()
    assert waiting.status == 499
    await done(executor, held)


async def test_a_revoked_credential_ends_its_streams(app: ASGIApp, keys: Keys) -> None:
    stream = listen(app, "SendStreamingMessage", message("go"))
    await stream.frame()
    keys.revoked.set()
    event = await stream.next()
    assert event is not None
    assert '"code":-31401' in event["data"]
    assert await stream.next() is None


async def test_a_stopping_hub_tells_its_streams(app: ASGIApp, executor: Executor) -> None:
    streams = [
        listen(app, "SendStreamingMessage", message("go")),
        listen_rest(app, "POST", "/message:stream", message("go")),
    ]
    for stream in streams:
        await stream.frame()
    await executor.platform.stop()
    events = [await stream.next() for stream in streams]
    assert events[0] is not None
    assert '"code":-31503' in events[0]["data"]
    assert events[1] is not None
    assert (events[1]["event"], '"code":503' in events[1]["data"]) == ("error", True)


async def test_a_stopping_hub_answers_a_blocking_send_with_the_task(app: ASGIApp, executor: Executor) -> None:
    """What was accepted must not look refused, else the client sends it again."""
    waiting = listen(app, "SendMessage", message("go"))
    await executor.take()
    await executor.platform.tail.stop(Unavailable("The hub is stopping."))
    told = await waiting.body()
    assert told["result"]["task"]["status"]["state"] == "TASK_STATE_WORKING"


@pytest.mark.parametrize("config", [A2AConfig(PUBLIC, "1", streams=Few(1), waits=Few(1))])
async def test_waits_and_streams_are_bounded_before_anything_is_queued(
    app: ASGIApp, ann: Client, executor: Executor
) -> None:
    stream = listen(app, "SendStreamingMessage", message("one"))
    await stream.frame()
    error = await ann.error("SendStreamingMessage", message("two"))
    assert (error["code"], error["data"][-1]["retryDelay"]) == (-31429, "1s")
    assert (await ann.result("ListTasks"))["totalSize"] == 1
    await stream.hang_up()
    again = listen(app, "SendStreamingMessage", message("two"))
    await again.frame()
    waiting = listen(app, "SendMessage", message("three"))
    for _ in range(3):
        await executor.take()
    assert (await ann.error("SendMessage", message("four")))["code"] == -31429
    await ann.result("SendMessage", at_once("four"))
    await waiting.hang_up()
    await again.hang_up()


async def test_what_a_stream_refuses_it_refuses_before_it_begins(
    app: ASGIApp, http: httpx.AsyncClient
) -> None:
    stream = listen(app, "SendStreamingMessage", {"message": {}})
    error = (await stream.body())["error"]
    assert (stream.status, stream.headers["content-type"], error["code"]) == (200, "application/json", -32602)
    rest: Listening = listen_rest(app, "POST", "/message:stream", {"message": {}})
    assert (await rest.body())["error"]["status"] == "INVALID_ARGUMENT"
    assert rest.status == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_rest_subscribes_by_get_and_by_post(
    app: ASGIApp, executor: Executor, ann: Client, method: str
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    stream = listen_rest(app, method, f"/tasks/{task['id']}:subscribe")
    assert told(await stream.frame()) == "SUBMITTED"
    await executor.finish()
    assert [told(f) for f in await stream.rest()] == ["WORKING", ("output", False, True), "COMPLETED"]
