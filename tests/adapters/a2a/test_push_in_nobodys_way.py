"""A receiver that is slow, failing and restarting slows no stream and no send, and gets every event."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pytest
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig
from core.platform import Platform
from core.tasks.messages import AddMessage, add_message
from core.tasks.report import CompleteTask, complete
from tests.adapters.a2a.post import Post, settled
from tests.adapters.a2a.receiver import Receiver
from tests.adapters.a2a.support import PUBLIC, Client, Executor, listen, message

TASKS = 10
SLOW = 2.0
"""Seconds that the receiver takes for some requests. No send and no stream may take as long."""


def trying(n: int) -> tuple[float, int]:
    """Some are slow, and for a long time every third one fails."""
    return (SLOW if n < 6 or 16 <= n < 20 else 0.0, 500 if n < 60 and n % 3 == 2 else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that is a trial."""
    receiver = Receiver(trying)
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def post(platform: Platform, receiver: Receiver) -> AsyncIterator[Post]:
    """The engine, which may call the receiver."""
    async with Post(platform, [f"127.0.0.1:{receiver.port}"]).open() as post:
        yield post


@pytest.fixture
def config(post: Post) -> A2AConfig:
    """Push notifications are on."""
    return A2AConfig(public_url=PUBLIC, version="9.9", receivers=post.sender)


@pytest.fixture
async def busy(executor: Executor) -> AsyncIterator[None]:
    """An executor that does whatever comes, with three events between start and end."""

    async def work() -> None:
        while True:
            with contextlib.suppress(AssertionError):
                held = await executor.take()
                for n in range(3):
                    said = AddMessage(held.task.id, [{"text": f"step {n}"}], lease_id=held.lease_id)
                    await executor.do(add_message, said)
                await executor.do(complete, CompleteTask(held.task.id, output="done", lease_id=held.lease_id))

    working = asyncio.create_task(work())
    yield
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


@dataclass
class Talk:
    """How long sends and streams took, and what the streams told."""

    sends: list[float] = field(default_factory=list)
    streams: list[float] = field(default_factory=list)
    frames: list[list[dict[str, Any]]] = field(default_factory=list)

    def __str__(self) -> str:
        told = [f"{name} {median(took):.3f}/{max(took):.3f} s" for name, took in self._all]
        return ", ".join(told) + " (median/most)"

    @property
    def _all(self) -> Sequence[tuple[str, list[float]]]:
        return [("blocking send", self.sends), ("stream", self.streams)]


async def talk(ann: Client, app: ASGIApp, had: Talk, url: str | None, n: int) -> None:
    """A blocking send and a stream, each with a path of its own at the receiver."""
    for kind in ("send", "stream"):
        config = url and {"taskPushNotificationConfig": {"url": f"{url}{kind}{n}"}}
        sent = message("go", configuration=config) if config else message("go")
        began = time.perf_counter()
        if kind == "send":
            task = (await ann.result("SendMessage", sent))["task"]
            had.sends.append(time.perf_counter() - began)
            assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        else:
            had.frames.append(await listen(app, "SendStreamingMessage", sent).rest())
            had.streams.append(time.perf_counter() - began)


async def test_a_bad_receiver_slows_nobody_and_gets_every_event(
    ann: Client, app: ASGIApp, busy: None, receiver: Receiver, post: Post
) -> None:
    restarting = []
    quiet, loud = Talk(), Talk()
    for n in range(TASKS):  # in turns, so that a busy machine is as busy for both
        await talk(ann, app, quiet, None, n)
        await talk(ann, app, loud, receiver.url(""), n)
        if n % 3 == 2:
            restarting.append(asyncio.create_task(receiver.restart()))
    print(f"\nwithout a receiver: {quiet}\nwith a bad one: {loud}")
    await asyncio.gather(*restarting)
    for before, now in ((quiet.sends, loud.sends), (quiet.streams, loud.streams)):
        assert max(now) < SLOW / 2
        assert median(now) < 2 * median(before) + 0.05

    deliveries = await post.until(settled, seconds=40)
    assert {d.state.value for d in deliveries} == {"delivered"}
    assert any(d.attempt > 1 for d in deliveries)
    assert receiver.restarts == 3
    for n in range(TASKS):
        streamed = loud.frames[n][1:]
        told = receiver.bodies(f"stream{n}")
        assert told[len(told) - len(streamed) :] == streamed
        for kind in ("send", "stream"):
            assert [_kind(body) for body in receiver.bodies(f"{kind}{n}")] == EVENTS


EVENTS = [
    ("task", "TASK_STATE_SUBMITTED"),
    *[("statusUpdate", "TASK_STATE_WORKING")] * 4,
    ("artifactUpdate", None),
    ("statusUpdate", "TASK_STATE_COMPLETED"),
]


def _kind(body: dict[str, Any]) -> tuple[str, str | None]:
    (name,) = body
    return name, body[name].get("status", {}).get("state")
