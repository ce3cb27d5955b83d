"""A whole hub in this process, without a socket: requests go straight into its ASGI app."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from starlette.types import Message

from core import bootstrap
from core.auth import issue_key
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM
from core.principals import OwnerType, ensure_principal
from core.store import Store, Tx
from hub.app import App, build
from hub.secret_file import HubSecret
from hub.settings import Settings
from schemas.vocabulary import Scope
from tests.answered import witnessed

SECRET = HubSecret("s" * 48, None, None, False)
ADMIN_KEY = "an-admin-key-for-tests-only"
UNLIKELY = "0197a3c2-8b1e-7c44-9d3a-2f6b1c0d4e5f"
"""A UUID that nothing has."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """What is inside the envelope."""
        assert self.status < 300, (self.status, self.body)
        return self.json["data"]

    @property
    def code(self) -> str:
        """The error's code."""
        code: str = self.json["error"]["code"]
        return code

    @property
    def reason(self) -> str | None:
        """The error's `reason_code`."""
        reason: str | None = self.json["error"].get("details", {}).get("reason_code")
        return reason


@dataclass(frozen=True)
class Mint:
    """A key to be made in some tenant."""

    scope: Scope
    owner: str
    tenant_id: UUID


async def mint(tx: Tx, command: Mint) -> str:
    """Make the tenant if need be, a principal, and a key for it."""
    slug = str(command.tenant_id)
    await tx.run(
        bootstrap.TENANT, id=command.tenant_id, slug=slug, name=slug, is_active=True, created_at=tx.now
    )
    owner = await ensure_principal(tx, command.tenant_id, OwnerType.USER, command.owner, command.owner)
    key = issue_key(tx, owner, command.scope).api_key
    assert key is not None
    return key


class Stream:
    """An answer that is still coming."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.text = ""
        self.ended = False
        self._more = asyncio.Event()
        self._gone = asyncio.Event()
        self._blocked: asyncio.Event | None = None
        self._asked = False

    async def receive(self) -> Message:
        """The request, which has no body, and then silence until `hang_up`."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a piece of the answer, unless reading is blocked."""
        if self._blocked is not None:
            await self._blocked.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()
            self.ended = not message.get("more_body", False)
        self._more.set()

    def block(self) -> None:
        """Read nothing more, as a client with a full buffer."""
        self._blocked = asyncio.Event()

    def unblock(self) -> None:
        """Read again."""
        assert self._blocked is not None
        self._blocked.set()
        self._blocked = None

    def hang_up(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def started(self, seconds: float = 30.0) -> int:
        """The status, once the answer has begun."""
        async with asyncio.timeout(seconds):
            while not self.status:
                self._more.clear()
                await self._more.wait()
        return self.status

    async def until(self, text: str, seconds: float = 30.0) -> str:
        """All that was read, once `text` is in it."""
        async with asyncio.timeout(seconds):
            while text not in self.text:
                self._more.clear()
                await self._more.wait()
        return self.text

    async def end(self, seconds: float = 30.0) -> str:
        """All that was read, once the hub has ended the answer."""
        async with asyncio.timeout(seconds):
            while not self.ended:
                self._more.clear()
                await self._more.wait()
        return self.text

    def events(self) -> Sequence[Mapping[str, Any]]:
        """The events that came, each with its `id` and `event` lines checked against its data."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
            if "id" in lines:
                event = json.loads(lines["data"])
                assert lines["id"] == str(event["id"])
                assert lines["event"] == event["type"]
                found.append(event)
        return found


class Hub:
    """A running hub and ways to call it. `key` of None sends no credential."""

    def __init__(self, app: App) -> None:
        self.app = replace(app, asgi=witnessed(app.asgi))
        self.platform = app.platform

    async def key(self, scope: Scope, owner: str | None = None, tenant_id: UUID = DEFAULT_TENANT) -> str:
        """A new key; the same owner is the same principal."""
        command = Mint(scope, owner or f"{scope}-{uuid4()}", tenant_id)
        return await self.platform.write(SYSTEM(tenant_id), mint, command)

    async def waited_for(self, topic: str) -> None:
        """Return once somebody waits for a hint on that topic."""
        async with asyncio.timeout(10):
            while self.platform.hints.waiting(topic) == 0:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)

    async def send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = ADMIN_KEY,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read the whole answer."""
        if body is None and json is not None:
            body = _encoded(json)
        scope = _scope(method, path, key, body, headers or {})
        sent = False
        start: Message = {}
        answer = b""

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body or b"", "more_body": False}
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: Message) -> None:
            nonlocal start, answer
            if message["type"] == "http.response.start":
                assert not start, "an answer has one beginning"
                start = message
            else:
                answer += message.get("body", b"")

        await self.app.asgi(scope, receive, send)
        assert start, "there was no answer"
        named = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], named, answer)

    async def get(self, path: str, **options: Any) -> Answer:
        """GET below `/api/v1`."""
        return await self.send("GET", f"/api/v1{path}", **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """POST below `/api/v1`."""
        return await self.send("POST", f"/api/v1{path}", json={} if json is None else json, **options)

    @asynccontextmanager
    async def stream(
        self, path: str, *, key: str | None = ADMIN_KEY, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Stream]:
        """Open a stream; the connection is closed at the end of the block."""
        stream = Stream()
        scope = _scope("GET", f"/api/v1{path}", key, None, headers or {})
        task = asyncio.ensure_future(self.app.asgi(scope, stream.receive, stream.send))
        try:
            yield stream
        finally:
            stream.hang_up()
            async with asyncio.timeout(10):
                await task

    async def agent(self, *, key: str = ADMIN_KEY, **fields: Any) -> Mapping[str, Any]:
        """Register an agent; the answer has its own key."""
        made = await self.post("/agents/register", {"name": "tester", **fields}, key=key)
        data: Mapping[str, Any] = made.data
        return data

    async def claimed(self, agent: Mapping[str, Any], **fields: Any) -> Mapping[str, Any]:
        """Submit a task and let the agent claim it."""
        start = fields.pop("start", True)
        await self.post("/tasks", {"title": "a task", **fields})
        request = {"agent_id": agent["id"], "start": start}
        data: Mapping[str, Any] = (await self.post("/tasks/claim", request, key=agent["api_key"])).data
        return data


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _scope(
    method: str, path: str, key: str | None, body: bytes | None, headers: Mapping[str, str]
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    sent = {"host": "127.0.0.1:8080", **{name.lower(): value for name, value in headers.items()}}
    if key is not None:
        sent.setdefault("authorization", f"Bearer {key}")
    if body is not None:
        sent.setdefault("content-type", "application/json")
        sent.setdefault("content-length", str(len(body)))
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8080),
    }


@asynccontextmanager
async def running(store: Store, **settings: Any) -> AsyncIterator[Hub]:
    """A hub on a store whose tables are there; its lifespan is the block."""
    app = build(Settings(admin_api_key=ADMIN_KEY, **settings), SECRET, store=store)
    asked: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.ensure_future(app.asgi({"type": "lifespan"}, asked.get, answers.put))
    for step in ("startup", "shutdown"):
        asked.put_nowait({"type": f"lifespan.{step}"})
        answer = asyncio.ensure_future(answers.get())
        await asyncio.wait({answer, life}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if not answer.done() or not answer.result()["type"].endswith("complete"):
            answer.cancel()
            await life
            raise AssertionError(f"the hub failed its {step}")
        if step == "startup":
            yield Hub(app)
            app.stopping.set()
    await life
