"""The official Python client of ACP against a real hub, over each transport."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import acp
import httpx
import pytest
from acp import schema
from acp.client.connection import ClientSideConnection
from acp.http.client import create_http_stream
from acp.ws.client import create_websocket_stream

from tests.conformance.acp_executor import TurnExecutor
from tests.conformance.hub_process import RunningHub, running_hub

ROOT = Path(__file__).parents[2]
SECONDS = 20.0


class Editor:
    """A client that shows nothing, and remembers everything."""

    def __init__(self, choose: Callable[[Any], str | None] = lambda request: "yes") -> None:
        self.updates: list[Any] = []
        self.asked: list[Any] = []
        self.choose = choose
        self.changed = asyncio.Event()

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Something happened."""
        self.updates.append(update)
        self.changed.set()

    async def request_permission(
        self, options: Any, session_id: str, tool_call: Any, **_: Any
    ) -> schema.RequestPermissionResponse:
        """The agent wants leave."""
        self.asked.append(tool_call)
        self.changed.set()
        option = self.choose(options)
        if option is None:
            await asyncio.Event().wait()
        return schema.RequestPermissionResponse.model_validate(
            {"outcome": {"outcome": "selected", "optionId": option}}
        )

    def on_connect(self, conn: Any) -> None:
        """Nothing to do."""

    @property
    def said(self) -> str:
        """What the agent said."""
        return "".join(
            u.content.text
            for u in self.updates
            if u.session_update == "agent_message_chunk" and u.content.type == "text"
        )

    async def until(self, seen: Callable[["Editor"], bool]) -> None:
        """Wait for something to be seen."""
        async with asyncio.timeout(SECONDS):
            while not seen(self):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def launched(url: str, key: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`crossdock acp`, as an editor starts it. It leaves by itself when the editor closes its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "hub", "acp", "--url", url),
        env={**os.environ, "PYTHONPATH": str(ROOT), "CROSSDOCK_API_KEY": key},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            assert await asyncio.wait_for(process.wait(), SECONDS) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@dataclass
class Place:
    """A hub, and a key for one of its users."""

    hub: RunningHub
    transport: str
    key: str = field(default="")

    @asynccontextmanager
    async def connect(self, editor: Editor, key: str | None = None) -> AsyncIterator[ClientSideConnection]:
        """An initialized connection of the official client."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        owned: httpx.AsyncClient | None = None
        if self.transport == "launcher":
            async with launched(self.hub.url, key or self.key) as process:
                connection = ClientSideConnection(editor, process.stdin, process.stdout)  # type: ignore[arg-type]
                async with asyncio.timeout(SECONDS):
                    await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
                yield connection
                await connection.close()
            return
        if self.transport == "websocket":
            stream = await create_websocket_stream(
                self.hub.url.replace("http", "ws", 1) + "/acp", headers=headers
            )
        else:
            owned = httpx.AsyncClient(timeout=httpx.Timeout(None))
            stream = create_http_stream(f"{self.hub.url}/acp", client=owned, headers=headers)
        connection = ClientSideConnection(editor, stream)  # type: ignore[arg-type]  # Editor is a Client by duck
        try:
            async with asyncio.timeout(SECONDS):
                await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
            yield connection
        finally:
            await connection.close()
            if owned is not None:
                await owned.aclose()


@pytest.fixture(scope="module")
def acp_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with somebody who does turns."""
    with running_hub(tmp_path_factory.mktemp("acp")) as hub, TurnExecutor(hub) as executor:
        yield hub
        assert not executor.faults, executor.faults


@pytest.fixture(params=["websocket", "http", "launcher"])
def place(acp_hub: RunningHub, request: pytest.FixtureRequest) -> Place:
    """The hub, over one transport, as somebody new."""
    return Place(acp_hub, request.param, acp_hub.key_for(f"{request.param}-{request.node.name}"))


def text(words: str) -> list[Any]:
    return [schema.TextContentBlock(type="text", text=words)]


async def test_a_prompt_is_answered_by_what_the_agent_says(place: Place) -> None:
    editor = Editor()
    async with place.connect(editor) as connection, asyncio.timeout(SECONDS):
        session = await connection.new_session(cwd="/work", mcp_servers=[])
        answer = await connection.prompt(session_id=session.session_id, prompt=text("say one two three"))
        assert answer.stop_reason == "end_turn"
        assert editor.said == "one two three "


async def test_leave_is_asked_of_the_editor_and_its_answer_reaches_the_agent(place: Place) -> None:
    for choice, told in (("yes", "approved"), ("no", "rejected")):
        editor = Editor(lambda _, choice=choice: choice)  # type: ignore[misc]
        async with place.connect(editor) as connection, asyncio.timeout(SECONDS):
            session = await connection.new_session(cwd="/work", mcp_servers=[])
            await connection.prompt(session_id=session.session_id, prompt=text("ask it"))
            (call,) = editor.asked
            assert call.tool_call_id == "call-1"
            assert f"{told} it" in editor.said


async def test_a_turn_is_cancelled(place: Place) -> None:
    editor = Editor()
    async with place.connect(editor) as connection, asyncio.timeout(SECONDS):
        session = await connection.new_session(cwd="/work", mcp_servers=[])
        turn = asyncio.ensure_future(connection.prompt(session_id=session.session_id, prompt=text("wait")))
        await editor.until(lambda e: e.said == "waiting")
        await connection.cancel(session_id=session.session_id)
        assert (await turn).stop_reason == "cancelled"


async def test_a_session_is_loaded_as_it_was_seen_and_listed_and_closed(place: Place) -> None:
    first, second = Editor(), Editor()
    async with asyncio.timeout(SECONDS):
        async with place.connect(first) as connection:
            session = await connection.new_session(cwd="/work", mcp_servers=[])
            await connection.prompt(session_id=session.session_id, prompt=text("say hello there"))
        async with place.connect(second) as connection:
            await connection.load_session(cwd="/work", session_id=session.session_id, mcp_servers=[])
            assert second.said == first.said
            listed = await connection.list_sessions(cwd="/work")
            assert [one.session_id for one in listed.sessions] == [session.session_id]
            await connection.close_session(session_id=session.session_id)


async def test_another_owners_session_is_not_there(place: Place) -> None:
    editor = Editor()
    stranger = place.hub.key_for("stranger")
    async with asyncio.timeout(SECONDS), place.connect(editor) as connection:
        session = await connection.new_session(cwd="/work", mcp_servers=[])
        async with place.connect(Editor(), stranger) as other:
            for call in (
                other.load_session(cwd="/work", session_id=session.session_id, mcp_servers=[]),
                other.resume_session(cwd="/work", session_id=session.session_id, mcp_servers=[]),
                other.prompt(session_id=session.session_id, prompt=text("say no")),
                other.close_session(session_id=session.session_id),
            ):
                with pytest.raises(acp.RequestError) as refused:
                    await call
                assert refused.value.code in (-32002, -32602)


async def test_leave_that_is_given_over_rest_leaves_the_editor(place: Place) -> None:
    editor = Editor(lambda _: None)
    async with asyncio.timeout(SECONDS), place.connect(editor) as connection:
        session = await connection.new_session(cwd="/work", mcp_servers=[])
        turn = asyncio.ensure_future(connection.prompt(session_id=session.session_id, prompt=text("ask x")))
        await editor.until(lambda e: bool(e.asked))
        headers = {"Authorization": f"Bearer {place.key}"}
        async with httpx.AsyncClient(base_url=place.hub.url, headers=headers) as rest:
            (pending,) = (await rest.get("/api/v1/approvals")).json()["data"]["approvals"]
            path = f"/api/v1/approvals/{pending['id']}"
            assert (await rest.post(path, json={"option_id": "yes"})).status_code == 200
        assert (await turn).stop_reason == "end_turn"
        assert "approved x" in editor.said
