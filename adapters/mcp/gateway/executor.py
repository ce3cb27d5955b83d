"""A tool as an executor: an agent whose metadata names one has its tasks done by the hub, by a call each.

`{"protocol": "mcp", "metadata": {"mcp_tool": {"server": "files", "tool": "read"}}}` makes one; grants to the
agent, to the role or to the task say whether it may be called, and whether each call needs leave. The input
of a task is the tool's arguments, or has them as `arguments`. A call that may have happened is not repeated
by another attempt: such a task fails, and a person decides.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from adapters.mcp import errors, wire
from adapters.mcp.answering import stop
from adapters.mcp.errors import McpError
from adapters.mcp.exchange import Call, Result
from adapters.mcp.gateway.desk import Desk
from adapters.mcp.gateway.leave import ABOUT
from core.caller import SYSTEM
from core.errors import HubError, NotFound
from core.gateway.catalogue import reach
from core.gateway.tool_agents import ToolAgent, may_have_called, tool_agents
from core.tasks.claim import ClaimTasks, claim_waiting
from core.tasks.lease import RenewLease, renew
from core.tasks.report import CompleteTask, FailTask, ReportedError, complete, fail
from core.tasks.task import Claimed
from core.trace import of_extras
from schemas.vocabulary import CallState

LOOK_SECONDS: Final = 2.0
CLAIM_SECONDS: Final = 20.0
LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 15.0
_OPEN: Final = (CallState.AWAITING_APPROVAL.value, CallState.STARTED.value)
_log = logging.getLogger("crossdock.mcp.gateway")


@dataclass(eq=False)
class ToolAgents:
    """Does the tasks of agents that are tools. `presence` hears that an agent is there."""

    desk: Desk
    presence: Callable[[UUID], None] = lambda agent_id: None
    _serving: dict[ToolAgent, "asyncio.Task[None]"] = field(default_factory=dict)
    _errands: set["asyncio.Task[None]"] = field(default_factory=set)
    _looking: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Begin to look for such agents."""
        self._looking = asyncio.create_task(self._look(), name="tools as agents")

    async def stop(self) -> None:
        """Claim nothing more, and leave what is under way to its lease."""
        looking = [] if self._looking is None else [self._looking]
        await stop(*looking, *self._serving.values(), *self._errands)
        self._serving.clear()

    async def _look(self) -> None:
        while True:
            try:
                known = set(await self.desk.platform.read(SYSTEM(UUID(int=0)), tool_agents, None))
                for gone in self._serving.keys() - known:
                    await stop(self._serving.pop(gone))
                for agent in known - self._serving.keys():
                    self._serving[agent] = asyncio.create_task(
                        self._serve(agent), name=f"claims for {agent.id}"
                    )
            except HubError as error:
                _log.warning("tools as agents: %s", error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def _serve(self, agent: ToolAgent) -> None:
        """Claim for an agent, as much as it may hold."""
        wanted = ClaimTasks(agent.id, start=True, lease_seconds=LEASE_SECONDS)
        while True:
            self.presence(agent.id)
            try:
                claims = await claim_waiting(self.desk.platform, agent.caller, wanted, CLAIM_SECONDS)
            except HubError as error:
                _log.info("nothing is claimed for the tool %s: %s", agent.tool, error.message)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if claims.replayed:  # it has as much as it may
                await asyncio.sleep(LOOK_SECONDS)
                continue
            for claimed in claims.items:
                errand = asyncio.create_task(self._do(agent, claimed), name=f"call for {claimed.task.id}")
                self._errands.add(errand)
                errand.add_done_callback(self._errands.discard)

    async def _do(self, agent: ToolAgent, held: Claimed) -> None:
        renewing = asyncio.create_task(self._renew(agent, held))
        calling = asyncio.create_task(self._result(agent, held))
        both: set[asyncio.Task[Any]] = {renewing, calling}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():  # the lease is gone: somebody else has the task, or it was cancelled
                return
            await self._report(agent, held, calling)
        except HubError as error:
            _log.info("the task %s has gone on without its tool: %s", held.task.id, error.message)
        finally:
            await stop(*both)

    async def _renew(self, agent: ToolAgent, held: Claimed) -> None:
        with contextlib.suppress(HubError):
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                await self.desk.platform.write(agent.caller, renew, RenewLease(held.task.id, held.lease_id))

    async def _result(self, agent: ToolAgent, held: Claimed) -> Result:
        """What the tool returns, as often as it has to be asked whether leave was given.

        Raises:
            McpError, HubError: it returns nothing.
        """
        caller = replace(
            agent.caller,
            face="mcp",
            task_id=held.task.id,
            lease_id=held.lease_id,
            trace=of_extras(held.task.extras),
        )
        if await self.desk.platform.read(caller, may_have_called, held.task.id):
            details = {"code": "BAD_GATEWAY", "details": {"reason_code": "unknown"}}
            raise McpError(
                errors.BAD_GATEWAY, "An earlier call may have happened; it is not repeated.", details
            )
        reached = await self.desk.platform.read(caller, reach, agent.server)
        modern = reached.server.verified_era == "modern"
        version = wire.MODERN[0] if modern else wire.HANDSHAKE[0]
        params = {"name": agent.tool, "arguments": _arguments(held.task.input)}
        call = Call(caller, version, str(held.task.id), "tools/call", params, {})
        line = self.desk.line(reached.server, call)
        while True:
            result = await self.desk.calling.call(call, reached, line, agent.tool, checked=False)
            about = (result.get("_meta") or {}).get(ABOUT) or {}
            if about.get("state") not in _OPEN:
                return result

    async def _report(self, agent: ToolAgent, held: Claimed, calling: "asyncio.Task[Result]") -> None:
        try:
            result = calling.result()
        except NotFound:
            error = ReportedError("not_granted", f"{agent.server} is not granted", recoverable=False)
        except HubError as refused:
            error = ReportedError("infrastructure", refused.message)
        except McpError as refused:
            error = _told(refused)
        else:
            if result.get("isError") is not True:
                command = CompleteTask(held.task.id, _output(result), held.lease_id)
                await self.desk.platform.write(agent.caller, complete, command)
                return
            error = ReportedError("tool_failed", _text(result) or "the tool says that it failed")
        await self.desk.platform.write(agent.caller, fail, FailTask(held.task.id, error, held.lease_id))


def _told(refused: McpError) -> ReportedError:
    """Only what surely did not happen is tried again by itself."""
    data = refused.data if isinstance(refused.data, Mapping) else {}
    reason = (
        (data.get("details") or {}).get("reason_code") if isinstance(data.get("details"), Mapping) else None
    )
    unreached = reason in ("mcp_server_unreachable", "mcp_server_needs_reauth")
    return ReportedError("infrastructure" if unreached else "tool_failed", refused.message)


def _arguments(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        return {}
    inner = given.get("arguments")
    return inner if isinstance(inner, dict) else given


def _output(result: Result) -> Any:
    structured = result.get("structuredContent")
    if structured is not None:
        return structured
    content = result.get("content")
    only_text = isinstance(content, list) and all(one.get("type") == "text" for one in content)
    return _text(result) if only_text else {"content": content}


def _text(result: Result) -> str:
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    return "\n".join(str(one["text"]) for one in parts if isinstance(one, dict) and "text" in one)
