"""Execution logs: taken in, listed, followed, counted and exported."""

import base64
import binascii
import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from core import logs as core
from core.errors import HubError, Invalid
from core.logs import Log, LogFilter, LogLine, Mark
from hub.answers import request_id_of
from hub.api.call import Answer, Call, Reply
from hub.api.reading import issues
from hub.api.redaction import covered
from hub.api.routing import route
from hub.sse import ABORT, EventStream, frame
from schemas.strict_json import dump_json
from schemas.v1 import logs as v1
from schemas.v1.fields import now, stamp
from schemas.vocabulary import Scope

COVER: Final = "redacted://log-secret"
MOST_PAYLOAD: Final = 32 * 1024
MOST_DETAILS: Final = 10
_EXAMPLE: Final = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "source": "runtime",
    "category": "tool",
    "level": "info",
    "operation": "tool.shell",
    "status": "completed",
    "duration_ms": 12.5,
}
_MANY: Final = ("source", "category", "level", "operation", "status", "role", "actor_kind")
_ONE: Final = (
    "workspace_id", "workflow_id", "work_item_id", "task_id", "stage_name", "activation_id",
    "is_orchestrator_task", "actor_id", "tool_owner", "execution_backend", "trace_id",
)  # fmt: skip
_COLUMNS: Final = tuple(v1.LogRow.__annotations__)


@route(
    "POST",
    "/logs/ingest",
    scope=Scope.WORKER,
    body=v1.LogIngest,
    returns=v1.LogIngested,
    status=201,
    summary="Write execution logs",
    operation_id="logs_ingest",
    example={"entries": [_EXAMPLE]},
)
async def ingest(call: Call, body: v1.LogIngest) -> Reply:
    """Each line is kept or rejected by itself. Writing about a task renews the lease of whoever holds it."""
    lines: list[LogLine] = []
    places: list[int] = []
    rejected: list[tuple[int, str]] = []
    for index, entry in enumerate(body.entries):
        line = _line(entry)
        if isinstance(line, str):
            rejected.append((index, line))
        else:
            lines.append(line)
            places.append(index)
    kept = await call.write(core.ingest, core.Ingest(lines))
    rejected = sorted([*rejected, *((places[number], why) for number, why in kept.rejected)])
    details = [
        {"index": index, "trace_id": _trace_of(body.entries[index]), "reason": why}
        for index, why in rejected[:MOST_DETAILS]
    ]
    return Reply({"accepted": kept.accepted, "rejected": len(rejected), "rejection_details": details})


def _line(entry: dict[str, Any]) -> LogLine | str:
    try:
        parsed = v1.LogEntry.model_validate(entry)
    except ValidationError as error:
        fields, form = issues(error)
        name = next(iter(fields), None)
        return f"{name}: {fields[name][0]}" if name is not None else form[0]
    said = parsed.model_dump(exclude_none=True)
    for name in ("payload", "error", "operation"):
        if name in said:
            said[name] = covered(said[name], COVER)
    if "payload" in said and len(dump_json(said["payload"])) > MOST_PAYLOAD:
        return f"payload: more than {MOST_PAYLOAD} bytes"
    if _has_nul(said):
        return "there is a NUL in it"
    return LogLine(said)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in str(name) or _has_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_has_nul(inner) for inner in value)


def _trace_of(entry: dict[str, Any]) -> str | None:
    said = entry.get("trace_id")
    return said[:120] if isinstance(said, str) else None


@route(
    "GET",
    "/logs",
    scope=Scope.AGENT,
    query=v1.LogQuery,
    gives="application/json",
    summary="Search execution logs",
    operation_id="logs_list",
)
async def list_logs(call: Call, query: v1.LogQuery) -> Answer:
    """By keyset: `{data, pagination: {per_page, has_more, next_cursor, prev_cursor}, meta}`, newest first."""
    mark = None if query.cursor is None else _mark(query.cursor)
    wanted = core.ListLogs(_filter(query), mark, query.order == "desc", query.per_page)
    page = await call.read(core.list_logs, wanted)
    pagination = {
        "per_page": query.per_page,
        "has_more": page.has_more,
        "next_cursor": _cursor(page.items[-1].mark) if page.has_more else None,
        "prev_cursor": query.cursor,
    }
    return _Listed([log(item, query.detail) for item in page.items], pagination)


@dataclass(frozen=True)
class _Listed:
    """A page with its own kind of meta beside the envelope's."""

    items: Sequence[v1.LogRow]
    pagination: dict[str, Any]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        about = {"request_id": request_id_of(scope), "timestamp": now()}
        body = to_json({"data": self.items, "pagination": self.pagination, "meta": about})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@route(
    "GET",
    "/logs/{id}",
    scope=Scope.AGENT,
    returns=v1.LogRow,
    errors=(404,),
    summary="Read an execution log",
    operation_id="logs_get",
)
async def get_log(call: Call) -> Reply:
    """One line, whole."""
    return Reply(log(await call.read(core.get_log, call.id), "full"))


@route(
    "GET",
    "/logs/stream",
    scope=Scope.AGENT,
    query=v1.LogStreamQuery,
    stream=True,
    summary="Follow execution logs",
    operation_id="logs_stream",
)
async def stream_logs(call: Call, query: v1.LogStreamQuery) -> Answer:
    """What is written from now on, as `event: log`; `event: heartbeat` every 15 seconds when nothing is."""
    feed = core.follow_logs(call.platform, call.caller, _filter(query))
    call.shared.streams.take(call.caller.principal_id)
    stream = EventStream(
        _frames(feed, query.detail),
        until=call.shared.ended,
        done=lambda: call.shared.streams.free(call.caller.principal_id),
    )
    await stream.open(b": connected\n\n")
    return stream


async def _frames(feed: AsyncIterator[Sequence[Log]], detail: str) -> AsyncIterator[bytes]:
    try:
        async for batch in feed:
            if batch:
                yield b"".join([frame(to_json(log(item, detail)), "log") for item in batch])
            else:
                yield frame(to_json({"ts": now()}), "heartbeat")
    finally:
        await feed.aclose()  # type: ignore[attr-defined]  # it is a generator


@route(
    "GET",
    "/logs/stats",
    scope=Scope.AGENT,
    query=v1.LogStatsQuery,
    returns=v1.LogStats,
    summary="Count execution logs",
    operation_id="logs_stats",
)
async def stats(call: Call, query: v1.LogStatsQuery) -> Reply:
    """By the values of one field."""
    found = await call.read(core.log_stats, core.LogStats(_filter(query), query.group_by))
    groups = [
        {
            "group": one.group,
            "count": one.count,
            "error_count": one.error_count,
            "total_duration_ms": one.total_duration_ms,
            "avg_duration_ms": one.total_duration_ms / one.count,
        }
        for one in found
    ]
    totals = {
        "count": sum(one.count for one in found),
        "error_count": sum(one.error_count for one in found),
        "total_duration_ms": sum(one.total_duration_ms for one in found),
    }
    return Reply({"groups": groups, "totals": totals})


@route(
    "GET",
    "/logs/export",
    scope=Scope.ADMIN,
    query=v1.LogExportQuery,
    gives="*/*",
    summary="Export execution logs",
    operation_id="logs_export",
)
async def export(call: Call, query: v1.LogExportQuery) -> Answer:
    """Oldest first, as a JSON array or as CSV, written while it is read."""
    pages = core.all_logs(call.platform, call.caller, _filter(query))
    as_csv = query.format == "csv"
    chunks = _csv(pages) if as_csv else _json(pages)
    kind = b"text/csv; charset=utf-8" if as_csv else b"application/json"
    return _Export(chunks, kind, b"logs.csv" if as_csv else b"logs.json")


@dataclass(frozen=True)
class _Export:
    chunks: AsyncIterator[bytes]
    kind: bytes
    name: bytes

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send page after page. A database that fails half way breaks the connection."""
        if scope["method"] == "HEAD":
            first, pieces = b"", None
        else:
            pieces = self.chunks
            first = await anext(pieces)
        headers = [
            (b"content-type", self.kind),
            (b"content-disposition", b'attachment; filename="' + self.name + b'"'),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            await send({"type": "http.response.body", "body": first, "more_body": pieces is not None})
            if pieces is not None:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except HubError:
            abort = scope.get(ABORT)
            if abort is not None:  # the status is out: only a broken connection can still tell
                abort()
            raise


async def _json(pages: AsyncIterator[Sequence[Log]]) -> AsyncIterator[bytes]:
    lead = b"["
    async for page in pages:
        yield lead + b",\n".join(to_json(log(item, "full")) for item in page)
        lead = b",\n"
    yield b"[]" if lead == b"[" else b"]"


async def _csv(pages: AsyncIterator[Sequence[Log]]) -> AsyncIterator[bytes]:
    yield _rows([_COLUMNS])
    async for page in pages:
        yield _rows([[_cell(value) for value in log(item, "full").values()] for item in page])


def _rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = to_json(value).decode() if isinstance(value, dict | list | bool) else str(value)
    return (
        "'" + text if isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    )


def _filter(query: v1.LogFilters) -> LogFilter:
    any_of: list[tuple[str, tuple[Any, ...]]] = []
    for name in _MANY:
        values = getattr(query, name)
        if values is not None:
            any_of.append(("actor_type" if name == "actor_kind" else name, tuple(values)))
    for name in _ONE:
        value = getattr(query, name)
        if value is not None:
            any_of.append((name, (value,)))
    return LogFilter(tuple(any_of), query.search, query.since, query.until)


def _cursor(mark: Mark) -> str:
    said = {"id": str(mark.id), "created_at": mark.created_at.isoformat()}
    return base64.urlsafe_b64encode(to_json(said)).rstrip(b"=").decode()


def _mark(cursor: str) -> Mark:
    try:
        said = from_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        at = datetime.fromisoformat(said["created_at"])
        if at.tzinfo is None:
            raise ValueError
        return Mark(at, UUID(said["id"]))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, OverflowError):
        raise Invalid("the cursor is none of this list") from None


def log(value: Log, detail: str) -> v1.LogRow:
    """One line; in a summary without payload and stack."""
    found: dict[str, Any] = {name: value.fields[name] for name in _COLUMNS}
    found["created_at"] = stamp(value.mark.created_at)
    if detail == "summary":
        found["payload"] = None
        if found["error"] is not None:
            found["error"] = {name: said for name, said in found["error"].items() if name != "stack"}
    return found  # type: ignore[return-value]  # by name
