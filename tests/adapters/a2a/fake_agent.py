"""An A2A agent on loopback that does as a test tells it, faults included: it speaks JSON-RPC of 1.0.

Its tasks are plain dicts. It makes one for each send, and nothing happens to it until the test says so.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from adapters.a2a.extensions import IDEMPOTENCY

WORKING = "TASK_STATE_WORKING"
_LAST = ("COMPLETED", "FAILED", "CANCELED", "REJECTED", "REQUIRED")


@dataclass(frozen=True)
class Asked:
    """A call that came in."""

    method: str
    params: dict[str, Any]
    headers: dict[str, str]


@dataclass
class FakeAgent:
    """Serves on a port of its own, which it keeps over a restart. `faults` are spent one by one, by method:
    `deaf` hangs up before it has done anything, `mute` after it has, a dict is the error it answers."""

    streaming: bool = True
    idempotent: bool = False
    lists: bool = True
    names_contexts: bool = False
    """Whether it insists on context ids of its own."""
    token: str | None = None
    answers: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Makes the result of a send, instead of a task."""
    faults: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[Asked] = field(default_factory=list)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    port: int = 0
    _keys: dict[str, str] = field(default_factory=dict)
    _streams: dict[str, set[asyncio.Queue[Any]]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application()
        app.router.add_get("/.well-known/agent-card.json", self._card)
        app.router.add_post("/rpc", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._runner is not None:
            for queues in self._streams.values():
                for queue in queues:
                    queue.put_nowait(None)
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def card(self) -> dict[str, Any]:
        """Its card."""
        extensions = [{"uri": IDEMPOTENCY}] if self.idempotent else []
        interface = {"url": f"{self.url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        return {
            "name": "fake",
            "description": "does as it is told",
            "version": "1",
            "supportedInterfaces": [interface],
            "capabilities": {"streaming": self.streaming, "extensions": extensions},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
            "skills": [],
        }

    def sent(self) -> list[Asked]:
        """The sends, in order."""
        return [call for call in self.calls if call.method in ("SendMessage", "SendStreamingMessage")]

    async def until(self, enough: Callable[[], Any]) -> None:
        """Wait for calls, until there are enough."""
        async with asyncio.timeout(10):
            while not enough():
                self._changed.clear()
                await self._changed.wait()

    async def task(self, n: int = 0) -> str:
        """The id of its n-th task, once there is one."""
        await self.until(lambda: len(self.tasks) > n)
        return list(self.tasks)[n]

    def say(self, task_id: str, text: str, *, state: str = WORKING, **more: Any) -> None:
        """A status with a message."""
        task = self.tasks[task_id]
        said = {"messageId": uuid4().hex, "role": "ROLE_AGENT", "parts": [{"text": text}], **more}
        task["status"] = {"state": state, "timestamp": f"2026-01-01T00:00:{len(self.calls):02}Z"}
        task["status"]["message"] = said
        if state == WORKING or state == "TASK_STATE_INPUT_REQUIRED":
            task["history"].append(said)
        self._tell(task_id, {"statusUpdate": self._update(task_id, {"status": task["status"]})})

    def move(self, task_id: str, state: str) -> None:
        """A status without a word."""
        status = {"state": state, "timestamp": "2026-01-01T00:01:00Z"}
        self.tasks[task_id]["status"] = status
        self._tell(task_id, {"statusUpdate": self._update(task_id, {"status": status})})

    def bring(self, task_id: str, id: str, text: str, *, append: bool = False, last: bool = True) -> None:
        """An artifact, or a chunk of one."""
        artifacts = self.tasks[task_id].setdefault("artifacts", [])
        known = next((one for one in artifacts if one["artifactId"] == id), None)
        part = {"text": text}
        if known is None or not append:
            artifacts[:] = [one for one in artifacts if one is not known]
            artifacts.append({"artifactId": id, "name": id, "parts": [part]})
        else:
            known["parts"].append(part)
        artifact = {"artifactId": id, "name": id, "parts": [part]}
        chunk = {"artifact": artifact, "append": append, "lastChunk": last}
        self._tell(task_id, {"artifactUpdate": self._update(task_id, chunk)})

    def cut(self, task_id: str) -> None:
        """Break off every stream of a task."""
        self._tell(task_id, None)

    def _update(self, task_id: str, said: dict[str, Any]) -> dict[str, Any]:
        return {"taskId": task_id, "contextId": self.tasks[task_id]["contextId"], **said}

    def _tell(self, task_id: str, frame: Any) -> None:
        for queue in self._streams.get(task_id, ()):
            queue.put_nowait(None if frame is None else json.loads(json.dumps(frame)))

    async def _card(self, _: web.Request) -> web.Response:
        return web.json_response(self.card())

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        method, params = body["method"], body["params"]
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        probing = method == "GetTask" and params["id"] not in self.tasks
        if not probing:
            self.calls.append(Asked(method, params, dict(request.headers)))
        queued = self.faults.get(method)
        fault = queued.pop(0) if queued and not probing else None
        if fault == "deaf":
            return self._hang_up(request)
        if isinstance(fault, dict):
            return web.json_response({"jsonrpc": "2.0", "id": 1, "error": fault})
        if isinstance(fault, web.Response):
            return fault
        result = self._result(method, params, request.headers.get("Idempotency-Key"))
        self._changed.set()
        if fault == "mute":
            return self._hang_up(request)
        if "error" in result:
            return web.json_response({"jsonrpc": "2.0", "id": 1, **result})
        if method in ("SendStreamingMessage", "SubscribeToTask"):
            return await self._stream(request, result["result"])
        return web.json_response({"jsonrpc": "2.0", "id": 1, **result})

    def _result(self, method: str, params: dict[str, Any], key: str | None) -> dict[str, Any]:
        match method:
            case "SendMessage" | "SendStreamingMessage":
                return self._send(params, key)
            case "ListTasks" if self.lists:
                found = [t for t in self.tasks.values() if t["contextId"] == params["contextId"]]
                return {"result": {"tasks": found, "nextPageToken": "", "pageSize": 50, "totalSize": 1}}
            case "GetTask" | "CancelTask" | "SubscribeToTask":
                task = self.tasks.get(params["id"])
                if task is None:
                    return {"error": {"code": -32001, "message": "No such task."}}
                if method == "CancelTask":
                    self.move(params["id"], "TASK_STATE_CANCELED")
                ended = task["status"]["state"].rpartition("_")[2] in ("COMPLETED", "FAILED", "CANCELED")
                if method == "SubscribeToTask" and ended:
                    return {"error": {"code": -32004, "message": "It has ended."}}
                return {"result": {"task": task} if method == "SubscribeToTask" else task}
            case _:
                return {"error": {"code": -32601, "message": "No such method."}}

    def _send(self, params: dict[str, Any], key: str | None) -> dict[str, Any]:
        message = params["message"]
        if self.answers is not None:
            return {"result": self.answers(params)}
        if self.names_contexts and "contextId" in message and "taskId" not in message:
            return {"error": {"code": -32602, "message": "contextId is not known here"}}
        if "taskId" in message:
            task = self.tasks[message["taskId"]]
            if not any(said["messageId"] == message["messageId"] for said in task["history"]):
                task["history"].append(message)
            if task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED":
                task["status"] = {"state": WORKING, "timestamp": "2026-01-01T00:02:00Z"}
            return {"result": {"task": task}}
        if self.idempotent and key in self._keys:
            return {"result": {"task": self.tasks[self._keys[key]]}}
        task_id = uuid4().hex
        self.tasks[task_id] = {
            "id": task_id,
            "contextId": message.get("contextId") or uuid4().hex,
            "status": {"state": WORKING, "timestamp": "2026-01-01T00:00:00Z"},
            "history": [message],
        }
        if key is not None:
            self._keys[key] = task_id
        return {"result": {"task": self.tasks[task_id]}}

    async def _stream(self, request: web.Request, first: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        queue: asyncio.Queue[Any] = asyncio.Queue()
        task = first.get("task")
        if task is not None:
            self._streams.setdefault(task["id"], set()).add(queue)
        try:
            await response.prepare(request)
            frame: Any = json.loads(json.dumps(first))
            while frame is not None:
                told = json.dumps({"jsonrpc": "2.0", "id": 1, "result": frame})
                await response.write(f"data: {told}\n\n".encode())
                state = frame.get("statusUpdate", {}).get("status", {}).get("state", "")
                if task is None or state.rpartition("_")[2] in _LAST:
                    break
                frame = await queue.get()
        finally:
            if task is not None:
                self._streams[task["id"]].discard(queue)
        if frame is None:
            return self._hang_up(request, response)
        await response.write_eof()
        return response

    def _hang_up(
        self, request: web.Request, response: web.StreamResponse | None = None
    ) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return response or web.Response()
