"""Who calls, who executes and how, for the tests of the A2A room."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

import httpx
from a2a.types import a2a_pb2
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]
from starlette.types import ASGIApp, Message
from starlette.types import Scope as AsgiScope

from core.caller import Caller
from core.errors import TooMany, Unauthenticated
from core.platform import Platform
from core.tasks.claim import ClaimTasks, claim_waiting
from core.tasks.report import CompleteTask, complete
from core.tasks.task import Claimed
from schemas.vocabulary import Scope

M = TypeVar("M")

TENANT = UUID("0190f000-0000-7000-8000-000000000001")
PUBLIC = "http://hub.test"


def person(name: str, *, tenant: UUID = TENANT, scope: Scope = Scope.AGENT) -> Caller:
    """A caller whose id follows from its name."""
    return Caller(
        principal_id=UUID(int=int.from_bytes(name.encode().ljust(8, b"\0"), "big")),
        tenant_id=tenant,
        scope=scope,
        owner_type="user",
        owner_id=name,
    )


ANN, BEN, ROOT = person("ann"), person("ben"), person("root", scope=Scope.ADMIN)
STRANGER = person("eve", tenant=UUID("0190f000-0000-7000-8000-000000000002"))


def official(told: Any, kind: type[M]) -> M:
    """What the official type makes of our JSON. It refuses members that it does not know."""
    read: M = ParseDict(told, kind())
    return read


def official_card(told: Any) -> a2a_pb2.AgentCard:
    """What the official type makes of a card, leaving out what it does not know: the members of 0.3."""
    card: a2a_pb2.AgentCard = ParseDict(told, a2a_pb2.AgentCard(), ignore_unknown_fields=True)
    return card


def written(official_value: Any) -> dict[str, Any]:
    """The JSON that the official type writes."""
    said: dict[str, Any] = MessageToDict(official_value)
    return said


@dataclass
class Keys:
    """Credentials: the bearer token is a name. `revoke` ends the streams of all."""

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


class Few:
    """So many places, for everybody together."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def taken_by(self, principal_id: UUID) -> Iterator[None]:
        """One of them, while the block runs."""
        if not self._left:
            raise TooMany("no place", retry_after=1)
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


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


@dataclass
class Client:
    """A raw A2A client of both bindings, for one principal."""

    http: httpx.AsyncClient
    name: str = "ann"
    version: str | None = "1.0"

    def headers(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The headers of a well-behaved call."""
        version = {} if self.version is None else {"A2A-Version": self.version}
        return {"Authorization": f"Bearer {self.name}", **version, **(extra or {})}

    async def rpc(self, method: str, params: Any = None, **headers: str) -> dict[str, Any]:
        """Call over JSON-RPC: the whole answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.post("/a2a", json=body, headers=self.headers(extra))
        told: dict[str, Any] = answer.json()
        assert (told["jsonrpc"], told["id"]) == ("2.0", 1)
        return told

    async def result(self, method: str, params: Any = None, **headers: str) -> Any:
        """Call over JSON-RPC: the result, which must be one."""
        told = await self.rpc(method, params, **headers)
        assert "result" in told, told
        return told["result"]

    async def error(self, method: str, params: Any = None, **headers: str) -> dict[str, Any]:
        """Call over JSON-RPC: the error, which must be one."""
        told = await self.rpc(method, params, **headers)
        assert "error" in told, told
        error: dict[str, Any] = told["error"]
        return error

    async def rest(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call over HTTP+JSON."""
        options["headers"] = self.headers(options.get("headers"))
        return await self.http.request(method, f"/a2a/v1{path}", **options)


class Listening:
    """A stream in progress, over raw ASGI: frames arrive as they are sent, and the client may hang up."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], body: bytes = b"") -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments = 0
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._requests: asyncio.Queue[Message] = asyncio.Queue()
        self._requests.put_nowait({"type": "http.request", "body": body})
        self._task = asyncio.ensure_future(app(scope, self._requests.get, self._send))
        self._task.add_done_callback(lambda _: self._chunks.put_nowait(None))
        self._left = b""

    async def _send(self, sent: Message) -> None:
        if sent["type"] == "http.response.start":
            self.status = sent["status"]
            self.headers = {name.decode(): value.decode() for name, value in sent["headers"]}
        else:
            self._chunks.put_nowait(sent.get("body", b""))

    async def next(self) -> dict[str, str] | None:
        """The fields of the next event, or None at the end."""
        async with asyncio.timeout(5):
            while True:
                while b"\n\n" not in self._left:
                    chunk = await self._chunks.get()
                    if chunk is None:
                        self._task.result()
                        return None
                    self._left += chunk
                block, self._left = self._left.split(b"\n\n", 1)
                if block.startswith(b":"):
                    self.comments += 1
                    continue
                lines = [line.split(": ", 1) for line in block.decode().split("\n")]
                return {line[0]: line[1] for line in lines}

    async def frame(self) -> dict[str, Any]:
        """The next event's `StreamResponse`, unwrapped from JSON-RPC and accepted by the official types."""
        event = await self.next()
        assert event is not None, "the stream ended"
        told: dict[str, Any] = json.loads(event["data"])
        frame: dict[str, Any] = told.get("result", told)
        official(frame, a2a_pb2.StreamResponse)
        return frame

    async def rest(self) -> list[dict[str, Any]]:
        """Every frame until the end."""
        frames = []
        while (event := await self.next()) is not None:
            told = json.loads(event["data"])
            frame = told.get("result", told)
            official(frame, a2a_pb2.StreamResponse)
            frames.append(frame)
        return frames

    async def body(self) -> Any:
        """The whole answer as JSON, when it is no stream."""
        async with asyncio.timeout(5):
            await self._task
            whole = b""
            while (chunk := await self._chunks.get()) is not None:
                whole += chunk
            return json.loads(whole)

    async def until_silent(self) -> None:
        """Wait for a heartbeat."""
        async with asyncio.timeout(5):
            before = self.comments
            while self.comments == before:
                chunk = await self._chunks.get()
                assert chunk is not None, "the stream ended"
                self._left += chunk
                while self._left.startswith(b":") and b"\n\n" in self._left:
                    self.comments += 1
                    _, self._left = self._left.split(b"\n\n", 1)

    async def hang_up(self) -> None:
        """Disconnect, and wait until the server has noticed."""
        self._requests.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(5):
            await self._task


def listen(
    app: ASGIApp,
    method: str,
    params: dict[str, Any],
    *,
    name: str = "ann",
    headers: dict[str, str] | None = None,
    path: str = "/a2a",
) -> Listening:
    """Open a stream over JSON-RPC."""
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
    return Listening(app, _scope("POST", path, name, headers), body)


def listen_rest(
    app: ASGIApp,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    name: str = "ann",
    headers: dict[str, str] | None = None,
) -> Listening:
    """Open a stream over HTTP+JSON."""
    sent = b"" if body is None else json.dumps(body).encode()
    return Listening(app, _scope(method, f"/a2a/v1{path}", name, headers), sent)


def _scope(method: str, path: str, name: str, headers: dict[str, str] | None) -> dict[str, Any]:
    sent = {
        "authorization": f"Bearer {name}",
        "a2a-version": "1.0",
        "content-type": "application/json",
        **(headers or {}),
    }
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in sent.items()],
    }


def message(text: str = "hi", **members: Any) -> dict[str, Any]:
    """Parameters of a send."""
    said: dict[str, Any] = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": text}]}
    configuration = members.pop("configuration", None)
    params: dict[str, Any] = {"message": {**said, **members}}
    return params if configuration is None else {**params, "configuration": configuration}


def at_once(
    text: str = "hi", *, configuration: dict[str, Any] | None = None, **members: Any
) -> dict[str, Any]:
    """Parameters of a send that does not wait."""
    return message(text, configuration={"returnImmediately": True, **(configuration or {})}, **members)
