"""An editor as a raw ACP client of a hub in another process, over WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

PATIENCE = 60.0
STANDING = frozenset(
    {
        "available_commands_update",
        "current_mode_update",
        "config_option_update",
        "session_info_update",
        "usage_update",
    }
)
"""Of these a load tells the last."""


class SocketEditor:
    """A client, and what it has heard."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.updates: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._news = asyncio.Condition()

    async def read(self) -> None:
        """Listen until the connection ends."""
        async for frame in self._socket:
            message = json.loads(frame.data)
            if "method" not in message:
                waiting = self._answers.get(message["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            elif message["method"] == "session/update":
                self.updates.append(message["params"]["update"])
            elif "id" in message:
                self.asked.append(message)
            async with self._news:
                self._news.notify_all()

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for something to be heard."""
        async with asyncio.timeout(PATIENCE), self._news:
            return await self._news.wait_for(holds)

    async def begin(self, method: str, params: Mapping[str, Any]) -> "asyncio.Future[Any]":
        """Send a request; its answer comes by the future, the whole of it."""
        id = len(self._answers) + 1
        self._answers[id] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return self._answers[id]

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """The result of a request."""
        async with asyncio.timeout(PATIENCE):
            answer = await (await self.begin(method, params))
        assert "result" in answer, answer
        return answer["result"]

    async def prompt(self, session_id: str, text: str, **meta: Any) -> "asyncio.Future[Any]":
        """Begin a turn."""
        prompt = [{"type": "text", "text": text}]
        return await self.begin("session/prompt", {"sessionId": session_id, "prompt": prompt, "_meta": meta})

    async def turn(self, session_id: str, text: str) -> Any:
        """Do a turn; its result."""
        async with asyncio.timeout(PATIENCE):
            answer = await (await self.prompt(session_id, text))
        assert "result" in answer, answer
        return answer["result"]

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification."""
        await self._socket.send_json({"jsonrpc": "2.0", "method": method, "params": params})

    async def choose(self, asked: Mapping[str, Any], kind: str) -> None:
        """Answer a permission request by the first option of a kind."""
        option = next(o["optionId"] for o in asked["params"]["options"] if o["kind"] == kind)
        outcome = {"outcome": "selected", "optionId": option}
        await self._socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": {"outcome": outcome}})

    @property
    def text(self) -> str:
        """What the agent said, all of it."""
        said = [u["content"] for u in self.updates if u["sessionUpdate"] == "agent_message_chunk"]
        return "".join(block["text"] for block in said)


@asynccontextmanager
async def editor(url: str, key: str, **capabilities: Any) -> AsyncIterator[SocketEditor]:
    """An editor that has introduced itself."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{url}/acp", max_msg_size=0) as socket,
    ):
        client = SocketEditor(socket)
        reading = asyncio.create_task(client.read())
        try:
            await client.call("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities})
            yield client
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def told(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What updates come to: chunks of a message as one, without what stands and what the user said."""
    found: list[dict[str, Any]] = []
    for update in updates:
        kind = update["sessionUpdate"]
        if kind in STANDING or kind == "user_message_chunk":
            continue
        last = found[-1] if found else {}
        same = last.get("sessionUpdate") == kind and last.get("messageId") == update.get("messageId")
        if kind.endswith("_chunk") and same and "text" in update["content"]:
            text = last["content"]["text"] + update["content"]["text"]
            found[-1] = {**last, "content": {**last["content"], "text": text}}
        else:
            found.append(update)
    return found
