"""An executor asks, somebody answers. The wait lives in the database; nothing times out by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from core.fencing import P_NOW, P_TASK, is_live
from core.journal import tell
from core.lifecycle import Who, end_attempt, move, touch
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Json
from core.tasks.messages import keep, say
from core.tasks.policy import checked
from core.tasks.release import release
from core.tasks.report import arm_timeout
from core.tasks.task import InputRequest, Part, Task
from core.transitions import ASKING, Fence, Move
from schemas import validation
from schemas.vocabulary import AttemptOutcome, InputKind, InputStatus, TaskState

PREFER_SAME = timedelta(seconds=60)
"""How long an answered task is kept for the agent that asked."""


@dataclass(frozen=True)
class RequestInput:
    """What is wanted. With `hold` the attempt goes on, and its lease must be renewed meanwhile."""

    task_id: UUID
    lease_id: UUID
    parts: Sequence[Part]
    kind: InputKind = InputKind.INPUT
    schema: Mapping[str, Any] | None = None
    hold: bool = False


@dataclass(frozen=True)
class AnswerInput:
    """The answer, as parts or as data; `input_id` of None answers the oldest open request."""

    task_id: UUID
    parts: Sequence[Part] | None = None
    data: Any = None
    input_id: UUID | None = None
    message_id: str | None = None
    message_metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InputAsked:
    """The task that now waits, and the request it waits for."""

    task: Task
    input: InputRequest


_INSERT = Statement(sa.insert(t.input_request))
_P_ATTEMPT = sa.bindparam("p_attempt", type_=sa.Integer())
_SUPERSEDE = Statement(
    sa.update(t.input_request)
    .where(
        t.input_request.c.task_id == P_TASK,
        t.input_request.c.status == "open",
        t.input_request.c.attempt < _P_ATTEMPT,
    )
    .values(status=sa.literal("superseded"))
)
_OPEN = Statement(
    sa.select(t.input_request)
    .where(t.input_request.c.task_id == P_TASK, t.input_request.c.status == "open")
    .order_by(t.input_request.c.id)
)
_ONE = Statement(
    sa.select(t.input_request).where(
        t.input_request.c.task_id == P_TASK, t.input_request.c.id == sa.bindparam("p_input_id", type_=Id())
    )
)
_ANSWER = Statement(
    sa.update(t.input_request)
    .where(t.input_request.c.id == sa.bindparam("p_input_id", type_=Id()), t.input_request.c.status == "open")
    .values(
        status=sa.literal("answered"),
        answer=sa.bindparam("p_answer", type_=Json()),
        answered_by=access.ME,
        answered_at=P_NOW,
    )
    .returning(t.input_request.c.id)
)
_READ = Statement(
    sa.select(*t.task.c).where(t.task.c.id == P_TASK, access.readable()).with_for_update(of=t.task)
)


async def request_input(tx: Tx, command: RequestInput) -> InputAsked:
    """Ask, and let the task wait. Several requests may be open; the wait ends with the last answer.

    Raises:
        NotFound, Forbidden, Conflict, InvalidTransition: as `lifecycle.move`.
        Invalid: the schema is not one that the hub can check.
    """
    if command.schema is not None:
        checked(command.schema, "schema")
    input_id = tx.new_id()
    row = await _wait(tx, command, input_id)
    tx.add(_SUPERSEDE, p_task_id=row.id, p_attempt=row.attempt)
    # The question stays in the history: who resumes reads it before the answer.
    about = {"input_id": str(input_id), "kind": command.kind.value}
    keep(tx, row, role="agent", parts=command.parts, message_id=str(input_id), metadata=about)
    asked = InputRequest(
        id=input_id,
        task_id=row.id,
        attempt=row.attempt,
        kind=command.kind,
        parts=list(command.parts),
        schema=command.schema,
        status=InputStatus.OPEN,
        answer=None,
        created_at=tx.now,
        answered_at=None,
    )
    tx.add(
        _INSERT,
        id=asked.id,
        task_id=row.id,
        tenant_id=row.tenant_id,
        attempt=row.attempt,
        kind=asked.kind.value,
        parts=asked.parts,
        answer_schema=command.schema,
        status=asked.status.value,
        answer=None,
        answered_by=None,
        answered_at=None,
        created_at=tx.now,
    )
    return InputAsked(Task.of(row), asked)


async def _wait(tx: Tx, command: RequestInput, input_id: UUID) -> Row:
    """The task's row in its wait, entered now or before by an earlier request of the same held attempt."""
    parts = list(command.parts)
    said = {
        "input_id": str(input_id),
        "kind": command.kind.value,
        "hold": command.hold,
        "message": parts,
        "schema": command.schema,
    }
    held = await tx.one(_READ, p_task_id=command.task_id)
    if held is not None and held.held and held.lease_id == command.lease_id:
        row = await touch(
            tx,
            command.task_id,
            who=Who.EXECUTOR,
            states=ASKING,
            lease_id=command.lease_id,
            fence=Fence.OWN,
            doing="ask for more input",
            sets={"status_message": parts},
        )
        tell(tx, row, "task.input_requested", {"task_id": str(row.id), **said})
        return row
    moved = await move(
        tx,
        Move.ASK_AUTH if command.kind is InputKind.AUTH else Move.ASK_INPUT,
        command.task_id,
        who=Who.EXECUTOR,
        lease_id=command.lease_id,
        keeps_lease=command.hold,
        said=said,
        # While it waits, its time does not run.
        sets={"status_message": parts, "held": command.hold, "timeout_at": None},
    )
    return moved.row


async def answer_input(tx: Tx, command: AnswerInput) -> Task:
    """Answer a request: the task goes on, with the executor that holds it, or back in the queue.

    The answer becomes a `user` message of the task's history.

    Raises:
        NotFound: no such task or input request.
        Forbidden: the caller neither submitted the task nor operates the hub.
        Conflict: nothing is asked, or this was answered before.
        Unprocessable: the answer does not fit the request's schema.
    """
    row = await tx.one(_READ, p_task_id=command.task_id)
    if row is None:
        raise NotFound("no such task")
    if row.submitter_id != tx.caller.principal_id and not tx.caller.operator:
        raise Forbidden("only the submitter or an operator may answer")
    if row.state not in {int(s) for s in ASKING}:
        raise Conflict(
            f"the task is {TaskState(row.state).wire} and asks for nothing",
            details={"reason_code": "nothing_asked", "current_state": TaskState(row.state).wire},
        )
    asked, still_open = await _chosen(tx, row, command)
    parts, answer = _answer(command)
    if asked.answer_schema is not None:
        issues = validation.validate(asked.answer_schema, answer)
        if issues:
            raise Unprocessable(
                "the answer does not fit what was asked",
                fields={"data": [f"{i.path}: {i.message}" if i.path else i.message for i in issues]},
            )
    if await tx.one(_ANSWER, p_input_id=asked.id, p_answer=answer, p_now=tx.now) is None:
        raise Conflict("this was answered already", details={"reason_code": "already_answered"})
    row = await touch(tx, row.id, who=Who.SUBMITTER, states=ASKING, doing="answer")
    say(
        tx,
        row,
        role="user",
        parts=parts,
        message_id=command.message_id,
        metadata={**command.message_metadata, "input_id": str(asked.id)},
    )
    if still_open > 1:
        return Task.of(row)
    return Task.of(await _go_on(tx, row))


async def _chosen(tx: Tx, row: Row, command: AnswerInput) -> tuple[Row, int]:
    open_requests = await tx.all(_OPEN, p_task_id=row.id)
    if command.input_id is None:
        if not open_requests:
            raise Conflict("nothing is asked", details={"reason_code": "nothing_asked"})
        return open_requests[0], len(open_requests)
    for asked in open_requests:
        if asked.id == command.input_id:
            return asked, len(open_requests)
    if await tx.one(_ONE, p_task_id=row.id, p_input_id=command.input_id) is None:
        raise NotFound("no such input request")
    raise Conflict("this was answered already", details={"reason_code": "already_answered"})


def _answer(command: AnswerInput) -> tuple[list[Part], Any]:
    """The answer as parts for the history, and as the value that the schema is about."""
    if command.parts is None and command.data is None:
        raise Invalid("an answer needs parts or data")
    if command.data is not None:
        return list(command.parts or [{"data": command.data}]), command.data
    parts = list(command.parts or ())
    data = [part["data"] for part in parts if "data" in part]
    if data:
        return parts, data[0]
    return parts, "\n".join(str(part["text"]) for part in parts if "text" in part)


async def park_lost(tx: Tx, row: Row) -> Row:
    """End the attempt whose held lease ran out. The task goes on waiting, without its executor."""
    parked = await touch(
        tx,
        row.id,
        who=Who.SYSTEM,
        states=ASKING,
        lease_id=row.lease_id,
        fence=Fence.SEEN,
        doing="park",
        sets={"lease_id": None, "held": False},
    )
    end_attempt(tx, parked, AttemptOutcome.EXPIRED)
    tx.wake(f"task:{row.id}")
    tell(tx, parked, "task.attempt_parked", {"task_id": str(row.id), "reason": "lease_expired"})
    return parked


async def _go_on(tx: Tx, row: Row) -> Row:
    if row.held and not await is_live(tx, row):
        row = await park_lost(tx, row)
    if row.held:
        moved = await move(
            tx,
            Move.ANSWER_HELD,
            row.id,
            who=Who.SUBMITTER,
            lease_id=row.lease_id,
            sets={"held": False, "status_message": None},
        )
        arm_timeout(tx, moved.row)
        tx.wake(f"task:{row.id}")
        return moved.row
    last = await tx.one(_LAST_AGENT, p_task_id=row.id, p_attempt=row.attempt)
    moved = await move(
        tx,
        Move.ANSWER_PARKED,
        row.id,
        who=Who.SUBMITTER,
        sets={
            "status_message": None,
            "ready_at": tx.now,
            "preferred_agent_id": None if last is None else last.agent_id,
            "preferred_until": None if last is None else tx.now + PREFER_SAME,
        },
    )
    return await release(tx, moved.row)


_LAST_AGENT = Statement(
    sa.select(t.attempt.c.agent_id).where(t.attempt.c.task_id == P_TASK, t.attempt.c.n == _P_ATTEMPT)
)
