"""Sends the calls that have got their leave, whoever asked and whether or not it still listens; once each."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from adapters.mcp import wire
from adapters.mcp.errors import McpError
from adapters.mcp.exchange import Call
from adapters.mcp.gateway.calling import described
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.upstream.headers import annotated, param_headers
from core.approvals import TOOL_CALLS
from core.caller import SYSTEM
from core.errors import HubError, Unavailable
from core.gateway import calls, leave
from core.gateway.calls import Ended
from core.gateway.catalogue import Named, find_item
from core.gateway.leave import Decided, Lost, Take, Taken
from core.gateway.policy import RESULT_BYTES
from core.mcp.records import Item, ServerId, get_server
from core.mcp.words import ItemKind
from schemas.strict_json import dump_json, parse_json
from schemas.vocabulary import CallState

LOOK_SECONDS: Final = 1.0
"""How often the database is asked, whatever the hints say."""
MOST: Final = 32
"""Calls that are under way at the same time."""
_log = logging.getLogger("crossdock.mcp.gateway")


@dataclass(eq=False)
class Runner:
    """Looks for calls whose leave was decided, and sends them. `alone`: no other hub has this database."""

    desk: Desk
    alone: bool = False
    _running: dict["asyncio.Task[None]", Lost] = field(default_factory=dict)
    _loop: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Give up what a hub that died here has left behind, and begin to look."""
        if self.alone:
            nobody = SYSTEM(_NOBODY)
            while found := await self.desk.platform.read(nobody, leave.left_behind, None):
                for lost in found:
                    await self.desk.platform.write(SYSTEM(lost.tenant_id), leave.give_up, lost)
        self._loop = asyncio.create_task(self._look(), name="tool calls")

    async def stop(self) -> None:
        """Stop looking. Calls that are under way are written down as they stand."""
        tasks = [*self._running, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        running = list(self._running.values())
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Unavailable):
            for lost in running:  # one may have been stopped before it could say anything
                await self.desk.platform.write(SYSTEM(lost.tenant_id), leave.give_up, lost)

    async def look(self) -> int:
        """One look; tells how many calls it took up."""
        platform = self.desk.platform
        found = await platform.read(SYSTEM(_NOBODY), leave.decided, None)
        for decided in found[: MOST - len(self._running)]:
            current = await self._current(decided)
            hash = None if current is None else current.approved_hash or current.definition_hash
            command = Take(decided.call_id, hash)
            taken = await platform.write(SYSTEM(decided.tenant_id), leave.take, command)
            if taken is not None and current is not None:
                task = asyncio.create_task(self._send(taken, current), name=f"call {taken.call.id}")
                self._running[task] = Lost(decided.tenant_id, decided.call_id)
                task.add_done_callback(lambda task: self._running.pop(task, None))
        return len(found)

    async def settled(self) -> None:
        """Return once no call is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def _look(self) -> None:
        while True:
            with self.desk.platform.hints.listen([TOOL_CALLS]) as woken:
                try:
                    await self.look()
                except Unavailable as error:
                    _log.warning("tool calls: %s", error.message)
                except Exception:
                    _log.exception("the look for tool calls failed; it is tried again")
                await woken.wait(LOOK_SECONDS)

    async def _current(self, decided: Decided) -> Item | None:
        named = Named(decided.server_id, ItemKind.TOOL, decided.tool)
        return await self.desk.platform.read(SYSTEM(decided.tenant_id), find_item, named)

    async def _send(self, taken: Taken, item: Item) -> None:
        record, platform = taken.call, self.desk.platform
        began = platform.monotonic()
        ended: dict[str, Any]
        try:
            ended = await self._result(taken, item)
        except asyncio.CancelledError:
            ended = {"state": CallState.UNKNOWN, "error": _STOPPED}
        except (McpError, HubError) as error:
            ended = {"state": CallState.FAILED, "error": described(error)}
        except Exception as error:
            _log.exception("the call %s failed", record.id)
            ended = {"state": CallState.FAILED, "error": described(error)}
        took = round((platform.monotonic() - began) * 1000)
        with contextlib.suppress(Unavailable):  # then it is given up when its time is over
            await platform.write(taken.caller, calls.end, Ended(record.id, duration_ms=took, **ended))

    async def _result(self, taken: Taken, item: Item) -> dict[str, Any]:
        record = taken.call
        system = SYSTEM(record.tenant_id)
        server = await self.desk.platform.read(system, get_server, ServerId(record.server_id))
        arguments = parse_json(taken.arguments.reveal().encode())
        params = {"name": record.tool, "arguments": arguments}
        era = wire.MODERN[0] if server.verified_era == "modern" else wire.HANDSHAKE[0]
        call = Call(taken.caller, era, str(record.id), "tools/call", params, {})
        schema = item.definition.get("inputSchema") or {}
        headers = param_headers(schema, arguments) if annotated(schema) else {}
        result = await self.desk.bridge.forward(
            call,
            self.desk.line(server, call),
            params,
            seconds=record.timeout_seconds,
            headers=headers,
        )
        if result.get("resultType", "complete") != "complete":
            message = "the tool asked for something, which nobody answers once the call was allowed"
            return {"state": CallState.FAILED, "error": {"reason_code": "asked", "message": message}}
        size = len(dump_json(result))
        if size > min(record.max_result_bytes, RESULT_BYTES):
            message = f"the result has {size} bytes, more than the grant lets through"
            return {
                "state": CallState.FAILED,
                "error": {"reason_code": "result_too_large", "message": message},
            }
        is_error = bool(result.get("isError", False))
        return {"state": CallState.SUCCEEDED, "is_error": is_error, "result": result}


_NOBODY: Final = UUID(int=0)
_STOPPED: Final = {"reason_code": "unknown", "message": "the hub stopped while the call was under way"}
