"""What is kept about agents that work elsewhere, and how it is read.

Each has an agent row of the same id, so that its tasks are routed and leased like everybody's. The secret by
which the hub proves itself is sealed; only `open_remote` opens it. `remote_agents.py` changes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.errors import NotFound
from core.ports import Signature
from core.push import Seals
from core.routing import ACCEPTS_UNTAGGED
from core.sealing import Place, Secret
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.read import Page
from schemas.vocabulary import Health, VerificationStatus

CHANGED: Final = "remote-agents"
"""The topic that is woken when one was registered, changed or removed, or is better or worse."""


@dataclass(frozen=True)
class RemoteAuth:
    """How the hub proves who it is: `settings` with the `kind`, and the one secret that goes with it."""

    settings: Mapping[str, Any]
    secret: str | None = field(default=None, repr=False)


NO_AUTH: Final = RemoteAuth({"kind": "none"})


@dataclass(frozen=True)
class RemoteId:
    """Which remote agent."""

    remote_agent_id: UUID


@dataclass(frozen=True)
class ListRemotes:
    """A page of the tenant's remote agents, newest first."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True)
class RemoteAgent:
    """A remote agent as its readers see it: without its secret."""

    id: UUID
    tenant_id: UUID
    name: str
    card_url: str
    card: Mapping[str, Any]
    card_digest: str
    interface: Mapping[str, Any]
    signature: Signature
    approved_origins: Sequence[str]
    trusted_keys: Sequence[Mapping[str, Any]]
    auth: Mapping[str, Any]
    has_secret: bool
    routing_tags: Sequence[str]
    max_concurrent: int
    accepts_untagged: bool
    verification_status: VerificationStatus
    verification_error: str | None
    verified_at: datetime | None
    health: Health
    health_error: str | None
    health_at: datetime
    is_active: bool
    revision: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> "RemoteAgent":
        """From its row, joined with the agent's."""
        return cls(
            id=row.id,
            tenant_id=row.tenant_id,
            name=row.agent_name,
            card_url=row.card_url,
            card=row.card,
            card_digest=row.card_digest,
            interface=row.interface,
            signature=Signature(row.signature),
            approved_origins=row.approved_origins,
            trusted_keys=row.trusted_keys,
            auth=row.auth,
            has_secret=row.secret is not None,
            routing_tags=row.agent_tags,
            max_concurrent=row.agent_places,
            accepts_untagged=row.agent_attributes.get(ACCEPTS_UNTAGGED) is not False,
            verification_status=VerificationStatus(row.verification_status),
            verification_error=row.verification_error,
            verified_at=row.verified_at,
            health=Health(row.health),
            health_error=row.health_error,
            health_at=row.health_at,
            is_active=row.is_active,
            revision=row.revision,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    @property
    def verified(self) -> bool:
        """Whether it is the one that it was registered as, for all that is known."""
        return self.verification_status is VerificationStatus.VERIFIED

    @property
    def callable(self) -> bool:
        """Whether new work may be sent to it now."""
        refusing = (Health.UNREACHABLE, Health.NEEDS_REAUTH)
        return self.is_active and self.verified and self.health not in refusing


@dataclass(frozen=True)
class Standing:
    """What tells whether a remote agent is as it was known."""

    tenant_id: UUID
    id: UUID
    revision: int
    health: Health


@dataclass(frozen=True)
class OpenRemote:
    """A remote agent with its secret opened, for whoever calls it."""

    agent: RemoteAgent
    secret: Secret | None


P_REMOTE = sa.bindparam("p_remote_id", type_=Id())
_r = t.remote_agent.c
_JOINED = sa.join(t.remote_agent, t.agent, t.agent.c.id == _r.id)
_COLUMNS = (
    *_r,
    t.agent.c.name.label("agent_name"),
    t.agent.c.routing_tags.label("agent_tags"),
    t.agent.c.max_concurrent.label("agent_places"),
    t.agent.c.attributes.label("agent_attributes"),
)
_ONE = Statement(
    sa.select(*_COLUMNS).select_from(_JOINED).where(_r.id == P_REMOTE, access.within_tenant(t.remote_agent))
)
_STANDINGS = Statement(
    sa.select(_r.tenant_id, _r.id, _r.revision, _r.health).where(_r.is_active).order_by(_r.id)
)


async def get_remote(tx: Tx, query: RemoteId) -> RemoteAgent:
    """One remote agent of the tenant.

    Raises:
        NotFound: no such remote agent.
    """
    return RemoteAgent.of(await row_of(tx, query.remote_agent_id))


async def list_remotes(tx: Tx, query: ListRemotes) -> Page[RemoteAgent]:
    """The tenant's remote agents, newest first."""
    wanted = access.within_tenant(t.remote_agent)
    total = await tx.one(sa.select(sa.func.count().label("n")).select_from(t.remote_agent).where(wanted))
    rows = await tx.all(
        sa.select(*_COLUMNS)
        .select_from(_JOINED)
        .where(wanted)
        .order_by(_r.id.desc())
        .limit(query.per_page)
        .offset((query.page - 1) * query.per_page)
    )
    return Page([RemoteAgent.of(row) for row in rows], 0 if total is None else total.n)


async def open_remote(tx: Tx, query: RemoteId) -> OpenRemote:
    """A remote agent with its secret, for the call.

    Raises:
        NotFound: no such remote agent.
        Unsealable: the secret cannot be opened any more.
    """
    return _opened(tx, await row_of(tx, query.remote_agent_id))


async def active_remotes(tx: Tx, _: None) -> Sequence[Standing]:
    """The remote agents that are switched on, of every tenant. Asked often, and so without their cards."""
    rows = await tx.all(_STANDINGS)
    return [Standing(row.tenant_id, row.id, row.revision, Health(row.health)) for row in rows]


async def row_of(tx: Tx, remote_id: UUID) -> Row:
    """The joined row of a remote agent.

    Raises:
        NotFound: no such remote agent.
    """
    row = await tx.one(_ONE, p_remote_id=remote_id)
    if row is None:
        raise NotFound("no such remote agent")
    return row


def sealed(tx: Tx, remote_id: UUID, secret: str | None) -> str | None:
    """A secret as the row of a remote agent keeps it."""
    if secret is None:
        return None
    return tx.memory(Seals).sealer.seal(secret, _place(tx.caller.tenant_id, remote_id))


def _place(tenant_id: UUID, remote_id: UUID) -> Place:
    return Place(tenant_id, t.remote_agent.name, remote_id, "secret")


def _opened(tx: Tx, row: Row) -> OpenRemote:
    sealed = row.secret
    secret = None if sealed is None else tx.memory(Seals).sealer.open(sealed, _place(row.tenant_id, row.id))
    return OpenRemote(RemoteAgent.of(row), secret)
