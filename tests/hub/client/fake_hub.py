"""A hub in memory that speaks the executor routes of `/api/v1`, and can be made to misbehave.

It keeps the promises that clients and workers build on (leases, replay by key, gap-free events) with the
least code; what the real hub does beyond them is tested against the real hub.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiohttp import web

FINAL = {"completed", "failed", "cancelled", "rejected"}
KEY = "xd_worker_test"
PATIENCE = 20.0


class FakeHub:
    """Tasks, agents, events; `faults` maps a path's last word to what goes wrong there, in order."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.artifacts: dict[str, dict[str, dict[str, Any]]] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, Any] | None]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: dict[str, list[str]] = {}
        self.oldest_cursor = 0
        self.keys = {KEY: "worker"}
        self.port = 0
        self._replays: dict[str, tuple[int, Any]] = {}
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    # --- running ---

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/api/v1/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Be gone, with every connection."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            async with self._changed:
                self._changed.notify_all()
            await runner.cleanup()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something that happens here makes the condition true; its value."""
        async with asyncio.timeout(PATIENCE), self._changed:
            return await self._changed.wait_for(condition)

    # --- what tests do to it ---

    async def submit(self, title: str = "a task", **fields: Any) -> str:
        """A task that is ready."""
        task_id = str(uuid4())
        self.tasks[task_id] = {"id": task_id, "title": title, "state": "ready", "version": 0, **fields}
        self.tasks[task_id].setdefault("input", {})
        self.tasks[task_id].setdefault("context_id", "c1")
        self.tasks[task_id].setdefault("timeout_minutes", None)
        self.tasks[task_id]["attempt"] = 0
        self.messages[task_id], self.artifacts[task_id] = [], {}
        self.event(task_id, "task.created")
        await self.changed()
        return task_id

    async def ask_to_cancel(self, task_id: str) -> None:
        """A cancellation with grace."""
        self.tasks[task_id]["cancel_requested"] = True
        await self.changed()

    async def end(self, task_id: str, state: str, reason: str) -> None:
        """Take the task away from its executor."""
        self.tasks[task_id] |= {"lost": reason, "lease_id": None}
        self.move(task_id, state)
        await self.changed()

    def said(self, task_id: str) -> list[str]:
        """The texts of the task's messages."""
        return ["".join(part["text"] for part in message["parts"]) for message in self.messages[task_id]]

    def bodies(self, last_word: str) -> list[dict[str, Any]]:
        """What was sent to the routes that end so."""
        return [body or {} for _, path, body in self.requests if path.split("/")[-1] == last_word]

    def event(self, task_id: str, kind: str, **data: Any) -> None:
        """One entry of the log."""
        task = self.tasks[task_id]
        task["version"] += 1
        self.events.append(
            {
                "id": len(self.events) + 1,
                "type": kind,
                "entity_type": "task",
                "entity_id": task_id,
                "version": task["version"],
                "data": data,
            }
        )

    def move(self, task_id: str, state: str) -> None:
        """Another state, with its event."""
        task = self.tasks[task_id]
        data = {"from_state": task["state"], "to_state": state}
        task["state"] = state
        self.event(task_id, "task.state_changed", **data)

    async def changed(self) -> None:
        """Wake whoever waits."""
        async with self._changed:
            self._changed.notify_all()

    # --- HTTP ---

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.requests.append((request.method, path, json.loads(raw) if raw else None))
        self.headers.append(dict(request.headers))
        await self.changed()
        fault = (self.faults.get(path.split("/")[-1]) or [""]).pop(0)
        if fault == "unavailable":
            return _error(503, "SERVICE_UNAVAILABLE", "not now", headers={"Retry-After": "0"})
        if fault == "broken":
            return _error(500, "INTERNAL_ERROR", "a fault of the hub")
        if fault == "deaf":
            return await _hang_up(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.keys:
            return _error(401, "UNAUTHORIZED", "no such key")
        key = request.headers.get("Idempotency-Key")
        if key is not None and key in self._replays:
            status, data = self._replays[key]
            return _ok(data, status)
        try:
            answer = await self._route(request, path.split("/"), body or {})
        except _Refusal as refusal:
            return refusal.response()
        finally:
            await self.changed()
        if isinstance(answer, web.StreamResponse):
            return answer
        status, data = answer
        if key is not None:
            self._replays[key] = (status, data)
        if fault == "mute":
            return await _hang_up(request)
        return _ok(data, status)

    async def _route(
        self, request: web.Request, words: list[str], body: dict[str, Any]
    ) -> tuple[int, Any] | web.StreamResponse:
        match [request.method, *words]:
            case ["POST", "agents", "register"]:
                return self._register(body, request.headers["Authorization"])
            case ["GET", "auth", "me"]:
                return 200, {"owner_type": "agent", "owner_id": next(iter(self.agents), None)}
            case ["POST", "tasks", "claim"]:
                return await self._claim(body)
            case ["POST", "tasks"]:
                task_id = await self.submit(body.pop("title"), **body)
                return 201, dict(self.tasks[task_id])
            case ["GET", "tasks"]:
                page, size = int(request.query.get("page", 1)), int(request.query.get("per_page", 20))
                tasks = list(self.tasks.values())
                pages = max(1, -(-len(tasks) // size))
                return _listed(tasks[(page - 1) * size : page * size], {"page": page, "pages": pages})
            case ["GET", "events"]:
                return self._list_events(request)
            case ["GET", "events", "stream"]:
                return await self._stream(request)
            case [method, "tasks", task_id, *rest]:
                if task_id not in self.tasks:
                    raise _Refusal(404, "NOT_FOUND", "no such task")
                return await self._task(method, task_id, rest, body)
        raise _Refusal(404, "NOT_FOUND", "no such route")

    async def _task(
        self, method: str, task_id: str, rest: list[str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        task = self.tasks[task_id]
        if not rest:
            return 200, dict(task)
        if (method, rest) == ("GET", ["messages"]):
            return 200, self.messages[task_id]
        if rest == ["cancel"] and "lease_id" not in body:
            self.move(task_id, "cancelled")
            return 200, dict(task)
        if rest == ["input"]:
            self.move(task_id, "in_progress")
            return 200, dict(task)
        self._fence(task, body)
        match rest:
            case ["lease"]:
                return await self._lease(task, body)
            case ["start"]:
                self.move(task_id, "in_progress")
            case ["messages"]:
                message = {"message_id": uuid4().hex, "role": "agent", "parts": body["parts"]}
                self.messages[task_id].append(message)
                self.event(task_id, "task.message_sent", text=body["parts"][0].get("text"))
                return 201, message
            case ["artifacts"]:
                return 201, self._artifact(task_id, body)
            case ["complete"]:
                task |= {"output": body["output"], "lease_id": None}
                self.move(task_id, "completed")
            case ["fail"]:
                task |= {"error": body["error"], "lease_id": None}
                self.move(task_id, "failed")
            case ["refuse"]:
                task["lease_id"] = None
                self.move(task_id, "ready" if body.get("requeue") else "rejected")
            case ["cancel"]:
                task["lease_id"] = None
                self.move(task_id, "cancelled")
        return 200, dict(task)

    def _fence(self, task: dict[str, Any], body: dict[str, Any]) -> None:
        if body.get("lease_id") != task.get("lease_id"):
            reason = task.get("lost", "lease_expired")
            raise _Refusal(409, "CONFLICT", "the lease is gone", {"reason_code": reason})

    def _register(self, body: dict[str, Any], authorization: str) -> tuple[int, Any]:
        if self.keys[authorization.removeprefix("Bearer ")] == "agent":
            raise _Refusal(403, "FORBIDDEN", "an agent registers no agents")
        agent = {"id": str(uuid4()), "name": body["name"], "status": "active", "body": body}
        key = f"xd_agent_{agent['id']}"
        self.keys[key] = "agent"
        self.agents[agent["id"]] = agent
        return 201, {**agent, "api_key": key}

    async def _claim(self, body: dict[str, Any]) -> tuple[int, Any]:
        def ready() -> list[dict[str, Any]]:
            if self._runner is None:
                raise _Refusal(503, "SERVICE_UNAVAILABLE", "stopping")
            return [task for task in self.tasks.values() if task["state"] == "ready"]

        try:
            async with asyncio.timeout(body.get("wait_seconds", 0)), self._changed:
                found = await self._changed.wait_for(ready)
        except TimeoutError:
            return 204, None
        claimed = [self._claimed(task, body) for task in found[: body.get("limit") or 1]]
        return 200, claimed if "limit" in body else claimed[0]

    def _claimed(self, task: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        task |= {"lease_id": str(uuid4()), "attempt": task["attempt"] + 1, "cancel_requested": False}
        self.move(task["id"], "in_progress" if body.get("start") else "claimed")
        until = datetime.now(UTC) + timedelta(seconds=body.get("lease_seconds", 60))
        return {**task, "lease_expires_at": until.isoformat()}

    async def _lease(self, task: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        def news() -> bool:
            return bool(
                task.get("cancel_requested") or task["lease_id"] != body["lease_id"] or not self._runner
            )

        try:
            async with asyncio.timeout(body.get("wait_seconds", 0)), self._changed:
                await self._changed.wait_for(news)
        except TimeoutError:
            pass
        self._fence(task, body)
        until = datetime.now(UTC) + timedelta(seconds=body.get("extend_seconds", 60))
        return 200, {
            "lease_expires_at": until.isoformat(),
            "cancel_requested": bool(task.get("cancel_requested")),
        }

    def _artifact(self, task_id: str, body: dict[str, Any]) -> dict[str, Any]:
        body = {name: value for name, value in body.items() if name != "lease_id"}
        artifact_id = body.setdefault("artifact_id", uuid4().hex)
        known = self.artifacts[task_id].get(artifact_id)
        if known is None:
            self.artifacts[task_id][artifact_id] = {**body, "chunks": [body]}
        else:
            known["chunks"].append(body)
        self.event(task_id, "task.artifact_updated")
        return {"artifact_id": artifact_id, "name": body.get("name")}

    def _wanted(self, request: web.Request, after: int) -> list[dict[str, Any]]:
        entity = request.query.get("entity_id")
        return [e for e in self.events if e["id"] > after and entity in (None, e["entity_id"])]

    def _list_events(self, request: web.Request) -> tuple[int, Any]:
        limit = int(request.query.get("limit", 20))
        found = self._wanted(request, int(request.query.get("after", 0)))
        page = found[:limit]
        more = len(found) > limit
        return _listed(page, {"has_more": more, "next_after": page[-1]["id"] if page else None})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID") or request.query.get("after") or len(self.events))
        if after < self.oldest_cursor:
            raise _Refusal(410, "GONE", "too old", {"oldest": self.oldest_cursor})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": connected\n\n")
        while self._runner is not None:
            for event in self._wanted(request, after):
                frame = f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
                await response.write(frame.encode())
                after = event["id"]
                if (self.faults.get("frames") or [""]).pop(0) == "cut":
                    await response.write(b'id: 999999\ndata: {"half')
                    return response
            async with self._changed:
                if not self._wanted(request, after) and self._runner is not None:
                    await self._changed.wait()
        return response


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self._arguments = (status, code, message, details)

    def response(self) -> web.Response:
        return _error(*self._arguments)


class _List(list[Any]):
    meta: dict[str, Any]


def _listed(items: list[Any], meta: dict[str, Any]) -> tuple[int, Any]:
    listed = _List(items)
    listed.meta = meta
    return 200, listed


def _ok(data: Any, status: int) -> web.Response:
    if status == 204:
        return web.Response(status=204)
    meta = {"request_id": "r1", **getattr(data, "meta", {})}
    return web.json_response({"data": data, "meta": meta}, status=status)


def _error(
    status: int,
    code: str,
    message: str,
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    error = {"code": code, "message": message, "details": details or {}}
    return web.json_response({"error": error, "meta": {"request_id": "r1"}}, status=status, headers=headers)


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def fake_hub() -> AsyncGenerator[FakeHub, None]:
    """A hub that listens, for as long as the block."""
    hub = FakeHub()
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
