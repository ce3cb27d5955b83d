"""Server-sent events over ASGI: framing, heartbeats, ends."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from adapters.a2a import sse


async def never() -> Any:
    await asyncio.Event().wait()


def stream(chunks: AsyncGenerator[bytes, None], **options: Any) -> sse.EventStream:
    given: dict[str, Any] = {
        "heartbeat_seconds": 60.0,
        "revoked": never,
        "farewell": lambda reason: f"bye: {type(reason).__name__}".encode(),
        "headers": {"X-Note": "1"},
        **options,
    }
    return sse.EventStream(chunks, **given)


async def serve(answer: sse.EventStream, send: Any, receive: Any = never) -> None:
    async with asyncio.timeout(5):
        await answer({"type": "http"}, receive, send)


def test_an_event_is_framed_with_its_number_and_kind() -> None:
    assert sse.event(b"{}") == b"data: {}\n\n"
    assert sse.event(b"{}", id="7.1", kind="error") == b"event: error\nid: 7.1\ndata: {}\n\n"


@given(st.lists(st.tuples(st.integers(1, 4), st.text())), st.integers(0, 99))
def test_a_reader_goes_on_after_any_of_the_ids(batch: list[tuple[int, str]], stop: int) -> None:
    batch.sort(key=lambda item: item[0])
    told = list(sse.numbered(batch))
    assert [item for _, item in told] == [item for _, item in batch]
    assert len({id for id, _ in told}) == len(told)
    assert {id for id, _ in told if "." not in id} == {str(number) for number, _ in batch}
    if told:
        stop %= len(told)
        cursor = sse.Cursor.of(told[stop][0])
        later = [item for item in batch if item[0] > cursor.number]
        assert cursor.further_than(later) == batch[stop + 1 :]


@pytest.mark.parametrize("id", ["", "0", "-1", "1.0", "1.", ".1", "01", "x", "1 ", "1.2.3", "9" * 10, "١"])
def test_what_is_no_id_leads_nowhere(id: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        sse.Cursor.of(id)


async def test_chunks_go_out_as_they_come_and_the_source_is_closed() -> None:
    sent: list[Message] = []
    closed = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.set()

    async def send(message: Message) -> None:
        sent.append(message)

    await serve(stream(chunks()), send)
    assert (b"x-note", b"1") in sent[0]["headers"]
    assert [(m["body"], m["more_body"]) for m in sent[1:]] == [(b"one", True), (b"two", True), (b"", False)]
    assert closed.is_set()


async def test_a_reader_that_takes_nothing_is_left_and_the_source_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await never()

    monkeypatch.setattr(sse, "LAST_WORD_SECONDS", 0.01)
    await serve(stream(chunks(), stall_seconds=0.01), send)
    assert closed.is_set()


async def test_a_slow_reader_that_takes_a_last_word_gets_it() -> None:
    sent: list[bytes] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"x"

    async def send(message: Message) -> None:
        if message.get("body") == b"x":
            await never()
        sent.append(message.get("body", b""))

    await serve(stream(chunks(), stall_seconds=0.01), send)
    assert sent[-1] == b"bye: TooMany"


async def test_the_client_may_leave_while_nothing_happens() -> None:
    closed = asyncio.Event()
    left: asyncio.Queue[Message] = asyncio.Queue()

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            await never()
        finally:
            closed.set()

    async def send(message: Message) -> None:
        if message.get("body") == b"one":
            left.put_nowait({"type": "http.disconnect"})

    await serve(stream(chunks()), send, left.get)
    assert closed.is_set()
