"""One request to one server, whatever era the client and the server speak.

Same era: it passes through. A client of sessions, a modern server: results that ask become requests on the
client's stream. A modern client, a server of sessions: its requests become a result that asks (`parking.py`).
A server that speaks both is spoken to in the client's era. Nothing of the caller's credential gets here.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from adapters import jsonrpc
from adapters.mcp import errors, wire
from adapters.mcp.errors import McpError, invalid
from adapters.mcp.exchange import Call, Result
from adapters.mcp.gateway.line import Line
from adapters.mcp.gateway.parking import Parked, Parking
from adapters.mcp.upstream import Message, NeedsAuth, RpcError, TimedOut, UpstreamError
from core.gateway import policy
from core.mcp.words import Era
from core.trace import TRACEPARENT, carried, valid, within

MOST_ROUNDS: Final = 10
"""How often a server may ask in results, for one request of a client of sessions."""
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_ASKS: Final[Mapping[str, str]] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a server may ask of a client, and the capability that the client must have said."""
_SAID: Final = ("notifications/progress", "notifications/message")
_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
_RESERVED: Final = "io.modelcontextprotocol/"
_ONLY_MODERN: Final = ("resultType", "ttlMs", "cacheScope")


class Bridge:
    """Forwards requests."""

    def __init__(self, parking: Parking) -> None:
        self._parking = parking

    async def forward(
        self,
        call: Call,
        line: Line,
        params: Mapping[str, Any],
        *,
        method: str | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] = {},
    ) -> Result:
        """The server's result, as the client's era says it.

        Raises:
            McpError: the server's error, or the hub's word that there is no answer.
        """
        method = method or call.method
        try:
            if call.modern and line.era is Era.LEGACY:
                return await self._parked(call, line, method, params, seconds)
            if call.modern:
                return await self._sent(call, line, method, params, seconds, headers)
            if line.era is Era.MODERN:
                return _plain(await self._rounds(call, line, method, params, seconds, headers))
            return await self._sent(call, line, method, params, seconds, headers)
        except RpcError as refused:
            raise _told(call, method, params, refused) from None
        except UpstreamError as error:
            raise await self.failed(line, error) from error

    async def failed(self, line: Line, error: UpstreamError) -> McpError:
        """What the client is told when there is no answer. The hub's own verdict does not look like one of
        the server."""
        await line.observe(error)
        reason = "mcp_server_unreachable"
        if isinstance(error, TimedOut):
            reason = "timeout"
        elif isinstance(error, NeedsAuth):
            reason = "mcp_server_needs_reauth"
        elif not getattr(error, "sent", False):
            reason = "mcp_server_wrong"
        said = {"code": "BAD_GATEWAY", "details": {"server": line.server.slug, "reason_code": reason}}
        return McpError(errors.BAD_GATEWAY, f"{line.server.slug}: {error.message}", said)

    async def _sent(
        self,
        call: Call,
        line: Line,
        method: str,
        params: Mapping[str, Any],
        seconds: float | None,
        headers: Mapping[str, str],
    ) -> Result:
        async def heard(message: Message) -> Mapping[str, Any] | None:
            return await _heard(call, message)

        sent = enveloped(call, params, line.era)
        part_of = within(valid((sent.get("_meta") or {}).get(TRACEPARENT)))
        async with line.session(call) as kept, kept.heard_by(heard):
            with part_of:
                reply = await kept.session.request(
                    method, sent, id=call.id, on_message=heard, seconds=seconds, headers=headers
                )
        await line.answered()
        return dict(reply.result())

    async def _rounds(
        self,
        call: Call,
        line: Line,
        method: str,
        params: Mapping[str, Any],
        seconds: float | None,
        headers: Mapping[str, str],
    ) -> Result:
        """The result of a modern server for a client of sessions: what it asks is asked on the stream."""
        asked = dict(params)
        for _ in range(MOST_ROUNDS):
            result = await self._sent(call, line, method, asked, seconds, headers)
            if result.get("resultType") != "input_required":
                return result
            wanted = result.get("inputRequests")
            responses: dict[str, Any] = {}
            for key, one in (wanted if type(wanted) is dict else {}).items():
                if type(one) is not dict or type(one.get("method")) is not str:
                    raise McpError(errors.BAD_GATEWAY, f"{line.server.slug} asks what cannot be read.")
                responses[key] = await _asked(call, one["method"], one.get("params") or {})
            asked = {**params, "inputResponses": responses}
            if "requestState" in result:
                asked["requestState"] = result["requestState"]
        raise McpError(errors.BAD_GATEWAY, f"{line.server.slug} asks without end.")

    async def _parked(
        self, call: Call, line: Line, method: str, params: Mapping[str, Any], seconds: float | None
    ) -> Result:
        """The result of a server of sessions for a modern client: what it asks, the result asks."""
        owner = (call.caller.principal_id, call.caller.task_id)
        given = {key: params[key] for key in params if key not in ("_meta", "inputResponses", "requestState")}
        digest = policy.digest({"server": str(line.server.id), "method": method, "params": given})
        parked = self._parking.take(params.get("requestState"), owner, digest)
        if parked is not None:
            self._parking.answer(parked, params.get("inputResponses") or {})
            return await self._parking.outcome(parked)
        if not _interactive(call):
            return await self._sent(call, line, method, given | _meta(params), seconds, {})
        holder: list[Parked] = []

        async def heard(message: Message) -> Mapping[str, Any] | None:
            if message.id is None:
                return await _heard(call, message)
            _check_capability(call, message.method)
            return await holder[0].ask(message.method, message.params)

        async def work() -> Result:
            sent = enveloped(call, given | _meta(params), line.era)
            async with line.session(call, alone=True) as kept, kept.heard_by(heard):
                reply = await kept.session.request(method, sent, on_message=heard, seconds=seconds)
            await line.answered()
            return dict(reply.result())

        task = asyncio.create_task(work(), name=f"parked {method}")
        holder.append(Parked(owner, digest, task))
        return await self._parking.outcome(holder[0])


async def _heard(call: Call, message: Message) -> Mapping[str, Any] | None:
    """What a server says while it is called goes to the client on the stream of its request."""
    method, params = message.method, message.params
    if message.id is not None:
        return await _asked(call, method, params)
    if method == "notifications/message" and not _wants(call, params.get("level")):
        return None
    if method in _SAID or (method.startswith("notifications/elicitation/") and not call.modern):
        call.notify(method, dict(params))
    return None


def _wants(call: Call, level: object) -> bool:
    """Whether the client wants to hear a log message of that level."""
    if not call.modern:
        return True  # its server keeps to the level that was set
    wanted = (call.params.get("_meta") or {}).get(_LOG_LEVEL)
    return wanted in LEVELS and (level not in LEVELS or LEVELS.index(level) >= LEVELS.index(wanted))


async def _asked(call: Call, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    _check_capability(call, method)
    if call.ask is None:
        raise RpcError(jsonrpc.METHOD_NOT_FOUND, "The client cannot be asked.")
    try:
        return await call.ask(method, params)
    except McpError as refused:
        raise RpcError(refused.code, refused.message, refused.data) from None


def _check_capability(call: Call, method: str) -> None:
    needed = _ASKS.get(method)
    if needed is None or needed not in call.capabilities:
        raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"The client does not offer {method[:60]}.")


def _interactive(call: Call) -> bool:
    return any(capability in call.capabilities for capability in _ASKS.values())


def _meta(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"_meta": params["_meta"]} if type(params.get("_meta")) is dict else {}


def enveloped(call: Call, params: Mapping[str, Any], era: Era) -> dict[str, Any]:
    """The parameters as they go to the server: what the client says about itself is what the hub has read."""
    given = params.get("_meta")
    kept = {
        key: value
        for key, value in (given if type(given) is dict else {}).items()
        if not key.startswith((_RESERVED, "crossdock/"))
    }
    if TRACEPARENT not in kept:
        kept |= carried(call.caller.trace)
    if era is Era.MODERN:
        kept[wire.CLIENT_CAPABILITIES] = dict(call.capabilities)
        level = (given or {}).get(_LOG_LEVEL) if call.modern else call.settings.get("logLevel")
        if level in LEVELS:
            kept[_LOG_LEVEL] = level
    said = {key: value for key, value in params.items() if key != "_meta"}
    return {**said, "_meta": kept} if kept else said


def _plain(result: Result) -> Result:
    """A modern result as revisions with sessions know it."""
    said = {key: value for key, value in result.items() if key not in _ONLY_MODERN}
    meta = said.get("_meta")
    if type(meta) is dict and wire.SERVER_INFO in meta:
        said["_meta"] = {key: value for key, value in meta.items() if key != wire.SERVER_INFO}
        if not said["_meta"]:
            del said["_meta"]
    return said


def _told(call: Call, method: str, params: Mapping[str, Any], refused: RpcError) -> McpError:
    """The server's error, in the numbers of the client's era."""
    if call.modern and refused.code == errors.RESOURCE_NOT_FOUND:
        data = refused.data if type(refused.data) is dict else {}
        return invalid(str(refused), {"uri": params.get("uri"), **data})
    if not call.modern and method == "resources/read" and refused.code == jsonrpc.INVALID_PARAMS:
        data = refused.data if type(refused.data) is dict else {}
        if "uri" in data:
            return McpError(errors.RESOURCE_NOT_FOUND, str(refused), data)
    return McpError(refused.code, str(refused), refused.data)
