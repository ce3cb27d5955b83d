"""What the symmetric peer promises, over a wire of lists."""

import asyncio
import json
from typing import Any

import pytest

from adapters.jsonrpc_peer import CANCEL, LATER, Call, Closed, Outstanding, Peer, RpcError

pytestmark = pytest.mark.timeout(10)


class Wire:
    """A peer, what it sent, and what its handler got."""

    def __init__(self, *, in_flight: int = 128) -> None:
        self.sent: list[dict[str, Any]] = []
        self.handled: list[str] = []
        self.kept: list[Call] = []
        self.peer = Peer(self._send, self._handle, in_flight=in_flight)

    async def _send(self, data: bytes, route: str | None) -> None:
        self.sent.append(json.loads(data))

    async def _handle(self, call: Call) -> Any:
        self.handled.append(call.method)
        if call.method == "echo":
            return call.params
        if call.method == "slow":
            self.kept.append(call)
            return LATER
        if call.method == "broken":
            raise ZeroDivisionError
        raise RpcError(-32601, "unknown")

    async def feed(self, message: Any) -> list[dict[str, Any]]:
        """Feed it, and take what was sent meanwhile."""
        before = len(self.sent)
        await self.peer.feed(message if isinstance(message, bytes) else json.dumps(message).encode())
        return self.sent[before:]

    async def ask(self, method: str, id: Any = 1, **params: Any) -> list[dict[str, Any]]:
        """Feed a request."""
        return await self.feed({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def code(messages: list[dict[str, Any]]) -> int:
    (message,) = messages
    found: int = message["error"]["code"]
    return found


@pytest.mark.parametrize("id", [1, "1", None, "", -3])
async def test_an_id_comes_back_with_its_type(id: Any) -> None:
    assert await Wire().ask("echo", id, a=1) == [{"jsonrpc": "2.0", "id": id, "result": {"a": 1}}]


async def test_ids_that_differ_only_in_type_are_different_requests() -> None:
    wire = Wire()
    await wire.ask("slow", 1)
    await wire.ask("slow", "1")
    assert wire.peer.in_flight == 2
    await wire.kept[1].respond("second")
    assert wire.sent == [{"jsonrpc": "2.0", "id": "1", "result": "second"}]


@pytest.mark.parametrize(
    ("message", "expected", "id"),
    [
        (b"{not json", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"echo"}', -32700, None),
        ([{"jsonrpc": "2.0", "id": 1, "method": "echo"}], -32600, None),
        ([], -32600, None),
        ("text", -32600, None),
        ({"jsonrpc": "1.0", "id": 7, "method": "echo"}, -32600, 7),
        ({"id": 7, "method": "echo"}, -32600, 7),
        ({"jsonrpc": "2.0", "id": 7}, -32600, 7),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "echo"}, -32600, None),
        ({"jsonrpc": "2.0", "id": True, "method": "echo"}, -32600, None),
        ({"jsonrpc": "2.0", "id": 7, "method": "echo", "params": [1]}, -32602, 7),
        ({"jsonrpc": "2.0", "id": 7, "method": "echo", "params": "x"}, -32602, 7),
        ({"jsonrpc": "2.0", "id": "x" * 1025, "method": "echo"}, -32600, "x" * 1025),
        ({"jsonrpc": "2.0", "id": 7, "method": "unknown"}, -32601, 7),
        ({"jsonrpc": "2.0", "id": 7, "method": "broken"}, -32603, 7),
    ],
)
async def test_a_wrong_message_gets_its_error_and_the_connection_lives_on(
    message: Any, expected: int, id: Any
) -> None:
    wire = Wire()
    answers = await wire.feed(message)
    assert code(answers) == expected
    assert answers[0]["id"] == (None if isinstance(id, str) else id)
    assert await wire.ask("echo") == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


@pytest.mark.parametrize("params", [{}, {"params": None}])
async def test_absent_and_null_parameters_are_an_empty_object(params: dict[str, Any]) -> None:
    answers = await Wire().feed({"jsonrpc": "2.0", "id": 1, "method": "echo", **params})
    assert answers[0]["result"] == {}


@pytest.mark.parametrize("method", ["echo", "unknown", "broken"])
async def test_a_notification_is_never_answered(method: str) -> None:
    wire = Wire()
    assert await wire.feed({"jsonrpc": "2.0", "method": method}) == []
    assert wire.handled == [method]


async def test_a_duplicate_id_is_refused_under_no_id_and_the_first_request_stands() -> None:
    wire = Wire()
    await wire.ask("slow", 1)
    answers = await wire.ask("slow", 1)
    assert code(answers) == -32600
    assert answers[0]["id"] is None
    await wire.kept[0].respond({})
    assert wire.sent[-1] == {"jsonrpc": "2.0", "id": 1, "result": {}}


async def test_a_call_is_answered_once() -> None:
    wire = Wire()
    await wire.ask("slow")
    await wire.kept[0].respond(1)
    await wire.kept[0].fail(RpcError(-1, "late"))
    assert len(wire.sent) == 1


async def test_requests_beyond_the_limit_are_refused_until_one_is_answered() -> None:
    wire = Wire(in_flight=2)
    for id in (1, 2):
        await wire.ask("slow", id)
    assert code(await wire.ask("echo", 3)) == -31429
    await wire.kept[0].respond({})
    assert (await wire.ask("echo", 4))[0]["result"] == {}


async def test_messages_are_handled_one_after_the_other() -> None:
    order: list[str] = []
    started = asyncio.Event()
    go = asyncio.Event()

    async def handle(call: Call) -> Any:
        order.append(f"begin {call.method}")
        if call.method == "first":
            started.set()
            await go.wait()
        order.append(f"end {call.method}")
        return {}

    async def send(data: bytes, route: str | None) -> None:
        order.append("sent")

    peer = Peer(send, handle)

    async def feed_both() -> None:
        for method in ("first", "second"):
            await peer.feed(json.dumps({"jsonrpc": "2.0", "id": method, "method": method}).encode())

    feeding = asyncio.create_task(feed_both())
    await started.wait()
    go.set()
    await feeding
    assert order == ["begin first", "end first", "sent", "begin second", "end second", "sent"]


async def test_cancelling_a_later_call_answers_it_as_cancelled() -> None:
    wire = Wire()
    await wire.ask("slow", "a")
    answers = await wire.feed({"jsonrpc": "2.0", "method": CANCEL, "params": {"requestId": "a"}})
    assert code(answers) == -32800
    assert await wire.feed({"jsonrpc": "2.0", "method": CANCEL, "params": {"requestId": "a"}}) == []


async def test_a_call_may_say_itself_what_cancelling_it_does() -> None:
    wire = Wire()
    await wire.ask("slow", 1)
    call = wire.kept[0]

    async def stop() -> None:
        await call.respond({"stopReason": "cancelled"})

    call.on_cancel = stop
    answers = await wire.feed({"jsonrpc": "2.0", "method": CANCEL, "params": {"requestId": 1}})
    assert answers == [{"jsonrpc": "2.0", "id": 1, "result": {"stopReason": "cancelled"}}]


@pytest.mark.parametrize("params", [None, {}, {"requestId": "other"}, {"requestId": [1]}, [1], "x"])
async def test_cancelling_nothing_does_nothing(params: Any) -> None:
    assert await Wire().feed({"jsonrpc": "2.0", "method": CANCEL, "params": params}) == []


async def test_our_requests_get_their_answers() -> None:
    wire = Wire()
    one = asyncio.create_task(wire.peer.request("a", {}))
    two = asyncio.create_task(wire.peer.request("b", {}))
    await until(lambda: len(wire.sent) == 2)
    await wire.feed({"jsonrpc": "2.0", "id": wire.sent[1]["id"], "result": "B"})
    await wire.feed({"jsonrpc": "2.0", "id": wire.sent[0]["id"], "error": {"code": -5, "message": "no"}})
    assert await two == "B"
    with pytest.raises(RpcError, match="no"):
        await one
    assert wire.peer.asked == 0


@pytest.mark.parametrize("id", [99, "1", None])
async def test_an_answer_to_nothing_is_dropped(id: Any) -> None:
    wire = Wire()
    outstanding = await wire.peer.ask("a", {})
    assert await wire.feed({"jsonrpc": "2.0", "id": id, "result": 1}) == []
    assert not outstanding.answer.done()


async def test_giving_up_tells_the_other_side_once() -> None:
    wire = Wire()
    waiting = asyncio.create_task(wire.peer.request("a", {}))
    await until(lambda: bool(wire.sent))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    id = wire.sent[0]["id"]
    assert wire.sent[1:] == [{"jsonrpc": "2.0", "method": CANCEL, "params": {"requestId": id}}]
    assert await wire.feed({"jsonrpc": "2.0", "id": id, "result": 1}) == []


async def test_withdrawing_an_answered_request_says_nothing() -> None:
    wire = Wire()
    outstanding = await wire.peer.ask("a", {})
    await wire.feed({"jsonrpc": "2.0", "id": outstanding.id, "result": 1})
    await outstanding.withdraw()
    assert len(wire.sent) == 1


async def test_closing_ends_every_wait_and_sends_nothing_more() -> None:
    wire = Wire()
    await wire.ask("slow")
    outstanding: Outstanding = await wire.peer.ask("a", {})
    wire.peer.close()
    with pytest.raises(Closed):
        await outstanding.answer
    with pytest.raises(Closed):
        await wire.kept[0].respond({})
    with pytest.raises(Closed):
        await wire.peer.notify("x", {})
    assert await wire.ask("echo", 5) == []


async def until(true: Any) -> None:
    """Let others run until something is so; the test's timeout bounds it."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0)
