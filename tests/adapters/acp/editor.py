"""A raw ACP client of a hub in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.adapters.acp.wires import PATIENCE, WIRES, Wire
from tests.hub.api.hub import Hub

CWD = "/home/ann/project"


class Fault(Exception):
    """An error answer."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error)
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class Editor:
    """A client and what it has heard: `updates`, `asked` (requests of the hub), `withdrawn`, and all."""

    def __init__(self, wire: Callable[[Callable[[Any], None]], Wire]) -> None:
        self.heard: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.withdrawn: list[Any] = []
        self.initialized: dict[str, Any] = {}
        self.wire = wire(self._hear)
        self._news = asyncio.Event()
        self._last = 0
        self._answers: dict[Any, asyncio.Future[Any]] = {}

    def _hear(self, message: Any) -> None:
        self.heard.append(message)
        if "method" not in message:
            waiting = self._answers.pop(message.get("id"), None)
            if waiting is not None and not waiting.done():
                if "error" in message:
                    waiting.set_exception(Fault(message["error"]))
                else:
                    waiting.set_result(message["result"])
        elif message["method"] == "$/cancel_request":
            self.withdrawn.append(message["params"]["requestId"])
        elif "id" in message:
            self.asked.append(message)
        self._news.set()

    @property
    def updates(self) -> list[dict[str, Any]]:
        """The updates of all sessions, in order."""
        return [m["params"]["update"] for m in self.heard if m.get("method") == "session/update"]

    def kinds(self) -> list[str]:
        """What kinds of updates came."""
        return [update["sessionUpdate"] for update in self.updates]

    def text(self, role: str = "agent") -> str:
        """What one side said, all of it."""
        kind = f"{role}_message_chunk"
        said = [update["content"] for update in self.updates if update["sessionUpdate"] == kind]
        return "".join(block.get("text", f"<{block['type']}>") for block in said)

    def text_of(self, session_id: str) -> str:
        """What the agent said in one session."""
        told = [m["params"] for m in self.heard if m.get("method") == "session/update"]
        of = [p["update"] for p in told if p["sessionId"] == session_id]
        return "".join(u["content"]["text"] for u in of if u["sessionUpdate"] == "agent_message_chunk")

    def errors(self) -> list[tuple[Any, int]]:
        """Ids and codes of the error answers."""
        return [(m.get("id"), m["error"]["code"]) for m in self.heard if "error" in m]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` says, once it says something."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := holds()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"it never came; heard: {self.heard}") from None
        return found

    def start(self, method: str, params: Any = None, id: Any = None) -> "asyncio.Future[Any]":
        """Send a request; the answer comes by the future."""
        self._last += 1
        named = self._last if id is None else id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answers[named] = answer
        message = {"jsonrpc": "2.0", "id": named, "method": method}
        self._sending = asyncio.create_task(
            self.wire.send(message if params is None else message | {"params": params})
        )
        return answer

    async def call(self, method: str, params: Any = None) -> Any:
        """The result. Raises `Fault`."""
        async with asyncio.timeout(PATIENCE):
            return await self.start(method, params)

    async def fault(self, method: str, params: Any = None) -> Fault:
        """The error, which must be one."""
        try:
            result = await self.call(method, params)
        except Fault as fault:
            return fault
        raise AssertionError(f"{method} was answered: {result}")

    async def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        await self.wire.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def respond(self, asked: Mapping[str, Any], result: Any) -> None:
        """Answer a request of the hub."""
        await self.wire.send({"jsonrpc": "2.0", "id": asked["id"], "result": result})

    async def choose(self, asked: Mapping[str, Any], option: str) -> None:
        """Answer a permission request."""
        await self.respond(asked, {"outcome": {"outcome": "selected", "optionId": option}})

    async def new(self, **params: Any) -> str:
        """A new session."""
        result = await self.call("session/new", {"cwd": CWD, "mcpServers": [], **params})
        session_id: str = result["sessionId"]
        return session_id

    async def load(self, session_id: str, **params: Any) -> Any:
        """Load a session."""
        return await self.call(
            "session/load", {"sessionId": session_id, "cwd": CWD, "mcpServers": [], **params}
        )

    def prompt(self, session_id: str, text: str, **params: Any) -> "asyncio.Future[Any]":
        """Begin a turn."""
        blocks = [{"type": "text", "text": text}]
        return self.start("session/prompt", {"sessionId": session_id, "prompt": blocks, **params})

    async def settled(self, answer: "asyncio.Future[Any]") -> Any:
        """What a turn ended with."""
        async with asyncio.timeout(PATIENCE):
            return await answer


@asynccontextmanager
async def connected(
    hub: Hub,
    key: str,
    transport: str = "websocket",
    *,
    capabilities: Mapping[str, Any] | None = None,
    initialize: bool = True,
    headers: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> AsyncIterator[Editor]:
    """A client on a connection, initialized unless told otherwise."""
    editor = Editor(lambda hear: WIRES[transport](hub.app.asgi, key, hear, headers or {}))
    await editor.wire.open()
    try:
        if initialize:
            said: dict[str, Any] = {"protocolVersion": 1, "clientCapabilities": dict(capabilities or {})}
            if meta is not None:
                said["_meta"] = meta
            editor.initialized = await editor.call("initialize", said)
        yield editor
    finally:
        await editor.wire.close()
