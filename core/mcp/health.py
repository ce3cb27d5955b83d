"""How MCP servers are doing, as whoever calls them finds out, with a circuit breaker.

A server that could not be reached three times in a row, or once when it was verified, is `unreachable`: it
is not called until `retry_at`, which moves further away each time; then whoever comes first tries. Replicas
share all of it through the row. None of this touches what is known of the server, nor its verification.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import UpstreamFailed
from core.fencing import P_NOW
from core.mcp.records import CHANGED, P_SERVER, McpServer, row_of
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_server
from core.store.tx import Tx
from core.store.types import Instant
from schemas.vocabulary import Health, VerificationStatus

PATIENCE: Final = 3
"""Failures in a row that make a server unreachable."""
FIRST_RETRY: Final = 5.0
LAST_RETRY: Final = 300.0
"""Seconds to the first look after it became unreachable, and the most there are between two."""


@dataclass(frozen=True)
class Observed:
    """What a call has shown of a server. Say OK only when its health was another, to save the write."""

    server_id: UUID
    health: Health
    error: str | None = None
    challenge: str | None = None
    """`WWW-Authenticate`, when it needs authorization."""
    certain: bool = False
    """Of unreachable: do not wait for more failures."""


_s = mcp_server.c
_WRITTEN: Final = ("health", "health_error", "health_at", "challenge", "failures", "retry_at")
_UPDATE = Statement(
    sa.update(mcp_server)
    .where(_s.id == P_SERVER, access.within_tenant(mcp_server))
    .values({name: sa.bindparam(f"p_{name}", type_=_s[name].type) for name in _WRITTEN})
)
_DUE_NOW = Statement(
    sa.update(mcp_server)
    .where(
        _s.id == P_SERVER,
        access.within_tenant(mcp_server),
        _s.is_archived == sa.false(),
        sa.or_(_s.verify_at.is_(None), _s.verify_at > P_NOW),
    )
    .values(verify_at=sa.bindparam("p_now", type_=Instant()))
)


async def observe(tx: Tx, command: Observed) -> Health:
    """Note what a call has shown, and tell how the server is doing now.

    Raises:
        NotFound: no such server.
    """
    row = await row_of(tx, command.server_id)
    columns = after(row, command, tx.now)
    if any(columns[name] != getattr(row, name) for name in _WRITTEN if name != "health_at"):
        await tx.run(_UPDATE, p_server_id=row.id, **{f"p_{name}": columns[name] for name in _WRITTEN})
    now = Health(columns["health"])  # type: ignore[arg-type]  # a column of mixed types
    if now is not Health(row.health):
        said(tx, row, now, command.error)
    return now


async def verify_soon(tx: Tx, command: "Soon") -> bool:
    """Let a server be verified at once, as when it says that what it offers has changed."""
    changed = await tx.run(_DUE_NOW, p_server_id=command.server_id, p_now=tx.now)
    if changed:
        tx.wake(CHANGED)
    return bool(changed)


@dataclass(frozen=True)
class Soon:
    """Which server to verify."""

    server_id: UUID


def after(row: Row, seen: Observed, now: datetime) -> dict[str, object]:
    """The columns of a server's health once something was observed."""
    health, failures, retry_at = seen.health, 0, None
    if health is Health.UNREACHABLE:
        failures = row.failures + 1
        if failures < PATIENCE and not seen.certain and row.health != Health.UNREACHABLE.value:
            health = Health.DEGRADED
        else:
            before = max(0, failures - (1 if seen.certain else PATIENCE))
            retry_at = now + timedelta(seconds=min(LAST_RETRY, FIRST_RETRY * 2 ** min(before, 10)))
    return {
        "health": health.value,
        "health_error": None if health is Health.OK else seen.error,
        "health_at": now if health.value != row.health else row.health_at,
        "challenge": seen.challenge if health is Health.NEEDS_REAUTH else None,
        "failures": failures,
        "retry_at": retry_at,
    }


def said(tx: Tx, row: Row, health: Health, error: str | None) -> None:
    """Tell the log and whoever waits that a server is better or worse."""
    data = {"server_id": str(row.id), "name": row.name, "slug": row.slug, "health": health.value}
    if error is not None:
        data["error"] = error
    tx.event("mcp_server.health_changed", entity_type="mcp_server", entity_id=row.id, data=data)
    tx.wake(CHANGED)


def check_callable(server: McpServer, now: datetime) -> None:
    """Pass only a server that may be called now.

    Raises:
        UpstreamFailed: why not, with its `reason_code`.
    """
    details: dict[str, object] = {"server": server.slug}
    if server.is_archived:
        raise UpstreamFailed(
            f"the MCP server {server.slug} is archived",
            details={**details, "reason_code": "mcp_server_archived"},
        )
    if server.verification_status is not VerificationStatus.VERIFIED:
        raise UpstreamFailed(
            f"the MCP server {server.slug} is not verified: {server.verification_error or 'not yet'}",
            details={**details, "reason_code": "mcp_server_not_verified"},
            hint="verify it again once it is mended",
        )
    if server.health is Health.NEEDS_REAUTH:
        raise UpstreamFailed(
            f"the MCP server {server.slug} does not accept the hub's credential",
            details={**details, "reason_code": "mcp_server_needs_reauth"},
            hint="an operator has to authorize the hub again",
        )
    if server.health is Health.UNREACHABLE and server.retry_at is not None and now < server.retry_at:
        raise UpstreamFailed(
            f"the MCP server {server.slug} cannot be reached",
            details={
                **details,
                "reason_code": "mcp_server_unreachable",
                "retry_at": server.retry_at.isoformat(),
            },
        )
