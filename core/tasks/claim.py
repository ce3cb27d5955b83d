"""An agent takes work. The claim picks the routes that its agent covers, then the head of each.

What comes back is a lease: whoever presents its id is the executor, until it ends. Nothing is handed over in
memory, so a claimer that dies loses a lease and nothing else.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from core import access, routing
from core.caller import Caller
from core.errors import AgentBusy, Forbidden, HubError, NotFound
from core.fencing import P_NOW
from core.journal import record
from core.lifecycle import Who, move, touched
from core.platform import Platform
from core.store import tables as t
from core.store.engine import in_step
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.checkpoint import kept_of
from core.tasks.release import release
from core.tasks.report import arm_timeout
from core.tasks.task import Claimed, Claims, Message, Task
from core.transitions import Fence, Move
from core.workers.records import is_draining
from schemas.vocabulary import TaskState

WAIT_STEP = 1.0
"""Seconds after which a waiting claim asks the database again, whatever the hints say."""


@dataclass(frozen=True)
class ClaimTasks:
    """Who wants work, and how much. `limit` of None means one; with a limit the answer is a list."""

    agent_id: UUID
    worker_id: UUID | None = None
    routing_tags: Sequence[str] = ()
    workflow_id: UUID | None = None
    playbook_id: UUID | None = None
    limit: int | None = None
    start: bool = False
    lease_seconds: int = 60
    include_context: bool = False


P_AGENT = sa.bindparam("p_agent_id", type_=Id())
_AGENT = Statement(
    sa.select(t.agent).where(t.agent.c.id == P_AGENT, access.within_tenant(t.agent)).with_for_update()
)
_TAKE_AGENT = Statement(
    sa.update(t.agent)
    .where(t.agent.c.id == P_AGENT)
    .values(
        status=sa.literal("idle"),  # what it is once its leases have ended; with one it is busy
        last_claim_at=P_NOW,
        last_seen_at=P_NOW,
    )
)
_INSERT_ATTEMPT = Statement(sa.insert(t.attempt))
_INSERT_LEASE = Statement(sa.insert(t.lease))
_HELD = Statement(
    sa.select(*t.task.c, t.lease.c.until.label("until"))
    .join(t.lease, t.lease.c.task_id == t.task.c.id)
    .where(
        t.task.c.agent_id == P_AGENT,
        t.task.c.lease_id.is_not(None),
        access.within_tenant(t.task),
        t.lease.c.until > P_NOW,
    )
    .order_by(t.task.c.id)
)
_MESSAGES = Statement(
    sa.select(t.message)
    .where(t.message.c.task_id == sa.bindparam("p_task_id", type_=Id()))
    .order_by(t.message.c.n)
)
_LEASES = sa.select(sa.func.count()).where(t.lease.c.agent_id == P_AGENT).scalar_subquery()
_COUNT = Statement(sa.select(_LEASES.label("n")))
_WIDEST = 64
"""Routes that one statement looks at."""
_DEPTH = 64
"""Candidates looked at on each route: more than any other replica can have locked at once."""


def _claim_statement(routes: int, of_workflow: bool) -> Statement:
    """Take the head of `routes` routes, if the agent has a place.

    On PostgreSQL rows that others are taking are passed over; on SQLite there is one writer, and the first
    candidate is the one.
    """
    return Statement(lambda dialect: _take_head(routes, of_workflow, 1 if dialect == "sqlite" else _DEPTH))


def _take_head(routes: int, of_workflow: bool, depth: int) -> sa.Executable:
    task, c = t.task, t.task.c
    arms = []
    for n in range(routes):
        arm = sa.select(c.id, c.rank).where(
            c.state == sa.literal_column(str(int(TaskState.READY))),
            c.route_id == sa.bindparam(f"p_route_{n}", type_=sa.Integer()),
        )
        if of_workflow:
            arm = arm.where(c.workflow_id == sa.bindparam("p_workflow_id", type_=Id()))
        arms.append(arm.order_by(c.rank, c.id).limit(sa.literal_column(str(depth))))
    if routes == 1:
        candidates = arms[0].subquery("candidate")
    else:
        candidates = sa.union_all(
            *(sa.select(arm.subquery(f"arm_{n}")) for n, arm in enumerate(arms))
        ).subquery("candidate")
    head = task.alias("head")
    chosen = (
        sa.select(head.c.id)
        .join(candidates, candidates.c.id == head.c.id)
        .where(head.c.state == sa.literal_column(str(int(TaskState.READY))))
        .order_by(candidates.c.rank, candidates.c.id)
        .limit(sa.literal_column("1"))
        .with_for_update(of=head, skip_locked=True)
        .scalar_subquery()
    )
    values = {
        **touched(announcements=2),
        "state": sa.literal_column(str(int(TaskState.CLAIMED)), sa.SmallInteger),
        "prev_state": c.state,
        "status_at": P_NOW,
        "left_queue": sa.true(),
        "lease_id": sa.bindparam("p_lease_id", type_=Id()),
        "agent_id": P_AGENT,
        "worker_id": sa.bindparam("p_worker_id", type_=Id()),
        "attempt": c.attempt + 1,
        "claimed_at": P_NOW,
        "preferred_until": None,
    }
    # Counted in this statement, whose view of the leases is newer than the lock on the agent.
    has_place = sa.bindparam("p_places", type_=sa.Integer()) > _LEASES
    return sa.update(task).where(c.id == chosen, has_place).values(values).returning(*c)


_statement = lru_cache(maxsize=64)(_claim_statement)


@in_step
async def claim(tx: Tx, command: ClaimTasks) -> Claims:
    """Give the agent the most urgent tasks that it covers; no task, as where its worker drains, is no error.

    An agent that has no free place gets its own live tasks again, under the same leases, so that a claim
    whose answer was lost can be repeated. Two claims never get the same task.

    Raises:
        NotFound: no such agent.
        Forbidden: the agent is neither the caller nor one of its own.
        AgentBusy: `limit` asks for more than the agent's free places.
    """
    agent = await tx.one(_AGENT, p_agent_id=command.agent_id)
    if agent is None:
        raise NotFound("no such agent")
    worker_id = _acting_worker(tx.caller, agent, command)
    places: int = agent.max_concurrent
    wanted = 1 if command.limit is None else command.limit
    if wanted > 1 and places > 1:
        free = places - await _held_by(tx, agent.id)
        if 0 < free < wanted:
            raise AgentBusy(
                f"the agent has {free} free places", details={"free": free, "max_concurrent": places}
            )
    if worker_id is not None and await is_draining(tx, worker_id):
        return Claims([])
    routes = await routing.covered_routes(tx, routing.offer_of(agent, command.routing_tags))
    taken: list[Claimed] = []
    while len(taken) < min(wanted, places) and routes:
        if taken:
            await tx.flush()  # the next one counts the leases of those before
        row = await _take(tx, agent.id, worker_id, routes, command, places)
        if row is None:
            break
        until = tx.now + timedelta(seconds=command.lease_seconds)
        _lease(tx, row, until, command.lease_seconds)
        if command.start:
            row = await started(tx, row)
        taken.append(await _claimed(tx, row, until, command))
    if taken:
        tx.add(_TAKE_AGENT, p_agent_id=agent.id, p_now=tx.now)
        return Claims(taken)
    if await _held_by(tx, agent.id) < places:
        return Claims([])
    held = await tx.all(_HELD, p_agent_id=agent.id, p_now=tx.now)
    return Claims([await _claimed(tx, row, row.until, command) for row in held], replayed=bool(held))


async def _held_by(tx: Tx, agent_id: UUID) -> int:
    row = await tx.one(_COUNT, p_agent_id=agent_id)
    return 0 if row is None else int(row.n)


def _acting_worker(caller: Caller, agent: Row, command: ClaimTasks) -> UUID | None:
    mine = agent.id == caller.principal_id or agent.worker_id == caller.principal_id
    if not mine and not caller.operator:
        raise Forbidden("this agent is not yours")
    if command.worker_id is not None and command.worker_id != agent.worker_id and not caller.operator:
        raise Forbidden("this agent belongs to another worker")
    worker: UUID | None = agent.worker_id
    return worker


async def _take(
    tx: Tx, agent_id: UUID, worker_id: UUID | None, routes: Sequence[int], command: ClaimTasks, places: int
) -> Row | None:
    for group in await _groups(tx, routes, command):
        width = 1 << (len(group) - 1).bit_length()
        padded = [*group, *([-1] * (width - len(group)))]
        params: dict[str, Any] = {f"p_route_{n}": route for n, route in enumerate(padded)}
        if command.workflow_id is not None:
            params["p_workflow_id"] = command.workflow_id
        row = await tx.one(
            _statement(width, command.workflow_id is not None),
            p_now=tx.now,
            p_lease_id=tx.new_id(),
            p_agent_id=agent_id,
            p_worker_id=worker_id,
            p_places=places,
            **params,
        )
        if row is not None:
            return row
    return None


async def _groups(tx: Tx, routes: Sequence[int], command: ClaimTasks) -> Sequence[Sequence[int]]:
    """The routes in portions that one statement holds, that with the most urgent task first."""
    if len(routes) <= _WIDEST:
        return [routes]
    c = t.task.c
    head = sa.select(c.rank).where(
        c.state == sa.literal_column(str(int(TaskState.READY))), c.route_id == t.route.c.id
    )
    if command.workflow_id is not None:
        head = head.where(c.workflow_id == command.workflow_id)
    first = head.order_by(c.rank).limit(1).scalar_subquery().label("rank")
    heads = await tx.all(sa.select(t.route.c.id, first).where(t.route.c.id.in_(routes)))
    busy = [row.id for row in sorted((h for h in heads if h.rank is not None), key=lambda h: h.rank)]
    return [busy[begin : begin + _WIDEST] for begin in range(0, len(busy), _WIDEST)]


def _lease(tx: Tx, row: Row, until: object, seconds: int) -> None:
    tx.add(
        _INSERT_ATTEMPT,
        task_id=row.id,
        n=row.attempt,
        tenant_id=row.tenant_id,
        agent_id=row.agent_id,
        worker_id=row.worker_id,
        lease_id=row.lease_id,
        started_at=tx.now,
        ended_at=None,
        outcome=None,
        error=None,
    )
    tx.add(
        _INSERT_LEASE,
        task_id=row.id,
        lease_id=row.lease_id,
        tenant_id=row.tenant_id,
        agent_id=row.agent_id,
        seconds=seconds,
        until=until,
    )
    record(tx, row, Move.CLAIM, announces="task.assigned")


async def started(tx: Tx, row: Row, *, fence: Fence = Fence.SEEN) -> Row:
    """Start a task whose lease was compared already, and arm its timeout."""
    moved = await move(
        tx,
        Move.START,
        row.id,
        who=Who.EXECUTOR,
        lease_id=row.lease_id,
        fence=fence,
        sets={"started_at": tx.now},
    )
    arm_timeout(tx, moved.row)
    return moved.row


async def _claimed(tx: Tx, row: Row, until: object, command: ClaimTasks) -> Claimed:
    said = await tx.all(_MESSAGES, p_task_id=row.id) if command.include_context else []
    messages = [Message.of(m) for m in said]
    return Claimed(Task.of(row), row.lease_id, until, messages, await kept_of(tx, row))  # type: ignore[arg-type]


async def claim_waiting(
    platform: Platform, caller: Caller, command: ClaimTasks, wait_seconds: float
) -> Claims:
    """As `claim`, but wait up to `wait_seconds` for work when there is none. Raises as `claim`.

    When it is cancelled while a claim is under way, because its caller is gone, what that claim brings is
    given back at once, and costs no retry.
    """
    claims = await _claim_for_somebody(platform, caller, command)
    deadline = platform.monotonic() + wait_seconds
    while not claims.items and (left := deadline - platform.monotonic()) > 0:
        topics = await platform.read(caller, waiting_topics, command)
        with platform.hints.listen(topics) as woken:  # armed before the database is asked again
            claims = await _claim_for_somebody(platform, caller, command)
            if not claims.items:
                await woken.wait(min(left, WAIT_STEP))
    return claims


async def _claim_for_somebody(platform: Platform, caller: Caller, command: ClaimTasks) -> Claims:
    claiming = asyncio.ensure_future(platform.write(caller, claim, command))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        if not claiming.cancelled():
            returning = asyncio.create_task(_return_to_queue(platform, caller, claiming), name="give back")
            _RETURNING.add(returning)
            returning.add_done_callback(_RETURNING.discard)
        raise


_RETURNING: set[asyncio.Task[None]] = set()
"""Claims on their way back. The event loop alone would not keep them alive."""


async def _return_to_queue(platform: Platform, caller: Caller, claiming: asyncio.Future[Claims]) -> None:
    try:
        claims = await claiming
    except HubError:
        return
    # A remembered claim can be asked for again under its key, and a replayed one was somebody's before.
    if claims.replayed or caller.replay_key is not None:
        return
    for item in claims.items:
        with contextlib.suppress(HubError):  # the lease runs out by itself where this fails
            await platform.write(caller, give_back, GiveBack(item.task.id, item.lease_id))


@dataclass(frozen=True)
class GiveBack:
    """A claim that reached nobody."""

    task_id: UUID
    lease_id: UUID


async def give_back(tx: Tx, command: GiveBack) -> None:
    """Put a task back whose claimer never heard of it. Somebody else's lease is left alone.

    Raises:
        Conflict: it has moved on meanwhile.
    """
    row = await tx.one(_TASK, p_task_id=command.task_id)
    chosen = Move.EXPIRE if row is not None and row.state == TaskState.CLAIMED else Move.REQUEUE
    moved = await move(
        tx,
        chosen,
        command.task_id,
        who=Who.SYSTEM,
        lease_id=command.lease_id,
        fence=Fence.SEEN,
        said={"reason": "claimer_gone"},
        sets={"ready_at": tx.now},
    )
    await release(tx, moved.row)


_TASK = Statement(
    sa.select(t.task.c.state).where(
        t.task.c.id == sa.bindparam("p_task_id", type_=Id()), access.within_tenant(t.task)
    )
)


async def waiting_topics(tx: Tx, command: ClaimTasks) -> list[str]:
    """What a waiting claim of this agent listens to.

    Raises:
        NotFound: no such agent.
    """
    agent = await tx.one(_AGENT_READ, p_agent_id=command.agent_id)
    if agent is None:
        raise NotFound("no such agent")
    offer = routing.offer_of(agent, command.routing_tags)
    routes = await routing.covered_routes(tx, offer, on_old_view=True)
    return [routing.new_routes_topic(tx.caller.tenant_id), *(routing.topic(r) for r in routes)]


_AGENT_READ = Statement(sa.select(t.agent).where(t.agent.c.id == P_AGENT, access.within_tenant(t.agent)))
