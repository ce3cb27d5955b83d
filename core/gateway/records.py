"""The record of a call as a value, and reading records. `calls.py` and `leave.py` write them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.journal import tell
from core.lifecycle import Who, touch
from core.push import Seals
from core.sealing import Place, Secret
from core.store.statement import Row, Statement
from core.store.tables import mcp_calls
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import GetTask, Page, get_task
from schemas.vocabulary import CallState, TaskState

if TYPE_CHECKING:
    from core.gateway.calls import Wanted


@dataclass(frozen=True)
class CallRecord:
    """One call of a tool: who made it, what it was, and what became of it."""

    id: UUID
    tenant_id: UUID
    principal_id: UUID
    task_id: UUID | None
    attempt: int | None
    lease_id: UUID | None
    server_id: UUID
    server: str
    tool: str
    arguments: Any
    arguments_digest: str
    definition_hash: str
    state: CallState
    approval_id: UUID | None
    timeout_seconds: int
    max_result_bytes: int
    result: Mapping[str, Any] | None = field(repr=False)
    error: Mapping[str, Any] | None
    is_error: bool | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.finished_at is not None


_FIELDS = tuple(CallRecord.__dataclass_fields__)


def record_of(row: Row) -> CallRecord:
    """The value of an `mcp_call` row."""
    return CallRecord(
        **{name: getattr(row, name) for name in _FIELDS if name != "state"}, state=CallState(row.state)
    )


@dataclass(frozen=True)
class CallId:
    """Which call."""

    call_id: UUID


@dataclass(frozen=True)
class ListCalls:
    """Filters are joined by AND; None means any. Newest first."""

    task_id: UUID | None = None
    server_id: UUID | None = None
    state: CallState | None = None
    page: int = 1
    per_page: int = 20


P_CALL = sa.bindparam("p_call_id", type_=Id())
_c = mcp_calls.call.c
_READABLE = sa.and_(
    access.within_tenant(mcp_calls.call),
    sa.or_(
        access.yes(access.OPERATOR),
        _c.principal_id == access.ME,
        sa.and_(_c.task_id.is_not(None), access.of_readable_task(mcp_calls.call)),
    ),
)
ONE = Statement(sa.select(mcp_calls.call).where(_c.id == P_CALL, _READABLE))
_INSERT = Statement(sa.insert(mcp_calls.call))
_EMPTY: Mapping[str, Any] = {
    "attempt": None, "grant_id": None, "approval_id": None, "gate_digest": None, "sealed_request": None,
    "result": None, "error": None, "is_error": None, "collected": False, "started_at": None,
    "finished_at": None, "due_at": None, "duration_ms": None,
}  # fmt: skip


async def get_call(tx: Tx, query: CallId) -> CallRecord:
    """One call.

    Raises:
        NotFound: no such call, or not the caller's to see.
    """
    row = await tx.one(ONE, p_call_id=query.call_id)
    if row is None:
        raise NotFound("no such call")
    return record_of(row)


async def list_calls(tx: Tx, query: ListCalls) -> Page[CallRecord]:
    """A page of the calls that the caller may see.

    Raises:
        NotFound: no such task, or not the caller's to see.
    """
    if query.task_id is not None:
        await get_task(tx, GetTask(query.task_id, messages=0))
    wanted = [_READABLE]
    for column, value in ((_c.task_id, query.task_id), (_c.server_id, query.server_id)):
        if value is not None:
            wanted.append(column == value)
    if query.state is not None:
        wanted.append(_c.state == query.state.value)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(mcp_calls.call).where(*wanted))
    rows = await tx.all(
        sa.select(*_c)
        .where(*wanted)
        .order_by(_c.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([record_of(row) for row in rows], 0 if total is None else total.n)


def insert(tx: Tx, wanted: "Wanted", state: CallState, **columns: Any) -> CallRecord:
    """Write a new record. The columns that are not given are empty."""
    written = {
        **_EMPTY,
        "id": wanted.id,
        "tenant_id": tx.caller.tenant_id,
        "principal_id": tx.caller.principal_id,
        "task_id": tx.caller.task_id,
        "lease_id": tx.caller.lease_id,
        "server_id": wanted.server_id,
        "server": wanted.server,
        "tool": wanted.tool,
        "arguments": wanted.arguments,
        "arguments_digest": wanted.arguments_digest,
        "definition_hash": wanted.definition_hash,
        "state": state.value,
        "requested_at": tx.now,
        **columns,
    }
    tx.add(_INSERT, **written)
    return CallRecord(**{name: written[name] for name in _FIELDS if name != "state"}, state=state)


async def tell_call(tx: Tx, call: CallRecord, **more: Any) -> None:
    """Write the event of what became of a call: in its task's history, where it has a task."""
    kind = f"mcp_call.{call.state.value}"
    data = {
        "call_id": str(call.id),
        "server": call.server,
        "tool": call.tool,
        "arguments_digest": call.arguments_digest,
        "state": call.state.value,
        "approval_id": call.approval_id and str(call.approval_id),
        "is_error": call.is_error,
        "duration_ms": call.duration_ms,
        "reason_code": (call.error or {}).get("reason_code"),
        **more,
    }
    if call.task_id is None:
        who = call.principal_id
        tx.event(kind, entity_type="mcp_call", entity_id=call.id, submitter_id=who, data=data)
        return
    row = await touch(
        tx, call.task_id, who=Who.SYSTEM, states=frozenset(TaskState), doing="keep the record of a call"
    )
    tell(tx, row, kind, {**data, "agent_id": str(call.principal_id)})


def sealed_request(tx: Tx, call_id: UUID, text: str) -> str:
    """The arguments of a call as its row keeps them."""
    return tx.memory(Seals).sealer.seal(text, _place(tx, call_id))


def opened_request(tx: Tx, call_id: UUID, sealed: str) -> Secret:
    """The arguments of a call.

    Raises:
        Unsealable: the hub has lost the secret.
    """
    return tx.memory(Seals).sealer.open(sealed, _place(tx, call_id))


def _place(tx: Tx, call_id: UUID) -> Place:
    return Place(tx.caller.tenant_id, mcp_calls.call.name, call_id, "sealed_request")
