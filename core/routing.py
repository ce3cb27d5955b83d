"""Which agent may take which task: what a task asks for is a *route*, a small number.

A route is a set of tags, a set of tools and a mode. An agent covers a route when it offers all of it, so a
claim picks the routes it covers and takes the head of each by a partial index, and never filters tasks.
`RouteTable` remembers a tenant's routes in this process; the database has them all. A new route of this
process is read at once, one of another replica within a second.
"""

import json
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

import sqlalchemy as sa

from core.store import tables as t
from core.store.statement import Row, Statement, insert
from core.store.tx import Tx
from core.store.types import Id
from schemas.vocabulary import ExecutionMode

TASK_MODE = "task"
ORCHESTRATOR_MODE = "orchestrator"

FRESH = 1.0
"""Seconds after which the routes are read again: another replica may have made one."""

ACCEPTS_UNTAGGED = "accepts_untagged"
"""Attribute of an agent that works elsewhere: whether it gets tasks that ask for nothing in particular."""

ONLY_TAGS = "only_tags"
"""Attribute of an agent that is not there for everybody: it gets tasks that ask for all of these tags."""

MODES = {
    ExecutionMode.SPECIALIST: frozenset({TASK_MODE}),
    ExecutionMode.ORCHESTRATOR: frozenset({ORCHESTRATOR_MODE}),
    ExecutionMode.HYBRID: frozenset({TASK_MODE, ORCHESTRATOR_MODE}),
}
"""What each execution mode takes."""


@dataclass(frozen=True)
class Route:
    """What a task asks for."""

    tags: frozenset[str]
    tools: frozenset[str]
    mode: str = TASK_MODE

    @property
    def key(self) -> str:
        """The canonical form that makes equal demands one route."""
        return _key(self.tags, self.tools, self.mode)

    @classmethod
    def of_key(cls, key: str) -> "Route":
        """The route of a canonical form."""
        tags, tools, mode = json.loads(key)
        return cls(frozenset(tags), frozenset(tools), mode)

    def for_agent(self, agent_id: UUID) -> "Route":
        """The same demand, for one agent alone."""
        return Route(self.tags | {agent_tag(agent_id)}, self.tools, self.mode)


@lru_cache(maxsize=4096)
def _key(tags: frozenset[str], tools: frozenset[str], mode: str) -> str:
    return json.dumps([sorted(tags), sorted(tools), mode], separators=(",", ":"))


@dataclass(frozen=True)
class Offer:
    """What an agent brings to a claim."""

    tags: frozenset[str]
    tools: frozenset[str]
    modes: frozenset[str]
    tagged_only: bool = False
    """Takes nothing that asks for no tag."""
    only: frozenset[str] = frozenset()
    """Takes nothing that does not ask for all of these."""

    def covers(self, route: Route) -> bool:
        """Whether everything that the route asks for is offered."""
        if (self.tagged_only and not route.tags) or not self.only <= route.tags:
            return False
        return route.tags <= self.tags and route.tools <= self.tools and route.mode in self.modes


def agent_tag(agent_id: UUID) -> str:
    """The tag that only this agent has."""
    return f"agent:{agent_id}"


def role_tag(role: str) -> str:
    """The tag of whoever offers a role."""
    return f"role:{role}"


def offer_of(agent: Row, sent_tags: Iterable[str]) -> Offer:
    """What an agent's row and its claim offer together."""
    tools = agent.tools or {}
    only = agent.attributes.get(ONLY_TAGS)
    return Offer(
        frozenset(agent.routing_tags) | frozenset(sent_tags) | {agent_tag(agent.id)},
        frozenset(tools.get("required", ())) | frozenset(tools.get("optional", ())),
        MODES[ExecutionMode(agent.execution_mode)],
        agent.protocol == "a2a" and agent.attributes.get(ACCEPTS_UNTAGGED) is False,
        frozenset(tag for tag in only if isinstance(tag, str)) if isinstance(only, list) else frozenset(),
    )


@dataclass
class RouteTable:
    """The routes of all tenants as this process knows them. Safe to use from several threads."""

    _ids: dict[tuple[UUID, str], int] = field(default_factory=dict)
    _routes: dict[UUID, dict[int, Route]] = field(default_factory=dict)
    _covered: dict[tuple[UUID, Offer], tuple[int, ...]] = field(default_factory=dict)
    _read_at: dict[UUID, float] = field(default_factory=dict)
    _changes: dict[UUID, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def id_of(self, tenant_id: UUID, key: str) -> int | None:
        """The number of a known route."""
        return self._ids.get((tenant_id, key))

    def known(self, tenant_id: UUID) -> bool:
        """Whether the tenant's routes have been read since the last change, and not long ago."""
        read_at = self._read_at.get(tenant_id)
        return read_at is not None and time.monotonic() - read_at < FRESH

    def changes(self, tenant_id: UUID) -> int:
        """Say it to `learn`: how many changes were known before the database was read."""
        return self._changes.get(tenant_id, 0)

    def learn(self, tenant_id: UUID, rows: Collection[Row], changes: int) -> None:
        """Take over what the database has. A change that came while it was read may be missing in it."""
        with self._lock:
            routes = self._routes.get(tenant_id, {})
            if any(row.id not in routes for row in rows):
                routes = self._routes[tenant_id] = {row.id: Route.of_key(row.key) for row in rows}
                for row in rows:
                    self._ids[(tenant_id, row.key)] = row.id
                self._covered = {k: v for k, v in self._covered.items() if k[0] != tenant_id}
            if changes == self._changes.get(tenant_id, 0):
                self._read_at[tenant_id] = time.monotonic()

    def forget(self, tenant_id: UUID) -> None:
        """Read the database again before the next claim: there is a new route."""
        with self._lock:
            self._changes[tenant_id] = self._changes.get(tenant_id, 0) + 1
            self._read_at.pop(tenant_id, None)

    def covered(self, tenant_id: UUID, offer: Offer) -> tuple[int, ...]:
        """The routes that an offer covers."""
        found = self._covered.get((tenant_id, offer))
        if found is None:
            routes = self._routes.get(tenant_id, {})
            found = tuple(sorted(n for n, route in routes.items() if offer.covers(route)))
            with self._lock:
                if len(self._covered) > 10_000:
                    self._covered.clear()
                self._covered[(tenant_id, offer)] = found
        return found


_P_TENANT = sa.bindparam("p_tenant", type_=Id())
_P_KEY = sa.bindparam("p_key", type_=sa.String())
_OF_TENANT = Statement(sa.select(t.route.c.id, t.route.c.key).where(t.route.c.tenant_id == _P_TENANT))
_ONE = Statement(
    sa.select(t.route.c.id, t.route.c.key).where(t.route.c.tenant_id == _P_TENANT, t.route.c.key == _P_KEY)
)


_INSERT = Statement(
    insert(t.route)
    .values(tenant_id=_P_TENANT, key=_P_KEY)
    .on_conflict_do_nothing(index_elements=["tenant_id", "key"])
)


def topic(route_id: int) -> str:
    """The hint topic on which one waiter is woken for each task that the route gains."""
    return f"route:{route_id}"


def new_routes_topic(tenant_id: UUID) -> str:
    """The hint topic that tells every waiter of a tenant to look which routes it covers now."""
    return f"routes:{tenant_id}"


async def route_id(tx: Tx, wanted: Route) -> int:
    """The number of a route, made if it is new. Concurrent makers get the same one."""
    tenant, key, routes = tx.caller.tenant_id, wanted.key, tx.memory(RouteTable)
    known = routes.id_of(tenant, key)
    if known is not None:
        return known
    row = await tx.one(_ONE, p_tenant=tenant, p_key=key)
    if row is None:
        await tx.run(_INSERT, p_tenant=tenant, p_key=key)
        row = await tx.one(_ONE, p_tenant=tenant, p_key=key)
        assert row is not None, "a route that was just inserted is there"
        # Learned only after the commit, by the next reader: this transaction may still be rolled back.
        tx.after_commit(lambda: routes.forget(tenant))
        tx.wake(new_routes_topic(tenant))
    return int(row.id)


async def covered_routes(tx: Tx, offer: Offer, *, on_old_view: bool = False) -> tuple[int, ...]:
    """The numbers of all routes of the caller's tenant that an offer covers.

    A query reads `on_old_view`: what it finds may be older than the last known change, and is not relied on.
    """
    tenant, routes = tx.caller.tenant_id, tx.memory(RouteTable)
    if not routes.known(tenant):
        changes = -1 if on_old_view else routes.changes(tenant)
        routes.learn(tenant, await tx.all(_OF_TENANT, p_tenant=tenant), changes)
    return routes.covered(tenant, offer)
