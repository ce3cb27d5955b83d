"""What the registry does by itself: servers that fall due are verified again, those that are away are tried,
and those that tell of changes are listened to.

Every replica runs it. A server that is due is taken by a compare-and-set, so that one replica looks at it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.caller import SYSTEM
from core.errors import HubError, NotFound, Unavailable
from core.mcp.health import Soon, verify_soon
from core.mcp.ports import ServerRefused, Servers
from core.mcp.records import CHANGED, P_SERVER, ServerId, open_server
from core.mcp.verification import reverify_server, wanted_of
from core.mcp.words import ServerKind
from core.platform import Platform
from core.store.statement import Statement
from core.store.tables.mcp_registry import mcp_server
from core.store.tx import Tx
from core.store.types import Instant
from schemas.vocabulary import Health, VerificationStatus

logger = logging.getLogger("crossdock.mcp")
HUB: Final = SYSTEM(UUID(int=0))
AT_ONCE: Final = 8
MOST_WATCHED: Final = 200
"""Servers that one process listens to."""
_LISTS: Final = ("tools", "resources", "prompts")


@dataclass(frozen=True)
class Pace:
    """Seconds between things."""

    sweep: float = 5.0
    taken: float = 180.0
    """How long a server that was taken is not taken again, should its look never end."""
    least: float = 10.0
    """Between two looks that a server itself asks for."""
    first_retry: float = 5.0
    last_retry: float = 300.0
    """Between attempts to listen."""


@dataclass(frozen=True)
class Due:
    """A server whose turn it is."""

    tenant_id: UUID
    id: UUID


@dataclass(frozen=True)
class Watched:
    """A server that tells of changes."""

    tenant_id: UUID
    id: UUID
    revision: int


@dataclass(frozen=True)
class TakeDue:
    """Take servers that are due, for so many seconds."""

    seconds: float
    most: int = AT_ONCE


_s = mcp_server.c
_NOW = sa.bindparam("p_now", type_=Instant())
_IS_DUE = sa.and_(
    _s.is_archived == sa.false(),
    # A draft waits for its authorization; a hosted server only for its worker.
    sa.or_(_s.verification_status != VerificationStatus.UNKNOWN.value, _s.kind == ServerKind.HOSTED.value),
    sa.or_(
        _s.verify_at <= _NOW,
        sa.and_(_s.health == Health.UNREACHABLE.value, _s.retry_at <= _NOW),
    ),
)
_DUE = Statement(
    sa.select(_s.tenant_id, _s.id)
    .where(_IS_DUE)
    .order_by(_s.verify_at)
    .limit(sa.bindparam("p_most", type_=sa.Integer()))
)
_UNTIL = sa.bindparam("p_until", type_=Instant())
_TAKE = Statement(
    sa.update(mcp_server)
    .where(_s.id == P_SERVER, _IS_DUE)
    .values(verify_at=_UNTIL, retry_at=sa.case((_s.retry_at.is_not(None), _UNTIL), else_=None))
)
_WATCHED = Statement(
    sa.select(_s.tenant_id, _s.id, _s.revision, _s.capabilities)
    .where(
        _s.is_archived == sa.false(),
        _s.verification_status == VerificationStatus.VERIFIED.value,
        _s.health.in_([Health.OK.value, Health.DEGRADED.value]),
    )
    .order_by(_s.id)
)


async def take_due(tx: Tx, command: TakeDue) -> list[Due]:
    """Servers that are due, of every tenant, for whoever takes them first."""
    taken = []
    until = tx.now + timedelta(seconds=command.seconds)
    for row in await tx.all(_DUE, p_now=tx.now, p_most=command.most):
        if await tx.run(_TAKE, p_server_id=row.id, p_now=tx.now, p_until=until):
            taken.append(Due(row.tenant_id, row.id))
    return taken


async def watched(tx: Tx, _: None) -> Sequence[Watched]:
    """The servers that say they tell of changes, of every tenant."""
    rows = await tx.all(_WATCHED)
    return [Watched(row.tenant_id, row.id, row.revision) for row in rows if tells(row.capabilities)]


def tells(capabilities: Mapping[str, Any]) -> list[str]:
    """Of which lists a server tells when they change."""
    return [
        name
        for name in _LISTS
        if type(capabilities.get(name)) is dict and capabilities[name].get("listChanged") is True
    ]


class Upkeep:
    """The registry's own work in one hub process."""

    def __init__(self, platform: Platform, servers: Servers, pace: Pace | None = None) -> None:
        self._platform = platform
        self._servers = servers
        self._pace = pace or Pace()
        self._running: list[asyncio.Task[None]] = []
        self._watching: dict[UUID, tuple[int, asyncio.Task[None]]] = {}

    async def start(self) -> None:
        """Begin to look."""
        looks = (self._verify_due, self._watch)
        self._running = [asyncio.create_task(self._every(look), name=look.__name__) for look in looks]

    async def stop(self) -> None:
        """Look at nothing more, and listen to nobody."""
        tasks = [*self._running, *(task for _, task in self._watching.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running, self._watching = [], {}

    async def _every(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            with self._platform.hints.listen([CHANGED]) as woken:
                try:
                    await look()
                except Unavailable as error:
                    logger.warning("MCP servers cannot be looked after: %s", error.message)
                except Exception:
                    logger.exception("looking after MCP servers failed; it is tried again")
                await woken.wait(self._pace.sweep)

    async def _verify_due(self) -> None:
        due = await self._platform.write(HUB, take_due, TakeDue(self._pace.taken))
        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(self._verify(one))

    async def _verify(self, one: Due) -> None:
        try:
            await reverify_server(self._platform, SYSTEM(one.tenant_id), self._servers, ServerId(one.id))
        except NotFound:
            return
        except Unavailable:
            raise
        except HubError as error:
            logger.warning("MCP server %s was not verified: %s", one.id, error.message)

    async def _watch(self) -> None:
        wanted = {one.id: one for one in (await self._platform.read(HUB, watched, None))[:MOST_WATCHED]}
        for server_id, (revision, task) in list(self._watching.items()):
            if server_id not in wanted or wanted[server_id].revision != revision:
                del self._watching[server_id]
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for one in wanted.values():
            if one.id not in self._watching:
                task = asyncio.create_task(self._listen(one), name=f"listen {one.id}")
                self._watching[one.id] = (one.revision, task)

    async def _listen(self, one: Watched) -> None:
        heard = asyncio.Event()
        telling = asyncio.create_task(self._tell(one, heard), name=f"tell {one.id}")
        system, pause = SYSTEM(one.tenant_id), self._pace.first_retry
        try:
            while True:
                since = self._platform.monotonic()
                try:
                    known = await self._platform.read(system, open_server, ServerId(one.id))
                    await self._servers.watch(wanted_of(known), known.server.capabilities, heard.set)
                except NotFound:
                    return
                except (ServerRefused, HubError) as error:
                    logger.info("MCP server %s cannot be listened to: %s", one.id, error)
                except Exception:
                    logger.exception("listening to MCP server %s failed; it is tried again", one.id)
                if self._platform.monotonic() - since > self._pace.last_retry:
                    pause = self._pace.first_retry
                await asyncio.sleep(pause)
                pause = min(self._pace.last_retry, pause * 2)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, one: Watched, heard: asyncio.Event) -> None:
        """Have a server verified when it has told of a change; however often it does, not too often."""
        while True:
            await heard.wait()
            heard.clear()
            try:
                await self._platform.write(SYSTEM(one.tenant_id), verify_soon, Soon(one.id))
            except HubError as error:
                logger.warning("MCP server %s told of a change: %s", one.id, error.message)
            await asyncio.sleep(self._pace.least)
