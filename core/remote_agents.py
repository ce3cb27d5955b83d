"""Agents that work elsewhere and are reached over A2A: registered by their card, verified, looked after.

The hub claims for them, since each has an agent row of its own. Verification says whether it is the right
one, health how it is doing; a network failure changes only health. This module calls nobody:
`remote_verification.py` has the cards fetched, `adapters/a2a/delegate.py` works with the agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core import access
from core.agents import AgentId, RegisterAgent, register, remove_agent
from core.auth import revoke_all
from core.errors import Conflict, Invalid, NotFound
from core.fencing import P_NOW
from core.ports import CardFound, CardRefused, Signature
from core.principals import OwnerType, ensure_principal
from core.remote_records import CHANGED, NO_AUTH, P_REMOTE, RemoteAgent, RemoteAuth, RemoteId, row_of, sealed
from core.routing import ACCEPTS_UNTAGGED
from core.store import tables as t
from core.store.replay import Beside
from core.store.statement import Statement
from core.store.tx import Tx
from core.store.types import Json
from core.transitions import FINAL
from schemas.vocabulary import AgentProtocol, DelegationState, Health, VerificationStatus


class Move(StrEnum):
    """How `verification_status` changes."""

    VERIFY = "verify"
    REFUTE = "refute"


@dataclass(frozen=True)
class Arc:
    """One move: where it leads, and from where."""

    target: VerificationStatus
    sources: frozenset[VerificationStatus]


_V = VerificationStatus
VERIFICATION: Final[Mapping[Move, Arc]] = MappingProxyType(
    {
        Move.VERIFY: Arc(_V.VERIFIED, frozenset(_V)),
        Move.REFUTE: Arc(_V.FAILED, frozenset({_V.UNKNOWN, _V.VERIFIED})),
    }
)
"""Every move there is. A first verification that fails stores nothing, and so is none."""


@dataclass(frozen=True)
class RegisterRemote:
    """A new remote agent. `accepts_untagged` of None: exactly when it has no tags."""

    card_url: str
    name: str | None = None
    auth: RemoteAuth = NO_AUTH
    routing_tags: Sequence[str] = ()
    max_concurrent: int = 8
    approved_origins: Sequence[str] = ()
    trusted_keys: Sequence[Mapping[str, Any]] = ()
    accepts_untagged: bool | None = None
    is_active: bool = True


@dataclass(frozen=True)
class ChangeRemote:
    """What is to be different. None leaves a member as it is."""

    remote_agent_id: UUID
    card_url: str | None = None
    name: str | None = None
    auth: RemoteAuth | None = None
    routing_tags: Sequence[str] | None = None
    max_concurrent: int | None = None
    approved_origins: Sequence[str] | None = None
    trusted_keys: Sequence[Mapping[str, Any]] | None = None
    accepts_untagged: bool | None = None
    is_active: bool | None = None

    @property
    def verifies(self) -> bool:
        """Whether it changes what was verified."""
        wanted = (self.card_url, self.auth, self.approved_origins, self.trusted_keys)
        return any(value is not None for value in wanted)


Looked = CardFound | CardRefused


@dataclass(frozen=True)
class Add:
    """A registration, and what its card said."""

    wanted: RegisterRemote
    looked: Beside[Looked]


@dataclass(frozen=True)
class Change:
    """A change, and what the card said, if it had to be asked."""

    wanted: ChangeRemote
    looked: Beside[Looked | None]


@dataclass(frozen=True)
class Reverified:
    """What the card of a remote agent says now."""

    remote_agent_id: UUID
    looked: Beside[Looked]


_r = t.remote_agent.c
_INSERT = Statement(sa.insert(t.remote_agent))
_WRITTEN = (
    "card_url", "card", "card_digest", "interface", "signature", "approved_origins", "trusted_keys", "auth",
    "secret", "verification_status", "verification_error", "verified_at", "health", "health_error",
    "health_at", "is_active",
)  # fmt: skip
_UPDATE = Statement(
    sa.update(t.remote_agent)
    .where(_r.id == P_REMOTE, access.within_tenant(t.remote_agent))
    .values(
        {
            **{name: sa.bindparam(f"p_{name}", type_=_r[name].type) for name in _WRITTEN},
            "revision": _r.revision + 1,
            "updated_at": P_NOW,
        }
    )
)
_UPDATE_AGENT = Statement(
    sa.update(t.agent)
    .where(t.agent.c.id == P_REMOTE, access.within_tenant(t.agent))
    .values(
        name=sa.bindparam("p_name", type_=sa.String()),
        routing_tags=sa.bindparam("p_tags", type_=Json()),
        max_concurrent=sa.bindparam("p_places", type_=sa.Integer()),
        attributes=sa.bindparam("p_attributes", type_=Json()),
        updated_at=P_NOW,
    )
)
_DELETE = Statement(sa.delete(t.remote_agent).where(_r.id == P_REMOTE, access.within_tenant(t.remote_agent)))
_KNOWN = Statement(
    sa.select(_r.id).where(
        access.within_tenant(t.remote_agent), _r.card_url == sa.bindparam("p_card_url", type_=sa.String())
    )
)
_OVER = (DelegationState.DONE.value, DelegationState.LOST.value)
_WORK = Statement(
    sa.select(sa.func.count().label("n"))
    .select_from(sa.join(t.delegation, t.task, t.task.c.id == t.delegation.c.task_id))
    .where(
        t.delegation.c.remote_agent_id == P_REMOTE,
        t.delegation.c.state.not_in(_OVER),
        t.task.c.state.not_in([int(state) for state in sorted(FINAL)]),
    )
)
_NO_DELEGATIONS = Statement(sa.delete(t.delegation).where(t.delegation.c.remote_agent_id == P_REMOTE))


async def add(tx: Tx, command: Add) -> RemoteAgent:
    """Register a remote agent: its agent, its principal, and what its card said.

    Raises:
        Invalid: the card was refused; nothing is stored.
        Conflict: this card is registered already.
        Forbidden: as `agents.register`.
    """
    found, wanted = _accepted(command.looked.value), command.wanted
    await _check_new(tx, found.url)
    untagged = not wanted.routing_tags if wanted.accepts_untagged is None else wanted.accepts_untagged
    agent = await register(
        tx,
        RegisterAgent(
            name=(wanted.name or str(found.card["name"]))[:255],
            protocol=AgentProtocol.A2A,
            routing_tags=wanted.routing_tags,
            max_concurrent=wanted.max_concurrent,
            metadata={ACCEPTS_UNTAGGED: untagged},
        ),
    )
    await ensure_principal(tx, agent.tenant_id, OwnerType.AGENT, str(agent.id), agent.name, agent.id)
    await tx.run(
        _INSERT,
        id=agent.id,
        tenant_id=agent.tenant_id,
        **_said(tx, found),
        approved_origins=list(wanted.approved_origins),
        trusted_keys=list(wanted.trusted_keys),
        secret=sealed(tx, agent.id, wanted.auth.secret),
        is_active=wanted.is_active,
        revision=1,
        created_at=tx.now,
        updated_at=tx.now,
    )
    return await _told(tx, agent.id, "remote_agent.registered")


async def change(tx: Tx, command: Change) -> RemoteAgent:
    """Change a remote agent.

    Raises:
        NotFound: no such remote agent.
        Invalid: the card was refused, or a stored secret would go to another origin; nothing has changed.
        Conflict: the new card is registered already.
    """
    wanted = command.wanted
    row = await row_of(tx, wanted.remote_agent_id)
    known = RemoteAgent.of(row)
    columns = {name: getattr(row, name) for name in _WRITTEN}
    if wanted.verifies:
        found = _accepted(command.looked.value)
        if found.url != known.card_url:
            await _check_new(tx, found.url)
        if known.has_secret and wanted.auth is None and _moves(known, found):
            raise Invalid(
                "its endpoint has another origin now: give auth again, with its secret",
                details={"reason_code": "auth_needed"},
            )
        columns |= _said(tx, found)
    if wanted.auth is not None:
        columns["secret"] = sealed(tx, known.id, wanted.auth.secret)
    for name in ("approved_origins", "trusted_keys"):
        value = getattr(wanted, name)
        if value is not None:
            columns[name] = list(value)
    if wanted.is_active is not None:
        columns["is_active"] = wanted.is_active
    await _write(tx, known.id, columns)
    tags = known.routing_tags if wanted.routing_tags is None else sorted({*wanted.routing_tags})
    untagged = known.accepts_untagged if wanted.accepts_untagged is None else wanted.accepts_untagged
    await tx.run(
        _UPDATE_AGENT,
        p_remote_id=known.id,
        p_now=tx.now,
        p_name=wanted.name or known.name,
        p_tags=tags,
        p_places=wanted.max_concurrent or known.max_concurrent,
        p_attributes={**row.agent_attributes, ACCEPTS_UNTAGGED: untagged},
    )
    return await _told(tx, known.id, "remote_agent.changed")


async def reverified(tx: Tx, command: Reverified) -> RemoteAgent:
    """Take over what the card says now: a new snapshot, or why it is not believed any more, or that it could
    not be fetched, which changes only the health.

    Raises:
        NotFound: no such remote agent.
    """
    row = await row_of(tx, command.remote_agent_id)
    known, looked = RemoteAgent.of(row), command.looked.value
    columns = {name: getattr(row, name) for name in _WRITTEN}
    if isinstance(looked, CardFound) and known.signature is Signature.VALID is not looked.signature:
        looked = CardRefused("the card was signed, and is not any more")
    if isinstance(looked, CardFound) and known.has_secret and _moves(known, looked):
        looked = CardRefused("its endpoint has another origin now: change it, and give auth again")
    if isinstance(looked, CardFound):
        move = Move.VERIFY
        columns |= _said(tx, looked)
    elif looked.reachable:
        move = Move.REFUTE
        columns["verification_error"] = looked.reason
    else:
        columns |= {
            "health": Health.UNREACHABLE.value,
            "health_error": looked.reason,
            "health_at": tx.now,
        }
        await _write(tx, known.id, columns)
        return await _told(tx, known.id, "remote_agent.unreachable")
    columns["verification_status"] = VERIFICATION[move].target.value
    await _write(tx, known.id, columns)
    return await _told(tx, known.id, f"remote_agent.{VERIFICATION[move].target.value}")


async def remove_remote(tx: Tx, command: RemoteId) -> None:
    """Remove a remote agent that has no work of the hub. What it did stays its own in the log.

    Raises:
        NotFound: no such remote agent.
        Conflict: it holds work, or a question of its is still open.
    """
    known = RemoteAgent.of(await row_of(tx, command.remote_agent_id))
    work = await tx.one(_WORK, p_remote_id=known.id)
    if work is not None and work.n:
        details = {"reason_code": "agent_holds_work", "active_tasks": work.n}
        raise Conflict("the agent has work", details=details, hint="let it finish, or cancel its tasks")
    await tx.run(_NO_DELEGATIONS, p_remote_id=known.id)
    await tx.run(_DELETE, p_remote_id=known.id)
    try:
        await remove_agent(tx, AgentId(known.id))
    except NotFound:
        details = {"reason_code": "agent_holds_work"}
        raise Conflict("the agent has just taken a task", details=details) from None
    await revoke_all(tx, known.id)
    data = {"agent_id": str(known.id), "name": known.name}
    tx.event("remote_agent.removed", entity_type="agent", entity_id=known.id, data=data)
    tx.wake(CHANGED)


def _accepted(looked: Looked | None) -> CardFound:
    if isinstance(looked, CardFound):
        return looked
    assert looked is not None, "what is verified was looked at"
    raise Invalid(
        f"the agent card is not accepted: {looked.reason}",
        details={"reason_code": "verification_failed", "reachable": looked.reachable},
    )


def _moves(known: RemoteAgent, found: CardFound) -> bool:
    """Whether the stored secret would go where it has not been sent before."""
    return bool(known.interface.get("origin") != found.interface.get("origin"))


async def _check_new(tx: Tx, card_url: str) -> None:
    if await tx.one(_KNOWN, p_card_url=card_url) is not None:
        raise Conflict("this card is registered already", details={"reason_code": "already_registered"})


def _said(tx: Tx, found: CardFound) -> dict[str, Any]:
    """The columns that a verified card fills."""
    return {
        "card_url": found.url,
        "card": dict(found.card),
        "card_digest": found.digest,
        "interface": dict(found.interface),
        "signature": found.signature.value,
        "auth": dict(found.auth),
        "verification_status": VERIFICATION[Move.VERIFY].target.value,
        "verification_error": None,
        "verified_at": tx.now,
        "health": found.health.value,
        "health_error": found.health_error,
        "health_at": tx.now,
    }


async def _write(tx: Tx, remote_id: UUID, columns: Mapping[str, Any]) -> None:
    params = {f"p_{name}": columns[name] for name in _WRITTEN}
    await tx.run(_UPDATE, p_remote_id=remote_id, p_now=tx.now, **params)


async def _told(tx: Tx, remote_id: UUID, kind: str) -> RemoteAgent:
    """The agent as it is now, with a word in the log."""
    agent = RemoteAgent.of(await row_of(tx, remote_id))
    tx.event(
        kind,
        entity_type="agent",
        entity_id=agent.id,
        data={
            "agent_id": str(agent.id),
            "name": agent.name,
            "card_url": agent.card_url,
            "verification_status": agent.verification_status.value,
            "health": agent.health.value,
        },
    )
    tx.wake(CHANGED)
    return agent
