"""The lean writer of server-sent events: what ends a stream, and what its reader is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message, Scope

from core.errors import HubError, TooMany, Unavailable
from hub.sse import ABORT, EventStream, frame


class Reader:
    """The other end of a connection."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self.took = asyncio.Event()
        self.dropped = asyncio.Event()
        self._began = False

    async def receive(self) -> Message:
        if not self._began:
            self._began = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)
        if message.get("body"):
            self.took.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is not True


class Feed:
    """Chunks to be streamed, in the test's hands."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | HubError | None] = asyncio.Queue()
        self.closed = 0
        self.done = 0
        self.revoked = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, HubError):
                    raise item
                yield item
        finally:
            self.closed += 1

    def finish(self) -> None:
        self.done += 1

    async def ended(self, scope: Scope) -> None:
        await self.revoked.wait()

    def stream(self, stall_seconds: float = 30.0) -> EventStream:
        return EventStream(self.chunks(), until=self.ended, done=self.finish, stall_seconds=stall_seconds)


async def opened(feed: Feed, reader: Reader, stall_seconds: float = 30.0) -> "asyncio.Task[None]":
    """A stream that runs."""
    feed.queue.put_nowait(b": pos 0\n\n")
    stream = feed.stream(stall_seconds)
    await stream.open(b": connected\n\n")
    scope = {"type": "http", "method": "GET", ABORT: reader.dropped.set}
    return asyncio.create_task(stream(scope, reader.receive, reader.send))


async def over(feed: Feed, task: "asyncio.Task[None]") -> None:
    """It ended, and let go of everything, once."""
    async with asyncio.timeout(5):
        await task
    assert (feed.closed, feed.done) == (1, 1)


async def test_a_frame_has_its_number_its_kind_and_its_data() -> None:
    assert frame(b'{"a":1}', "task.created", 7) == b'id: 7\nevent: task.created\ndata: {"a":1}\n\n'
    assert frame(b"{}", "error") == b"event: error\ndata: {}\n\n"


async def test_a_feed_that_ends_ends_the_stream() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader)
    feed.queue.put_nowait(b"one\n\n")
    feed.queue.put_nowait(None)
    await over(feed, task)
    assert reader.text == ": connected\n\n: pos 0\n\none\n\n"
    assert reader.ended
    assert dict(reader.sent[0]["headers"])[b"cache-control"] == b"no-store"


async def test_a_reader_that_hangs_up_ends_the_stream() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader)
    reader.gone.set()
    await over(feed, task)


async def test_a_refusal_of_the_feed_is_the_last_event() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader)
    feed.queue.put_nowait(Unavailable("the hub is stopping"))
    await over(feed, task)
    assert reader.text.endswith(
        'event: error\ndata: {"error":{"code":"SERVICE_UNAVAILABLE","message":"the hub is stopping"}}\n\n'
    )
    assert reader.ended


async def test_a_refusal_before_the_first_chunk_is_an_ordinary_answer() -> None:
    feed = Feed()
    feed.queue.put_nowait(TooMany("later"))
    with pytest.raises(TooMany):
        await feed.stream().open(b"")
    assert (feed.closed, feed.done) == (1, 1)


async def test_a_credential_that_ends_ends_the_stream_with_the_reason() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader)
    feed.revoked.set()
    await over(feed, task)
    assert '"code":"UNAUTHORIZED"' in reader.text
    assert reader.ended


async def test_a_reader_that_stalls_and_wakes_up_gets_a_last_event() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader, stall_seconds=0.05)
    async with asyncio.timeout(5):
        await reader.took.wait()
    reader.reads.clear()
    feed.queue.put_nowait(b"never read\n\n")
    asyncio.get_running_loop().call_later(0.3, reader.reads.set)
    await over(feed, task)
    assert "never read" not in reader.text, "what was not taken comes again by the cursor"
    assert '"code":"RATE_LIMITED"' in reader.text
    assert reader.ended
    assert not reader.dropped.is_set()


async def test_a_reader_that_stalls_for_good_is_dropped_and_holds_nothing() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader, stall_seconds=0.05)
    reader.reads.clear()
    feed.queue.put_nowait(b"never read\n\n")
    await over(feed, task)
    assert reader.dropped.is_set()


async def test_a_cancelled_stream_lets_go_of_everything() -> None:
    feed, reader = Feed(), Reader()
    task = await opened(feed, reader)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (feed.closed, feed.done) == (1, 1)
