"""What an editor is answered by the launcher itself, whatever the hub does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hub.launcher import bridge as module
from hub.launcher.bridge import Bridge, Gone
from hub.launcher.stdio import Lines
from schemas.acp import MAX_MESSAGE_BYTES

requirement = pytest.mark.requirement
INITIALIZE = {
    "protocolVersion": 1,
    "clientCapabilities": {"auth": {"terminal": True}},
}


class Ends:
    """Both ends of a bridge: what it has said to each."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.asked: list[Any] = []
        self.bridge = Bridge(self._tell, "9.9", tags=["local:1"], agent=None)

    async def _tell(self, line: bytes) -> None:
        assert b"\n" not in line
        self.told.append(json.loads(line))

    async def send(self, line: bytes) -> None:
        """What goes to the hub."""
        self.asked.append(json.loads(line))

    async def say(self, method: str, params: Any = None, id: Any = None) -> None:
        """The editor says something."""
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        await self.hear(message if id is None else message | {"id": id})

    async def hear(self, message: Any) -> None:
        """A line of the editor."""
        await self.bridge.hear_editor(json.dumps(message).encode())

    async def answer(self, asked: Any, result: Any) -> None:
        """The hub answers."""
        await self.bridge.hear_hub(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once it holds."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    async def of_hub(self, method: str, params: Any, id: Any = None) -> None:
        """The hub says something."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        await self.bridge.hear_hub(json.dumps(message if id is None else message | {"id": id}))


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A bridge that is connected to nothing."""
    ends = Ends()
    yield ends
    await ends.bridge.refuse("the test is over")


@pytest.fixture
async def connected(ends: Ends) -> Ends:
    """One whose editor and hub have met."""
    await ends.bridge.attach(ends.send)
    await ends.say("initialize", INITIALIZE, id=0)
    await ends.answer(ends.asked[0], {"protocolVersion": 1})
    ends.asked.clear()
    ends.told.clear()
    return ends


@requirement("rpc-envelope", "rpc-batch", on="launcher")
@pytest.mark.parametrize(
    ("line", "code", "id"),
    [
        (b"nonsense", -32700, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","id":1,"method":"x"}]', -32600, None),
        (b"7", -32600, None),
        (b'{"id":4,"method":"x"}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"x"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":"a","method":7}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":5}', -32600, 5),
        (b'{"jsonrpc":"2.0","id":6,"method":"x","params":{"n":NaN}}', -32700, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":' + b"[" * 500 + b"]" * 500 + b"}", -32700, None),
        (b"\xff\xfe", -32700, None),
    ],
)
async def test_a_line_that_is_no_message_is_answered_and_goes_no_further(
    connected: Ends, line: bytes, code: int, id: Any
) -> None:
    await connected.bridge.hear_editor(line)
    (told,) = connected.told
    assert (told["error"]["code"], told["id"]) == (code, id)
    assert connected.asked == []


@requirement("limits-message", on="launcher")
async def test_a_line_that_is_too_long_is_answered_under_its_id_and_not_kept(connected: Ends) -> None:
    lines = Lines(1000)
    start = b'{"jsonrpc":"2.0","id":"big","method":"session/prompt","params":{"x":"'
    found = lines.feed(start)
    for _ in range(2000):
        found += lines.feed(b"a" * 1000)
    found += lines.feed(b'"}}\n{"next":1}\n')
    assert [long for _, long in found] == [True, False]
    assert found[1][0] == b'{"next":1}'
    await connected.bridge.too_long(found[0][0])
    assert (connected.told[0]["id"], connected.told[0]["error"]["code"]) == ("big", -32600)


async def test_what_grows_beyond_a_message_on_its_way_is_refused(connected: Ends) -> None:
    blocks = [{"type": "text", "text": "a" * (MAX_MESSAGE_BYTES - 150)}]
    await connected.say("session/prompt", {"sessionId": "s", "prompt": blocks}, id=1)
    assert connected.told[0]["error"]["code"] == -32600
    assert connected.asked == []


@requirement("initialize-first", "initialize-once", on="launcher")
async def test_nothing_comes_before_initialize_and_it_comes_once(ends: Ends) -> None:
    await ends.say("session/list", id=1)
    await ends.say("initialize", INITIALIZE, id=2)
    await ends.say("initialize", INITIALIZE, id=3)
    assert [(told["id"], told["error"]["code"]) for told in ends.told] == [(1, -32600), (3, -32600)]


@requirement("rpc-ids", on="launcher")
async def test_an_id_that_is_being_answered_is_refused_under_no_id(connected: Ends) -> None:
    await connected.say("session/list", id=1)
    await connected.say("session/list", id=1)
    await connected.say("session/list", id="1")
    assert [told["id"] for told in connected.told] == [None]
    assert [asked["id"] for asked in connected.asked] == [1, "1"]


@requirement("limits-in-flight", on="launcher")
async def test_requests_that_wait_are_bounded(connected: Ends) -> None:
    for number in range(module.MOST_PENDING + 1):
        await connected.say("session/list", id=number)
    (told,) = connected.told
    assert (told["id"], told["error"]["code"]) == (module.MOST_PENDING, -31429)


@requirement("initialize-version", "auth-methods", "auth-terminal", on="launcher")
async def test_an_editor_is_not_kept_waiting_by_a_hub_that_is_away(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    await ends.say("initialize", INITIALIZE, id=0)
    await ends.until(lambda: bool(ends.told))
    assert ends.told[0]["result"]["agentCapabilities"]["loadSession"] is True
    assert [method["id"] for method in ends.told[0]["result"]["authMethods"]] == ["hub-login", "hub-token"]
    await ends.say("session/new", {"cwd": "/", "mcpServers": []}, id=1)
    attaching = asyncio.create_task(ends.bridge.attach(ends.send))
    await ends.until(lambda: bool(ends.asked))
    assert ends.asked[0]["method"] == "initialize"
    await ends.answer(ends.asked[0], {"protocolVersion": 1})
    await attaching
    assert [asked["method"] for asked in ends.asked] == ["initialize", "session/new"]
    assert ends.asked[1]["params"]["_meta"]["crossdock/tags"] == ["local:1"]


@requirement("auth-required", on="launcher")
async def test_who_is_not_let_in_is_told_how_to_get_in_and_may_try_again(ends: Ends) -> None:
    await ends.say("initialize", INITIALIZE, id=0)
    await ends.bridge.refuse("no key")
    await ends.say("session/new", {"cwd": "/", "mcpServers": []}, id=1)
    assert "result" in ends.told[0]
    assert (ends.told[1]["error"]["code"], ends.told[1]["error"]["message"]) == (-32000, "no key")
    await ends.say("authenticate", {"methodId": "hub-login"}, id=2)
    assert ends.told[2]["error"]["code"] == -32000
    await ends.say("authenticate", {"methodId": "hub-token"}, id=3)
    assert ends.bridge.try_again.is_set()
    attaching = asyncio.create_task(ends.bridge.attach(ends.send))
    await ends.until(lambda: bool(ends.asked))
    await ends.answer(ends.asked[0], {"protocolVersion": 1})
    await attaching
    await ends.answer(ends.asked[1], {})
    assert ends.told[-1] == {"jsonrpc": "2.0", "id": 3, "result": {}}


async def test_a_load_that_was_cut_short_goes_on_where_it_was(connected: Ends) -> None:
    await connected.say("session/load", {"sessionId": "s", "cwd": "/", "mcpServers": []}, id=1)
    update = {"sessionId": "s", "update": {}, "_meta": {"crossdock/seq": "7.2"}}
    await connected.of_hub("session/update", update)
    await connected.bridge.detach(broke=False)
    connected.asked.clear()
    attaching = asyncio.create_task(connected.bridge.attach(connected.send))
    await connected.until(lambda: bool(connected.asked))
    await connected.answer(connected.asked[0], {"protocolVersion": 1})
    await attaching
    assert connected.asked[1]["params"]["_meta"]["crossdock/afterSeq"] == "7.2"


async def test_a_request_over_which_the_hub_breaks_is_not_asked_for_ever(ends: Ends) -> None:
    await ends.say("initialize", INITIALIZE, id=0)
    for _ in range(module.MOST_TRIES):
        assert not ends.told
        await ends.bridge.attach(ends.send)
        await ends.bridge.detach(broke=True)
    assert (ends.told[0]["id"], ends.told[0]["error"]["code"]) == (0, -32603)


async def test_a_question_without_a_name_is_withdrawn_when_its_connection_ends(connected: Ends) -> None:
    await connected.of_hub("fs/read_text_file", {"sessionId": "s", "path": "/a"}, id=1)
    assert connected.told[0]["id"] == 1
    await connected.bridge.detach(broke=False)
    assert connected.told[1]["params"] == {"requestId": 1}


async def test_a_connection_that_ends_while_it_is_brought_up_to_date_says_so(connected: Ends) -> None:
    await connected.bridge.detach(broke=False)
    connected.asked.clear()
    attaching = asyncio.create_task(connected.bridge.attach(connected.send))
    await connected.until(lambda: bool(connected.asked))
    await connected.bridge.detach(broke=False)
    with pytest.raises(Gone):
        await attaching
