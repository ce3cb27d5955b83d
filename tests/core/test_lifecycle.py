"""Every move from every state: what the table allows happens, everything else changes nothing."""

import sqlite3
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from core.caller import SYSTEM, Caller
from core.errors import Conflict, InvalidTransition
from core.lifecycle import Moved, Who, move
from core.platform import Platform
from core.store import Statement
from core.store import tables as t
from core.store.tx import Tx
from core.tasks import submit
from core.transitions import FINAL, LEASED, TRANSITIONS, Fence, Move
from schemas.vocabulary import TaskState
from tests.conftest import OpenStore

S = TaskState


@dataclass(frozen=True)
class Put:
    """A task in a state, with columns that agree with it but for what `columns` says."""

    state: TaskState
    columns: tuple[tuple[str, Any], ...] = ()


async def put(tx: Tx, wanted: Put) -> UUID:
    """Make a task and write its columns past the lifecycle."""
    task = await submit.submit(tx, submit.SubmitTask("x"))
    await tx.flush()
    leased = wanted.state in LEASED
    columns = {
        "state": int(wanted.state),
        "prev_state": int(wanted.state),
        "lease_id": tx.new_id() if leased else None,
        "finished_at": tx.now if wanted.state in FINAL else None,
        **dict(wanted.columns),
    }
    values = {name: sa.bindparam(f"p_{name}", type_=t.task.c[name].type) for name in columns}
    where = t.task.c.id == sa.bindparam("p_task", type_=t.task.c.id.type)
    statement = Statement(sa.update(t.task).where(where).values(values))
    await tx.run(statement, p_task=task.id, **{f"p_{name}": value for name, value in columns.items()})
    if leased:
        row = await _row(tx, task.id)
        await tx.run(
            Statement(sa.insert(t.lease)),
            task_id=task.id,
            lease_id=row["lease_id"],
            tenant_id=tx.caller.tenant_id,
            agent_id=tx.caller.principal_id,
            seconds=60,
            until=tx.now.replace(year=tx.now.year + 1),
        )
    return task.id


async def _row(tx: Tx, task_id: UUID) -> dict[str, Any]:
    row = await tx.one(sa.select(t.task).where(t.task.c.id == task_id))
    assert row is not None
    return row.as_dict()


@dataclass(frozen=True)
class Make:
    """A move of a task, under the lease that it has."""

    task_id: UUID
    move: Move


async def make(tx: Tx, command: Make) -> Moved:
    """Make it. Who asks is an operator, so that only state and lease are compared."""
    arc = TRANSITIONS[command.move]
    lease_id = (await _row(tx, command.task_id))["lease_id"]
    sets = {"lease_id": tx.new_id()} if arc.target in LEASED and lease_id is None else None
    compared = lease_id if arc.fence in (Fence.OWN, Fence.SEEN) else None
    fence = Fence.NONE if compared is None else arc.fence
    return await move(
        tx, command.move, command.task_id, who=Who.SYSTEM, lease_id=compared, fence=fence, sets=sets
    )


@pytest.mark.parametrize("attempted", Move)
async def test_a_move_starts_where_the_table_says_and_nowhere_else(
    platform: Platform, operator: Caller, attempted: Move
) -> None:
    arc = TRANSITIONS[attempted]
    for state in S:
        task_id = await platform.write(operator, put, Put(state))
        before = await platform.read(operator, _row, task_id)
        command = Make(task_id, attempted)
        if state in arc.sources:
            row = (await platform.write(operator, make, command)).row
            assert (row.state, row.prev_state, row.version) == (arc.target, state, before["version"] + 1)
            assert (row.finished_at is not None) == (arc.target in FINAL)
            continue
        try:
            moved = await platform.write(operator, make, command)
        except (InvalidTransition, Conflict):
            pass
        else:
            assert arc.repeatable, (state, attempted)
            assert state is arc.target, (state, attempted)
            assert not moved.changed
        assert await platform.read(operator, _row, task_id) == before


@pytest.mark.parametrize("face", ["a2a", "acp", "mcp"])
async def test_final_is_final_where_a_task_was_born_so(
    platform: Platform, operator: Caller, face: str
) -> None:
    for attempted, arc in TRANSITIONS.items():
        for state in arc.sources if arc.reopens else ():
            task_id = await platform.write(operator, put, Put(state, (("face", face),)))
            with pytest.raises(InvalidTransition):
                await platform.write(operator, make, Make(task_id, attempted))


def test_the_table_is_total_and_one_way_leads_into_the_queue() -> None:
    assert set(TRANSITIONS) == set(Move)
    into_ready = [m for m, arc in TRANSITIONS.items() if arc.target is S.READY]
    assert into_ready == [Move.RELEASE]
    for attempted, arc in TRANSITIONS.items():
        assert arc.sources, attempted
        assert arc.reopens == bool(arc.sources & FINAL), attempted
        if arc.sources & LEASED and arc.target not in LEASED:
            asks = attempted in (Move.ASK_INPUT, Move.ASK_AUTH)
            assert arc.ends is not None or asks, f"{attempted} leaves an attempt running"


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    reached = {arc.target for arc in TRANSITIONS.values()}
    assert reached | {S.REJECTED} == set(S)
    assert {s for arc in TRANSITIONS.values() if not arc.reopens for s in arc.sources} == set(S) - FINAL


ILLEGAL = {
    "a state that does not exist": Put(S.READY, (("state", 99),)),
    "a final state without an end": Put(S.COMPLETED, (("finished_at", None),)),
    "an end without a final state": Put(S.READY, (("finished_at", "now"),)),
    "work without a lease": Put(S.IN_PROGRESS, (("lease_id", None),)),
    "a lease after the end": Put(S.FAILED, (("lease_id", uuid4()),)),
    "waiting for less than nothing": Put(S.PENDING, (("waiting", -1),)),
}


@pytest.mark.parametrize("name", ILLEGAL)
async def test_the_database_refuses(open_another: OpenStore, operator: Caller, name: str) -> None:
    platform = Platform(await open_another())
    illegal = ILLEGAL[name]
    columns = tuple((n, platform.now() if value == "now" else value) for n, value in illegal.columns)
    refusals = (sqlite3.IntegrityError, asyncpg.CheckViolationError)
    with pytest.raises(refusals):
        await platform.write(operator, put, Put(illegal.state, columns))


def test_the_system_is_an_operator() -> None:
    assert SYSTEM(uuid4()).operator
