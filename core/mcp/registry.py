"""MCP servers that the hub calls for others: registered, changed, verified, archived, removed.

Verification says whether a server is what it was registered as, health how it is doing; a network failure
changes only health, and nothing but a good look changes what is known to be offered. This module calls
nobody: `verification.py` has the servers looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import Conflict, Invalid
from core.fencing import P_NOW
from core.mcp import health
from core.mcp.health import Observed
from core.mcp.parameters import GivenParameter, check_parameters, drop_parameters, write_parameters
from core.mcp.ports import Fault, Looked, ServerFound
from core.mcp.records import CHANGED, P_SERVER, McpServer, ServerId, get_server, row_of
from core.mcp.registration import ChangeServer, RegisterServer, check_secrets_stay, check_slug, slug_of
from core.mcp.snapshot import drop_items, take_over
from core.mcp.words import Pinning
from core.mcp_oauth.connection_records import ServerId as OAuthOf
from core.mcp_oauth.connections import remove_connection
from core.store.replay import Beside
from core.store.statement import Row, Statement
from core.store.tables.mcp_registry import mcp_channel, mcp_hosting, mcp_server
from core.store.tx import Tx
from schemas.vocabulary import Health, VerificationStatus

_V = VerificationStatus
VERIFICATION: Final[Mapping[str, tuple[frozenset[VerificationStatus], VerificationStatus]]] = (
    MappingProxyType(
        {
            "draft": (frozenset(), _V.UNKNOWN),
            "verify": (frozenset(_V), _V.VERIFIED),
            "refute": (frozenset({_V.UNKNOWN, _V.VERIFIED}), _V.FAILED),
            "unlink": (frozenset({_V.VERIFIED}), _V.UNKNOWN),
        }
    )
)
"""Every move of `verification_status`: from where, and where it leads."""


@dataclass(frozen=True)
class Add:
    """A registration and what a look has shown; without a look it is a draft, which waits for OAuth."""

    wanted: RegisterServer
    looked: Beside[Looked | None]


@dataclass(frozen=True)
class Change:
    """A change, and what a look has shown, if one was needed."""

    wanted: ChangeServer
    looked: Beside[Looked | None]


@dataclass(frozen=True)
class Reverified:
    """What a look at a known server has shown."""

    server_id: UUID
    looked: Beside[Looked]


_s = mcp_server.c
_INSERT = Statement(sa.insert(mcp_server))
_WRITTEN = (
    "name", "description", "endpoint_url", "document_url", "transport_preference", "call_timeout_seconds",
    "auth_mode", "pinning", "is_archived", "reverify_seconds", "verification_status", "verification_error",
    "verified_at", "verified_transport", "verified_era", "verified_version", "versions", "capabilities",
    "server_info", "warnings", "verify_at", "health", "health_error", "health_at", "challenge", "failures",
    "retry_at",
)  # fmt: skip
_PASSING = frozenset(
    {"verified_at", "verify_at", "health", "health_error", "health_at", "challenge", "failures", "retry_at"}
)
"""What says how a server is doing, and nothing about what is called."""
_PLAIN = ("name", "description", "endpoint_url", "call_timeout_seconds", "document_url", "is_archived")
_UPDATE = Statement(
    sa.update(mcp_server)
    .where(_s.id == P_SERVER, access.within_tenant(mcp_server))
    .values(
        {
            **{name: sa.bindparam(f"p_{name}", type_=_s[name].type) for name in _WRITTEN},
            "revision": _s.revision + sa.bindparam("p_step", type_=sa.Integer()),
            "updated_at": P_NOW,
        }
    )
)
_DOCUMENT = Statement(
    sa.update(mcp_server)
    .where(_s.id == P_SERVER, access.within_tenant(mcp_server))
    .values(document=sa.bindparam("p_document", type_=_s.document.type))
)
_DELETE = Statement(sa.delete(mcp_server).where(_s.id == P_SERVER, access.within_tenant(mcp_server)))
_DROP_HOSTING = (
    Statement(sa.delete(mcp_channel).where(mcp_channel.c.server_id == P_SERVER)),
    Statement(sa.delete(mcp_hosting).where(mcp_hosting.c.server_id == P_SERVER)),
)
_TAKEN = Statement(
    sa.select(_s.id, _s.name, _s.slug).where(
        access.within_tenant(mcp_server),
        sa.or_(
            _s.name == sa.bindparam("p_name", type_=sa.String()),
            _s.slug == sa.bindparam("p_slug", type_=sa.String()),
        ),
    )
)


async def add(tx: Tx, command: Add) -> McpServer:
    """Register a server with what it offers, or as a draft.

    Raises:
        Invalid: it was refused, or a member cannot be; nothing is stored.
        Conflict: its name or its slug is taken.
    """
    wanted = command.wanted
    check_parameters(wanted.parameters, wanted.endpoint_url)
    slug = wanted.slug or slug_of(wanted.name)
    check_slug(slug)
    await _check_free(tx, wanted.name, slug)
    server_id = tx.new_id()
    await tx.run(
        _INSERT,
        **_unverified(tx),
        id=server_id,
        tenant_id=tx.caller.tenant_id,
        slug=slug,
        name=wanted.name,
        description=wanted.description,
        kind=wanted.kind.value,
        endpoint_url=wanted.endpoint_url,
        document_url=wanted.document_url,
        document=None if wanted.document is None else dict(wanted.document),
        transport_preference=wanted.transport_preference.value,
        call_timeout_seconds=wanted.call_timeout_seconds,
        auth_mode=wanted.auth_mode.value,
        pinning=wanted.pinning.value,
        is_archived=False,
        reverify_seconds=wanted.reverify_seconds,
        registered_by=tx.caller.principal_id,
        worker_id=wanted.worker_id,
        revision=1,
        created_at=tx.now,
        updated_at=tx.now,
    )
    await write_parameters(tx, server_id, wanted.parameters)
    if command.looked.value is not None:
        await _take(tx, await row_of(tx, server_id), _accepted(command.looked.value), {}, first=True)
    return await _told(tx, server_id, "mcp_server.registered")


async def change(tx: Tx, command: Change) -> McpServer:
    """Change a server.

    Raises:
        NotFound: no such server.
        Invalid: it was refused, or a stored secret would go to another origin; nothing has changed.
        Conflict: the name is taken.
    """
    wanted, row = command.wanted, await row_of(tx, command.wanted.server_id)
    url = wanted.endpoint_url or row.endpoint_url
    if wanted.name is not None and wanted.name != row.name:
        await _check_free(tx, wanted.name, "")
    known = await get_server(tx, ServerId(row.id))
    if wanted.parameters is not None:
        check_parameters(wanted.parameters, url)
    elif wanted.endpoint_url is not None:
        given = [GivenParameter(one.placement, one.key, one.value_kind) for one in known.parameters]
        check_parameters(given, url)
    check_secrets_stay(known, wanted)
    columns: dict[str, Any] = {}
    for name in (
        "name",
        "description",
        "endpoint_url",
        "call_timeout_seconds",
        "document_url",
        "is_archived",
    ):
        value = getattr(wanted, name)
        if value is not None:
            columns[name] = value
    for name in ("transport_preference", "auth_mode", "pinning"):
        value = getattr(wanted, name)
        if value is not None:
            columns[name] = value.value
    if wanted.reverify_seconds is not None:
        columns["reverify_seconds"] = wanted.reverify_seconds or None
    if wanted.is_archived:
        columns["verify_at"] = None
    if wanted.parameters is not None:
        await write_parameters(tx, row.id, wanted.parameters)
    if wanted.document is not None:
        await tx.run(_DOCUMENT, p_server_id=row.id, p_document=dict(wanted.document))
    if command.looked.value is not None:
        await _take(tx, row, _accepted(command.looked.value), columns, revises=True)
    else:
        await _write(tx, row, columns, revises=True)
    return await _told(tx, row.id, "mcp_server.changed")


async def reverified(tx: Tx, command: Reverified) -> McpServer:
    """Take over what a look has shown: a new snapshot, or why the server is not believed any more, or that it
    cannot be reached or does not let the hub in, which changes only its health. The last snapshot stays.

    Raises:
        NotFound: no such server.
    """
    row, looked = await row_of(tx, command.server_id), command.looked.value
    if isinstance(looked, ServerFound):
        await _take(tx, row, looked, {})
        return await _told(tx, row.id, "mcp_server.verified")
    columns: dict[str, Any] = {"verify_at": _next(tx, row)}
    if looked.fault is Fault.WRONG:
        columns |= {"verification_status": _moved("refute", row), "verification_error": looked.reason}
    else:
        needs = looked.fault is Fault.NEEDS_AUTH
        seen = Health.NEEDS_REAUTH if needs else Health.UNREACHABLE
        observed = Observed(row.id, seen, looked.reason, looked.challenge, certain=True)
        columns |= health.after(row, observed, tx.now)
    await _write(tx, row, columns)
    return await _told(tx, row.id, "mcp_server.refused")


async def unlink(tx: Tx, command: ServerId) -> McpServer:
    """What a server was verified with is gone, as its OAuth connection: it is unknown until verified again.

    Raises:
        NotFound: no such server.
    """
    row = await row_of(tx, command.server_id)
    if VerificationStatus(row.verification_status) in VERIFICATION["unlink"][0]:
        await _write(tx, row, {"verification_status": VERIFICATION["unlink"][1].value})
    return await _told(tx, row.id, "mcp_server.unlinked")


async def remove(tx: Tx, command: ServerId) -> None:
    """Remove a server, and all that is known of it.

    Raises:
        NotFound: no such server.
    """
    row = await row_of(tx, command.server_id)
    await drop_items(tx, row.id)
    await drop_parameters(tx, row.id)
    await remove_connection(tx, OAuthOf(row.id))
    for statement in _DROP_HOSTING:
        await tx.run(statement, p_server_id=row.id)
    await tx.run(_DELETE, p_server_id=row.id)
    data = {"server_id": str(row.id), "name": row.name, "slug": row.slug}
    tx.event("mcp_server.removed", entity_type="mcp_server", entity_id=row.id, data=data)
    tx.wake(CHANGED)


def _accepted(looked: Looked) -> ServerFound:
    if isinstance(looked, ServerFound):
        return looked
    raise Invalid(
        f"the MCP server is not accepted: {looked.reason}",
        details={"reason_code": "verification_failed", "fault": looked.fault.value},
    )


async def _check_free(tx: Tx, name: str, slug: str) -> None:
    taken = await tx.one(_TAKEN, p_name=name, p_slug=slug)
    if taken is not None:
        which = "name" if taken.name == name else "slug"
        raise Conflict(f"another MCP server has this {which}", details={"reason_code": f"{which}_taken"})


def _unverified(tx: Tx) -> dict[str, Any]:
    return {
        "verification_status": VERIFICATION["draft"][1].value,
        "verification_error": None,
        "verified_at": None,
        "verified_transport": None,
        "verified_era": None,
        "verified_version": None,
        "versions": [],
        "capabilities": {},
        "server_info": {},
        "warnings": [],
        "verify_at": None,
        "health": Health.OK.value,
        "health_error": None,
        "health_at": tx.now,
        "challenge": None,
        "failures": 0,
        "retry_at": None,
    }


async def _take(
    tx: Tx,
    row: Row,
    found: ServerFound,
    columns: dict[str, Any],
    *,
    first: bool = False,
    revises: bool = False,
) -> None:
    """Write what a good look has shown, beside other changes."""
    first = first or row.verified_at is None
    moved = await take_over(
        tx, row.id, found.items, Pinning(columns.get("pinning", row.pinning)), first=first
    )
    seconds = columns.get("reverify_seconds", row.reverify_seconds)
    archived = columns.get("is_archived", row.is_archived)
    if found.document is not None:
        await tx.run(_DOCUMENT, p_server_id=row.id, p_document=dict(found.document))
    if found.endpoint_url is not None:
        columns = {**columns, "endpoint_url": found.endpoint_url}
    await _write(
        tx,
        row,
        {
            **columns,
            "verification_status": _moved("verify", row),
            "verification_error": None,
            "verified_at": tx.now,
            "verified_transport": found.transport.value,
            "verified_era": found.era.value,
            "verified_version": found.version,
            "versions": list(found.versions),
            "capabilities": dict(found.capabilities),
            "server_info": dict(found.info),
            "warnings": list(found.warnings),
            "verify_at": None if not seconds or archived else tx.now + timedelta(seconds=seconds),
            **health.after(row, Observed(row.id, Health.OK), tx.now),
        },
        revises=revises or any(moved.values()),
    )
    quarantined = moved["quarantined"]
    if not first and any(names for state, names in moved.items() if state != "said"):
        data = {"server_id": str(row.id), "slug": row.slug, "name": row.name}
        data |= {state: names[:100] for state, names in moved.items() if names}
        kind = "mcp_server.quarantined" if quarantined else "mcp_server.offers_changed"
        tx.event(kind, entity_type="mcp_server", entity_id=row.id, data=data)


def _moved(move: str, row: Row) -> str:
    sources, target = VERIFICATION[move]
    status = VerificationStatus(row.verification_status)
    return target.value if status in sources else status.value


def _next(tx: Tx, row: Row) -> Any:
    if row.reverify_seconds is None or row.is_archived:
        return None
    return tx.now + timedelta(seconds=row.reverify_seconds)


async def _write(tx: Tx, row: Row, columns: Mapping[str, Any], *, revises: bool = False) -> None:
    """Write columns. The revision grows only if something counts that is different."""
    params = {f"p_{name}": columns.get(name, getattr(row, name)) for name in _WRITTEN}
    revises = revises or any(columns[name] != getattr(row, name) for name in columns if name not in _PASSING)
    await tx.run(_UPDATE, p_server_id=row.id, p_now=tx.now, p_step=int(revises), **params)
    if "health" in columns and columns["health"] != row.health:
        health.said(tx, row, Health(columns["health"]), columns.get("health_error"))


async def _told(tx: Tx, server_id: UUID, kind: str) -> McpServer:
    """The server as it is now, with a word in the log."""
    server = await get_server(tx, ServerId(server_id))
    tx.event(
        kind,
        entity_type="mcp_server",
        entity_id=server.id,
        data={
            "server_id": str(server.id),
            "name": server.name,
            "slug": server.slug,
            "verification_status": server.verification_status.value,
            "health": server.health.value,
        },
    )
    tx.wake(CHANGED)
    return server
