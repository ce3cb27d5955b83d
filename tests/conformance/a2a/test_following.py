"""Streams, subscriptions and cancelling, over each binding. Specification §3.1.2, §3.1.5, §3.5.2, §7.6."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.a2a.conftest import Speaker
from tests.conformance.a2a.wires import at_once, message

requirement = pytest.mark.requirement
TERMINAL = frozenset(f"TASK_STATE_{state}" for state in ("COMPLETED", "FAILED", "CANCELED", "REJECTED"))


def states(frames: list[Any]) -> list[str]:
    """The states that a stream told, the first one included."""
    told = [frame.get("task") or frame.get("statusUpdate") for frame in frames]
    return [one["status"]["state"] for one in told if one]


def texts(frames: list[Any]) -> list[str]:
    """What its status messages and artifacts said."""
    said = []
    for frame in frames:
        told = frame.get("task") or frame.get("statusUpdate", {})
        update = told.get("status", {}).get("message") or frame.get("artifactUpdate", {}).get("artifact")
        said += [part["text"] for part in update["parts"]] if update else []
    return said


@requirement("3.1.2-task-first", "3.1.2-closes", "3.5.2-order", "3.2.2-streams")
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_stream_tells_the_task_and_then_everything_in_order(ann: Speaker, at_once: bool) -> None:
    configuration = {"returnImmediately": at_once}
    frames = await ann.stream("SendStreamingMessage", message("stream 5", configuration=configuration))
    assert list(frames[0]) == ["task"]
    assert {name for frame in frames[1:] for name in frame} <= {"statusUpdate", "artifactUpdate"}
    assert all(len(frame) == 1 for frame in frames)
    said = [text for text in texts(frames) if text.startswith("step")]
    known = [m["parts"][0]["text"] for m in frames[0]["task"].get("history", []) if m["role"] == "ROLE_AGENT"]
    assert known + said == [f"step {n}" for n in range(5)]
    assert states(frames)[-1] == "TASK_STATE_COMPLETED"
    assert not TERMINAL & set(states(frames)[:-1])
    chunks = [frame["artifactUpdate"] for frame in frames if "artifactUpdate" in frame]
    seen = [(c["artifact"]["artifactId"], c.get("append", False), c.get("lastChunk", False)) for c in chunks]
    # What happened before the task was shown is in it.
    assert seen == [("a", False, False), ("a", True, True)][2 - len(seen) :]


@requirement("3.1.2-opens", "3.5.2-independent")
async def test_a_stream_opens_while_the_work_goes_on_and_its_end_ends_nothing(ann: Speaker) -> None:
    async with ann.wire.streamed("SendStreamingMessage", message("wait")) as frames:
        task = (await anext(frames))["task"]
        assert task["status"]["state"] not in TERMINAL
    assert (await ann.get(task["id"]))["status"]["state"] not in TERMINAL
    canceled = await ann.ask("CancelTask", {"id": task["id"]})
    assert canceled["status"]["state"] == "TASK_STATE_CANCELED"


@requirement("3.5.2-broadcast", "3.5.2-independent", "3.1.6-task-first", "3.1.6-ends", "3.5.2-order")
async def test_every_stream_of_a_task_tells_the_same_in_the_same_order(ann: Speaker) -> None:
    task = await ann.send(message("hold Ready?"))
    assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    opened = [asyncio.Event() for _ in range(3)]

    async def watch(n: int) -> list[Any]:
        async with ann.wire.streamed("SubscribeToTask", {"id": task["id"]}) as frames:
            seen = [await anext(frames)]
            opened[n].set()
            return [*seen, *[frame async for frame in frames]]

    watching = [asyncio.ensure_future(watch(n)) for n in range(3)]
    async with ann.wire.streamed("SubscribeToTask", {"id": task["id"]}) as leaving:
        await anext(leaving)
        await asyncio.gather(*(event.wait() for event in opened))
    await ann.ask("SendMessage", at_once("yes", taskId=task["id"]))
    first, *others = await asyncio.gather(*watching)
    assert list(first[0]) == ["task"]
    assert first[0]["task"]["id"] == task["id"]
    assert states(first)[0] == "TASK_STATE_INPUT_REQUIRED"
    assert states(first)[-1] == "TASK_STATE_COMPLETED"
    assert all(other == first for other in others)


@requirement("3.1.5-cancels", "3.1.5-over", "3.3.1-cancelling", "5.4-task-not-cancelable")
async def test_cancelling_happens_once(ann: Speaker) -> None:
    task = await ann.send(at_once("wait"))
    canceled = await ann.ask("CancelTask", {"id": task["id"]})
    assert (canceled["id"], canceled["status"]["state"]) == (task["id"], "TASK_STATE_CANCELED")
    for _ in range(2):
        refusal = await ann.refused("CancelTask", {"id": task["id"]})
        assert refusal.reason == "TASK_NOT_CANCELABLE"
        wanted = {"JSONRPC": -32002, "HTTP+JSON": 400, "GRPC": "FAILED_PRECONDITION"}
        assert refusal.code == wanted[ann.binding]
    assert await ann.get(task["id"]) == canceled


@requirement("3.1.5-over")
@pytest.mark.parametrize("script", ["echo x", "fail on purpose", "refuse not mine"])
async def test_what_is_over_cannot_be_cancelled(ann: Speaker, script: str) -> None:
    task = await ann.send(message(script))
    assert task["status"]["state"] in TERMINAL
    assert (await ann.refused("CancelTask", {"id": task["id"]})).reason == "TASK_NOT_CANCELABLE"


@requirement("3.1.5-unknown", "3.1.6-unknown")
@pytest.mark.parametrize("operation", ["CancelTask", "SubscribeToTask"])
async def test_what_does_not_exist_is_neither_cancelled_nor_followed(ann: Speaker, operation: str) -> None:
    assert (await ann.refused(operation, {"id": str(uuid4())})).reason == "TASK_NOT_FOUND"


@requirement("3.1.6-over")
async def test_what_is_over_is_not_followed(ann: Speaker) -> None:
    task = await ann.send(message())
    assert (await ann.refused("SubscribeToTask", {"id": task["id"]})).reason == "UNSUPPORTED_OPERATION"


@requirement("11.7-interrupted", "3.1.2-closes")
async def test_a_question_closes_the_stream_and_the_answer_opens_the_next(ann: Speaker) -> None:
    frames = await ann.stream("SendStreamingMessage", message("hold Which?"))
    assert (states(frames)[-1], texts(frames)[-1]) == ("TASK_STATE_INPUT_REQUIRED", "Which?")
    id = frames[0]["task"]["id"]
    assert states(await ann.stream("SendStreamingMessage", message("blue", taskId=id)))[-1] in TERMINAL


@requirement("7.6.1-state", "7.6.1-message", "7.6.1-stream", "7.6.1-messages")
async def test_a_credential_is_asked_for_in_a_task_whose_streams_stay_open(ann: Speaker) -> None:
    async with ann.wire.streamed("SendStreamingMessage", message("auth Log in first")) as frames:
        told: Any = {}
        async for frame in frames:
            told = frame.get("task") or frame["statusUpdate"]
            if told["status"]["state"] == "TASK_STATE_AUTH_REQUIRED":
                break
        assert told["status"]["message"]["parts"] == [{"text": "Log in first"}]
        id = told.get("id") or told["taskId"]
        await ann.ask("SendMessage", at_once("done", taskId=id))
        assert states([frame async for frame in frames])[-1] == "TASK_STATE_COMPLETED"
