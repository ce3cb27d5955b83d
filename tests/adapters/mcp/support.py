"""Who calls and how, for the tests of the MCP room: raw clients of both eras."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
from starlette.types import ASGIApp, Message
from starlette.types import Scope as AsgiScope

from core.caller import Caller
from core.errors import Unauthenticated
from core.platform import Platform
from core.tasks.claim import ClaimTasks, claim_waiting
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed
from schemas.vocabulary import Scope

TENANT = UUID("0190f000-0000-7000-8000-000000000001")
PUBLIC = "http://hub.test"
PATH = "/mcp/crossdock"
VERSION = "2026-07-28"
META = "io.modelcontextprotocol/"
TASKS: dict[str, Any] = {"extensions": {META + "tasks": {}}}
ACCEPT = "application/json, text/event-stream"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def person(name: str, *, tenant: UUID = TENANT, scope: Scope = Scope.AGENT) -> Caller:
    """A caller whose id follows from its name."""
    number = int.from_bytes(name.encode().ljust(8, b"\0"), "big")
    return Caller(UUID(int=number), tenant, scope, "user", name)


ANN, BEN, ROOT = person("ann"), person("ben"), person("root", scope=Scope.ADMIN)
STRANGER = person("eve", tenant=UUID("0190f000-0000-7000-8000-000000000002"))


@dataclass
class Keys:
    """Credentials: the bearer token is a name. `revoked` ends the streams of all."""

    callers: dict[str, Caller] = field(
        default_factory=lambda: {str(c.owner_id): c for c in (ANN, BEN, ROOT, STRANGER)}
    )
    revoked: asyncio.Event = field(default_factory=asyncio.Event)

    async def identify(self, scope: AsgiScope, face: str) -> Caller:
        """The caller of that name."""
        said = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if said not in self.callers:
            raise Unauthenticated("This needs a credential.")
        return replace(self.callers[said], face=face)

    async def ended(self, scope: AsgiScope) -> None:
        """Return once `revoked` is set."""
        await self.revoked.wait()


@dataclass
class Executor:
    """An agent that does what a test tells it."""

    platform: Platform
    caller: Caller

    async def take(self) -> Claimed:
        """The next task, started."""
        wanted = ClaimTasks(self.caller.principal_id, start=True, lease_seconds=60)
        claims = await claim_waiting(self.platform, self.caller, wanted, 5.0)
        assert claims.items, "no task came"
        return claims.items[0]

    async def do(self, command: Callable[..., Any], argument: Any) -> Any:
        """Run a command as the executor."""
        return await self.platform.write(self.caller, command, argument)

    async def finish(self, output: Any = "done") -> Claimed:
        """Take a task and complete it."""
        held = await self.take()
        await self.do(complete, CompleteTask(held.task.id, output=output, lease_id=held.lease_id))
        return held


def enveloped(params: dict[str, Any] | None, capabilities: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters with what a modern request says about its client."""
    said = {META + "protocolVersion": VERSION, META + "clientCapabilities": capabilities or {}}
    given = params or {}
    return {**given, "_meta": {**said, **given.get("_meta", {})}}


def modern_headers(method: str, params: dict[str, Any] | None, name: str) -> dict[str, str]:
    """The headers of a well-behaved modern request."""
    headers = {
        "Authorization": f"Bearer {name}",
        "Accept": ACCEPT,
        "Content-Type": "application/json",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": method,
    }
    named = NAMED.get(method, "taskId" if method.startswith("tasks/") else "")
    if named and params and named in params:
        headers["Mcp-Name"] = str(params[named])
    return headers


@dataclass
class Modern:
    """A client that says everything with each request."""

    http: httpx.AsyncClient
    name: str = "ann"
    capabilities: dict[str, Any] = field(default_factory=dict)
    path: str = PATH

    async def post(
        self, method: str, params: dict[str, Any] | None = None, **headers: str | None
    ) -> httpx.Response:
        """One request; a header of None is not sent."""
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": method,
            "params": enveloped(params, self.capabilities),
        }
        sent: dict[str, str | None] = {**modern_headers(method, params, self.name)}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in sent.items() if value is not None}
        return await self.http.post(self.path, json=body, headers=kept)

    async def result(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result, which must be one."""
        return answered(await self.post(method, params))

    async def error(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The error, which must be one."""
        told: dict[str, Any] = said_in(await self.post(method, params))["error"]
        return told

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a tool: its result."""
        return await self.result("tools/call", {"name": tool, "arguments": arguments})

    async def told(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Call a tool: what it returns, which is no refusal."""
        result = await self.call(tool, **arguments)
        assert not result["isError"], result
        said: dict[str, Any] = result["structuredContent"]
        assert json.loads(result["content"][0]["text"]) == said
        return said


@dataclass
class Session:
    """A client that shook hands."""

    http: httpx.AsyncClient
    name: str
    id: str
    greeting: dict[str, Any]
    path: str = PATH

    @classmethod
    async def open(
        cls,
        http: httpx.AsyncClient,
        name: str = "ann",
        version: str = "2025-11-25",
        path: str = PATH,
        capabilities: dict[str, Any] | None = None,
    ) -> "Session":
        """Shake hands."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        session = cls(http, name, "", {}, path)
        answer = await session.post("initialize", params)
        session.id = answer.headers["mcp-session-id"]
        session.greeting = answered(answer)
        return session

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a well-behaved request."""
        headers = {
            "Authorization": f"Bearer {self.name}",
            "Accept": ACCEPT,
            "Content-Type": "application/json",
        }
        return {**headers, "Mcp-Session-Id": self.id} if self.id else headers

    async def post(
        self, method: str, params: dict[str, Any] | None = None, *, id: int | None = 1
    ) -> httpx.Response:
        """One message; with an id of None a notification."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id is not None:
            body["id"] = id
        return await self.http.post(self.path, json=body, headers=self.headers)

    async def result(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result, which must be one."""
        return answered(await self.post(method, params))


def said_in(answer: httpx.Response) -> dict[str, Any]:
    """The last message in an answer, whether it came as JSON or as a stream."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = [line[6:] for line in text.splitlines() if line.startswith("data: ")][-1]
    told: dict[str, Any] = json.loads(text)
    return told


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The result in an answer."""
    told = said_in(answer)
    assert "result" in told, told
    result: dict[str, Any] = told["result"]
    return result


class Listening:
    """A stream in progress, over raw ASGI: messages arrive as they are sent, and the client may hang up."""

    def __init__(
        self,
        app: ASGIApp,
        method: str,
        headers: dict[str, str],
        body: dict[str, Any] | None = None,
        path: str = PATH,
    ) -> None:
        self.status = 0
        self.ended = False
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._requests: asyncio.Queue[Message] = asyncio.Queue()
        sent = b"" if body is None else json.dumps(body).encode()
        self._requests.put_nowait({"type": "http.request", "body": sent})
        self._left = b""
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
        self._task = asyncio.ensure_future(app(scope, self._requests.get, self._send))
        self._task.add_done_callback(lambda _: self._chunks.put_nowait(None))

    async def _send(self, sent: Message) -> None:
        if sent["type"] == "http.response.start":
            self.status = sent["status"]
        else:
            self._chunks.put_nowait(sent.get("body", b""))

    async def next(self) -> dict[str, Any] | None:
        """The next message, or None at the end."""
        async with asyncio.timeout(5):
            while True:
                while b"\n\n" not in self._left:
                    chunk = await self._chunks.get()
                    if chunk is None:
                        self._task.result()
                        return None
                    self._left += chunk
                block, self._left = self._left.split(b"\n\n", 1)
                if not block.startswith(b":"):
                    told: dict[str, Any] = json.loads(block.split(b"data: ", 1)[1])
                    return told

    async def until_open(self) -> None:
        """Wait for the first bytes."""
        async with asyncio.timeout(5):
            while not self._left:
                chunk = await self._chunks.get()
                assert chunk is not None, "the stream ended"
                self._left += chunk

    async def hang_up(self) -> None:
        """Disconnect, and wait until the server has noticed."""
        self._requests.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(5):
            await self._task


def listen(
    app: ASGIApp,
    notifications: dict[str, Any],
    *,
    name: str = "ann",
    capabilities: dict[str, Any] | None = None,
    path: str = PATH,
) -> Listening:
    """Open a `subscriptions/listen` stream."""
    method = "subscriptions/listen"
    params = enveloped({"notifications": notifications}, capabilities)
    body = {"jsonrpc": "2.0", "id": "sub-1", "method": method, "params": params}
    return Listening(app, "POST", modern_headers(method, None, name), body, path)
