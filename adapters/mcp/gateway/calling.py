"""A call of a tool: found, judged, put on record, sent, and its end written down.

What reads only is on record once it has ended; everything else before it is sent. A call that needs leave is
sent by the hub itself once it has it (`runner.py`); whoever asked waits here, or asks again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from adapters.mcp import errors, wire
from adapters.mcp.config import McpConfig
from adapters.mcp.errors import McpError, invalid
from adapters.mcp.exchange import Call, Result
from adapters.mcp.gateway import leave
from adapters.mcp.gateway.bridge import Bridge
from adapters.mcp.gateway.line import Line
from adapters.mcp.upstream.headers import PARAM, annotated, param_headers
from core.gateway import calls, policy
from core.gateway.calls import Ended, Noted, Wanted
from core.gateway.catalogue import Named, Reached, find_item
from core.gateway.policy import Rule
from core.gateway.records import CallId, CallRecord, get_call
from core.mcp.records import Item
from core.mcp.words import ItemKind
from core.platform import Platform
from schemas.strict_json import dump_json
from schemas.vocabulary import CallState, GrantEffect

WAIT_STEP: Final = 1.0
_KNOWN: Final = frozenset({"name", "arguments", "inputResponses", "requestState", "task", "_meta"})


class Calling:
    """Calls tools for whoever was granted them."""

    def __init__(self, platform: Platform, config: McpConfig, bridge: Bridge) -> None:
        self._platform = platform
        self._config = config
        self._bridge = bridge
        self._ending: set[asyncio.Task[object]] = set()

    async def call(
        self, call: Call, reached: Reached, line: Line, name: object, *, checked: bool = True
    ) -> Result:
        """The result of a tool. Not `checked`: the client could not repeat its arguments in headers.

        Raises:
            McpError, HubError: there is no such tool, it is denied, or there was no answer.
        """
        params = _checked(call.params)
        item = await self._item(call, reached, name)
        arguments = params.get("arguments")
        if arguments is None:
            arguments = {}
        if type(arguments) is not dict:
            raise invalid("arguments must be an object.")
        schema = item.definition.get("inputSchema") or {}
        if call.modern and checked:
            check_headers(call.headers, schema, arguments)
        wanted = self._wanted(reached, item, arguments)
        sent = {**params, "name": item.name, "arguments": arguments}
        headers = param_headers(schema, arguments) if annotated(schema) else {}
        rule = policy.choose(reached.rules, reached.server.id, item.name)
        if rule is not None and _is_plain(rule) and _is_safe(item):
            return await self._noted(call, line, wanted, rule, sent, headers)
        record = await self._platform.write(call.caller, calls.begin, wanted)
        if record is None or record.state is CallState.REFUSED:
            raise _unknown(name)
        if record.id != wanted.id or record.state is not CallState.STARTED:
            if call.supports(wire.TASKS) and not record.over:
                return leave.created(record)
            return await self.waited(call, record)
        return await self._sent(call, line, record, sent, headers)

    async def waited(self, call: Call, record: CallRecord) -> Result:
        """What came of a call that needs leave, or that it still waits for it.

        Raises:
            McpError: it was refused, failed, or nobody knows what became of it.
        """
        seconds = self._config.leave_seconds
        deadline = self._platform.monotonic() + seconds
        told = 0
        with self._config.waits.taken_by(call.caller.principal_id):
            while not record.over:
                left = deadline - self._platform.monotonic()
                if left <= 0 or call.left():
                    return leave.waiting(record)
                if call.progress_token is not None:
                    told += 1
                    said = {"progressToken": call.progress_token, "progress": told}
                    call.notify("notifications/progress", {**said, "message": leave.standing(record)})
                with self._platform.hints.listen([calls.topic(record.id)]) as woken:
                    record = await self._read(call, record.id)
                    if not record.over:
                        await woken.wait(min(left, WAIT_STEP))
                        record = await self._read(call, record.id)
        return await self.ended(call, record)

    async def ended(self, call: Call, record: CallRecord) -> Result:
        """What came of a call that has ended. Once its caller was told, the same call again is a new one.

        Raises:
            McpError: it has no result.
        """
        if not call.left():
            await self._platform.write(replace(call.caller, replay_key=None), calls.collect, record.id)
        return leave.outcome(record)

    async def _read(self, call: Call, call_id: UUID) -> CallRecord:
        return await self._platform.read(call.caller, get_call, CallId(call_id))

    async def _item(self, call: Call, reached: Reached, name: object) -> Item:
        if type(name) is not str:
            raise invalid("name must be a string.")
        if not reached.offers(name) and policy.choose(reached.rules, reached.server.id, name) is None:
            raise _unknown(name)
        named = Named(reached.server.id, ItemKind.TOOL, name)
        item = await self._platform.read(call.caller, find_item, named)
        if item is None:
            raise _unknown(name)
        return item

    def _wanted(self, reached: Reached, item: Item, arguments: Mapping[str, Any]) -> Wanted:
        return Wanted(
            id=self._platform.new_id(),
            server_id=reached.server.id,
            server=reached.server.slug,
            tool=item.name,
            definition_hash=item.approved_hash or item.definition_hash,
            arguments=policy.redacted(arguments, item.definition.get("inputSchema")),
            arguments_digest=policy.digest(arguments),
            whole=dump_json(dict(arguments)).decode(),
            timeout_seconds=reached.server.call_timeout_seconds,
        )

    async def _noted(
        self,
        call: Call,
        line: Line,
        wanted: Wanted,
        rule: Rule,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> Result:
        seconds, most = calls.limits(rule, wanted)
        began = self._platform.monotonic()
        try:
            result = await self._bridge.forward(call, line, params, seconds=seconds, headers=headers)
            _check_size(result, most)
        except (McpError, asyncio.CancelledError) as error:
            await self._end(call, Noted(wanted, self._failed(wanted.id, began, error)))
            raise
        await self._end(call, Noted(wanted, self._succeeded(wanted.id, began, result)))
        return result

    async def _sent(
        self,
        call: Call,
        line: Line,
        record: CallRecord,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> Result:
        began = self._platform.monotonic()
        try:
            result = await self._bridge.forward(
                call, line, params, seconds=record.timeout_seconds, headers=headers
            )
            _check_size(result, record.max_result_bytes)
        except (Exception, asyncio.CancelledError) as error:
            await self._end(call, self._failed(record.id, began, error))
            raise
        await self._end(call, self._succeeded(record.id, began, result))
        return result

    async def _end(self, call: Call, ended: Ended | Noted) -> None:
        """Write an end down, even for a caller who does not wait for it any more."""
        caller = replace(call.caller, replay_key=None)
        if isinstance(ended, Noted):
            writing = asyncio.ensure_future(self._platform.write(caller, calls.note, ended))
        else:
            writing = asyncio.ensure_future(_discarding(self._platform.write(caller, calls.end, ended)))
        self._ending.add(writing)
        writing.add_done_callback(self._ending.discard)
        await asyncio.shield(writing)

    def _succeeded(self, call_id: UUID, began: float, result: Result) -> Ended:
        is_error = bool(result.get("isError", False))
        return Ended(call_id, CallState.SUCCEEDED, self._since(began), is_error=is_error)

    def _failed(self, call_id: UUID, began: float, error: BaseException) -> Ended:
        return Ended(call_id, CallState.FAILED, self._since(began), error=described(error))

    def _since(self, began: float) -> int:
        return round((self._platform.monotonic() - began) * 1000)

    async def close(self) -> None:
        """Wait until every end is written."""
        await asyncio.gather(*self._ending, return_exceptions=True)


async def _discarding(writing: Any) -> None:
    await writing


def described(error: BaseException) -> dict[str, Any]:
    """A failure as a record keeps it."""
    if isinstance(error, McpError):
        data = error.data if type(error.data) is dict else {}
        details = data.get("details")
        reason = details.get("reason_code") if type(details) is dict else None
        return {"reason_code": reason or "refused", "message": error.message, "rpc_code": error.code}
    if isinstance(error, asyncio.CancelledError):
        return {"reason_code": "cancelled", "message": "its caller did not wait for it"}
    return {"reason_code": "failed", "message": str(error)[:500]}


def check_headers(headers: Mapping[bytes, str], schema: Mapping[str, Any], arguments: Any) -> None:
    """Pass only a call whose `Mcp-Param-…` headers repeat what its arguments say.

    Raises:
        McpError: HeaderMismatch.
    """
    said = param_headers(schema, arguments)
    for _, token in annotated(schema):
        sent = headers.get((PARAM + token).lower().encode())
        due = said.get(PARAM + token)
        text = None if sent is None else wire.header_text(sent)
        if (sent is None) != (due is None) or (due is not None and text != wire.header_text(due)):
            raise McpError(errors.HEADER_MISMATCH, f"{PARAM}{token} must repeat its argument.")


def _checked(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, none of which another reader could take for another.

    Raises:
        McpError: one is spelt almost like a known one.
    """
    for key in params:
        if key not in _KNOWN and key.lower() in {known.lower() for known in _KNOWN}:
            raise invalid(f"params.{key[:40]} is spelt wrong.")
    return params


def _check_size(result: Result, most: int) -> None:
    if most < policy.RESULT_BYTES and len(dump_json(result)) > most:
        details = {"reason_code": "result_too_large"}
        raise McpError(
            errors.BAD_GATEWAY,
            f"The result is larger than the {most} bytes that this grant lets through.",
            {"code": "BAD_GATEWAY", "details": details},
        )


def _is_plain(rule: Rule) -> bool:
    return rule.effect is GrantEffect.ALLOW and rule.calls_per_minute is None


def _is_safe(item: Item) -> bool:
    """Whether a call may be on record after it was made: the tool says that a crash could do no harm. The
    word of the tool changes nothing but that."""
    hints = item.definition.get("annotations")
    return type(hints) is dict and (hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True)


def _unknown(name: object) -> McpError:
    return invalid(f"Unknown tool: {str(name)[:80]}")
