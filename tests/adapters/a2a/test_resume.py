"""Streams go on after any of their events, wherever and whenever their reader comes back."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig, routes
from core.approvals import AskApproval, ask
from core.caller import SYSTEM
from core.platform import Platform
from core.store import open_store
from core.store import tables as t
from core.store.tx import Tx
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.input import AnswerInput, RequestInput, answer_input, request_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed
from tests.adapters.a2a.support import (
    ANN,
    TENANT,
    Client,
    Executor,
    Keys,
    Listening,
    at_once,
    listen,
    listen_rest,
    message,
)

Told = tuple[str, dict[str, Any]]
"""The id of an event, and its frame."""


async def told(stream: Listening, most: int | None = None) -> list[Told]:
    """The next events of a stream, or all of them."""
    found: list[Told] = []
    while (most is None or len(found) < most) and (event := await stream.next()) is not None:
        body = json.loads(event["data"])
        found.append((event["id"], body.get("result", body)))
    return found


def after(app: ASGIApp, task_id: str, id: str, *, name: str = "ann") -> Listening:
    """Subscribe again."""
    return listen(app, "SubscribeToTask", {"id": task_id}, headers={"last-event-id": id}, name=name)


async def refused(stream: Listening) -> Any:
    """The error of a stream that was none."""
    return (await stream.body())["error"]


class Life:
    """A task with a bit of everything, told step by step."""

    def __init__(self, executor: Executor, held: Claimed) -> None:
        self.executor = executor
        self.task_id, self.lease_id = held.task.id, held.lease_id

    async def say(self, text: str) -> None:
        said = AddMessage(self.task_id, [{"text": text}], lease_id=self.lease_id)
        await self.executor.do(add_message, said)

    async def bring(self, text: str, **more: Any) -> None:
        parts = [{"text": text}]
        chunk = PutArtifact(self.task_id, parts, artifact_id="x", lease_id=self.lease_id, **more)
        await self.executor.do(put_artifact, chunk)

    async def ask(self) -> None:
        asked = RequestInput(self.task_id, self.lease_id, [{"text": "which?"}])
        await self.executor.do(request_input, asked)

    async def answer(self) -> None:
        """The task is free then, and taken again."""
        await self.executor.platform.write(ANN, answer_input, AnswerInput(self.task_id, [{"text": "that"}]))
        self.lease_id = (await self.executor.take()).lease_id

    async def ask_leave(self) -> None:
        await self.executor.do(ask, AskApproval(self.task_id, self.lease_id, "go on?"))

    async def end(self, output: Any = "done") -> None:
        await self.executor.do(complete, CompleteTask(self.task_id, output=output, lease_id=self.lease_id))


@pytest.fixture
async def life(app: ASGIApp, ann: Client, executor: Executor) -> Life:
    """One that was submitted and is being done."""
    await ann.result("SendMessage", at_once("go"))
    return Life(executor, await executor.take())


async def whole(app: ASGIApp, task_id: str, first: str = "1") -> list[Told]:
    """Everything after an event until the task is final; where a stream ends before, in the next one."""
    found: list[Told] = []
    while not found or "TASK_STATE_COMPLETED" not in json.dumps(found[-1]):
        more = await told(after(app, task_id, found[-1][0] if found else first))
        assert more, "a stream that ends has told something"
        found += more
    return found


async def test_every_id_of_a_finished_task_leads_to_the_rest(app: ASGIApp, life: Life, ann: Client) -> None:
    task_id = str(life.task_id)
    await life.say("one")
    await life.bring("a", last_chunk=False)
    await life.bring("x" * 200_000, append=True, last_chunk=False)
    await life.say("y" * 200_000)
    await life.ask()
    await life.answer()
    await life.ask_leave()
    await ann.result("SendMessage", at_once("approve", taskId=task_id))
    await life.bring("b", append=True)
    await life.end()
    events = await whole(app, task_id)
    assert len({id for id, _ in events}) == len(events)
    kinds = [next(iter(frame)) for _, frame in events]
    assert kinds.count("artifactUpdate") == 3
    texts = json.dumps([frame for _, frame in events])
    assert all(text in texts for text in ("x" * 200_000, "y" * 200_000, "which?", "go on?"))
    for n, (id, _) in enumerate(events[:-1]):
        rest = await told(after(app, task_id, id))
        assert rest == events[n + 1 : n + 1 + len(rest)]
        ended = n + 1 + len(rest) == len(events)
        assert ended or rest[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    error = await refused(after(app, task_id, events[-1][0]))
    assert error["code"] == -32004, "the end was told: nothing more happens"


async def test_readers_who_come_back_at_any_time_hear_the_same(app: ASGIApp, life: Life) -> None:
    task_id = str(life.task_id)
    stayed = listen(app, "SubscribeToTask", {"id": task_id})
    [snapshot] = await told(stayed, 1)
    heard: list[Told] = []
    back: list[tuple[int, Listening]] = []
    for text in "abcd":
        await life.say(text)
        heard += await told(stayed, 1)
        back.append((len(heard), after(app, task_id, heard[-1][0])))
    back.append((0, after(app, task_id, snapshot[0])))
    await life.end()
    heard += await told(stayed)
    for known, stream in back:
        assert await told(stream) == heard[known:]


async def test_half_of_an_event_is_no_reason_to_hear_it_twice(app: ASGIApp, life: Life) -> None:
    task_id = str(life.task_id)
    await life.end("out")
    events = await whole(app, task_id)
    (half, brought), (last, _) = events[-2:]
    assert "artifactUpdate" in brought
    assert half == f"{last}.1"
    assert await told(after(app, task_id, half)) == events[-1:]


async def test_every_binding_and_version_resumes(app: ASGIApp, life: Life) -> None:
    task_id = str(life.task_id)
    await life.say("one")
    await life.end()
    events = await whole(app, task_id)
    header = {"last-event-id": events[0][0]}
    for method in ("GET", "POST"):
        rest = listen_rest(app, method, f"/tasks/{task_id}:subscribe", headers=header)
        assert await told(rest) == events[1:]
    old = {**header, "a2a-version": "0.3"}
    for stream in (
        listen(app, "tasks/resubscribe", {"id": task_id}, headers=old),
        listen_rest(app, "GET", f"/tasks/{task_id}:subscribe", headers=old),
    ):
        assert [id for id, _ in await told(stream)] == [id for id, _ in events[1:]]


async def test_a_streaming_send_that_is_repeated_goes_on(
    app: ASGIApp, executor: Executor, ann: Client
) -> None:
    key = {"idempotency-key": "k"}
    first = listen(app, "SendStreamingMessage", message("go"), headers=key)
    events = await told(first, 1)
    held = await executor.take()
    life = Life(executor, held)
    events += await told(first, 1)
    await first.hang_up()
    await life.say("one")
    again = listen(
        app, "SendStreamingMessage", message("go"), headers={**key, "last-event-id": events[-1][0]}
    )
    events += await told(again, 1)
    assert again.headers["idempotency-replayed"] == "true"
    assert "one" in json.dumps(events[-1])
    anew = listen(app, "SendStreamingMessage", message("go"), headers=key)
    [(_, frame)] = await told(anew, 1)
    assert frame["task"]["id"] == str(life.task_id), "without an id, from the task as it is"
    await life.end()
    events += await told(again)
    assert [next(iter(frame)) for _, frame in await told(anew)] == ["artifactUpdate", "statusUpdate"]
    over = {**key, "last-event-id": events[-1][0]}
    assert await told(listen(app, "SendStreamingMessage", message("go"), headers=over)) == []
    assert (await ann.result("ListTasks"))["totalSize"] == 1


async def test_a_repeated_send_of_a_task_that_asks_ends_at_once(app: ASGIApp, executor: Executor) -> None:
    key = {"idempotency-key": "k"}
    first = listen(app, "SendStreamingMessage", message("go"), headers=key)
    await told(first, 1)
    life = Life(executor, await executor.take())
    await life.ask()
    asked = (await told(first))[-1][0]
    known = {**key, "last-event-id": asked}
    assert await told(listen(app, "SendStreamingMessage", message("go"), headers=known)) == []
    await life.answer()
    await life.end()
    rest = await told(listen(app, "SendStreamingMessage", message("go"), headers=known))
    assert rest == (await whole(app, str(life.task_id), asked))


async def test_a_send_that_is_new_begins_with_its_task_whatever_it_names(app: ASGIApp, ann: Client) -> None:
    for headers in ({"last-event-id": "7"}, {"last-event-id": "x", "idempotency-key": "k"}):
        stream = listen(app, "SendStreamingMessage", message("go"), headers=headers)
        [(id, frame)] = await told(stream, 1)
        assert (id, frame["task"]["status"]["state"]) == ("1", "TASK_STATE_SUBMITTED")
        await stream.hang_up()


@pytest.mark.parametrize("id", ["x", "0", "-1", "1.0", "99", "999999999999", "2; 3"])
async def test_an_id_that_is_none_of_the_tasks_is_refused(app: ASGIApp, life: Life, id: str) -> None:
    error = await refused(after(app, str(life.task_id), id))
    assert error["code"] == -32602


async def test_a_foreign_task_is_not_found_by_an_id_either(app: ASGIApp, life: Life) -> None:
    missing = await refused(after(app, "0190f000-0000-7000-8000-00000000000f", "1", name="ben"))
    foreign = await refused(after(app, str(life.task_id), "1", name="ben"))
    assert foreign == missing
    assert foreign["code"] == -32001


async def test_what_retention_has_removed_is_said_to_be_gone(app: ASGIApp, life: Life) -> None:
    for text in "ab":
        await life.say(text)
    await told(after(app, str(life.task_id), "1"), 3)
    await life.executor.platform.write(SYSTEM(TENANT), forget, life.task_id)
    error = await refused(after(app, str(life.task_id), "2"))
    assert error["code"] == -31410


async def forget(tx: Tx, task_id: UUID) -> None:
    """Remove the first two events of a task."""
    await tx.run(sa.delete(t.event).where(t.event.c.task_id == task_id, t.event.c.version < 3))


@pytest.fixture
async def elsewhere(
    platform: Platform, database_url: str, config: A2AConfig, keys: Keys
) -> AsyncIterator[ASGIApp]:
    """Another hub on the same database: a replica on PostgreSQL, the same one after a restart on SQLite."""
    if database_url.startswith("sqlite"):
        await platform.stop()
    another = Platform(open_store(database_url))
    await another.start()
    yield Starlette(routes=list(routes(another, config, keys)))
    await another.stop()


@pytest.fixture
async def begun(app: ASGIApp, life: Life) -> tuple[list[Told], str]:
    """What a reader has heard at the first hub, and the task's id."""
    stream = listen(app, "SubscribeToTask", {"id": str(life.task_id)})
    heard = await told(stream, 1)
    await life.say("one")
    heard += await told(stream, 1)
    await stream.hang_up()
    await life.say("two")
    return heard, str(life.task_id)


async def test_another_replica_goes_on_where_one_was_left(
    begun: tuple[list[Told], str], elsewhere: ASGIApp, keys: Keys
) -> None:
    heard, task_id = begun
    stream = after(elsewhere, task_id, heard[-1][0])
    [(_, frame)] = await told(stream, 1)
    assert frame["statusUpdate"]["status"]["message"]["parts"] == [{"text": "two"}]
    sent = listen(elsewhere, "CancelTask", {"id": task_id})
    assert (await sent.body())["result"]["status"]["state"] == "TASK_STATE_CANCELED"
    [(_, end)] = await told(stream)
    assert end["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
