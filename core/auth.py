"""API keys in the database: making, listing and revoking them. How a key looks is in `core/keys.py`.

Only admins mint and revoke: a leaked key of any other scope cannot multiply. The plain text of a key is in
the answer that made it and nowhere else.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from core.access import within_tenant
from core.caller import SYSTEM_PRINCIPAL, Caller
from core.credentials import CREDENTIALS, Peppers
from core.errors import Forbidden, NotFound, Unprocessable
from core.keys import lookup_hash, mint, shown
from core.principals import OwnerType, ensure_principal, find_principal
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Instant
from core.tasks.read import Page
from schemas.vocabulary import Scope

_HIDDEN_AFTER = timedelta(hours=1)
_LABEL_MOST = 255
_OWNERS = {
    Scope.AGENT: (OwnerType.USER, OwnerType.AGENT),
    Scope.WORKER: (OwnerType.USER, OwnerType.WORKER),
    Scope.ADMIN: (OwnerType.USER, OwnerType.SYSTEM, OwnerType.SERVICE),
    Scope.SERVICE: (OwnerType.USER, OwnerType.SYSTEM, OwnerType.SERVICE),
}


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Mint a key for an owner, or for a principal that exists."""

    scope: Scope
    owner_type: OwnerType = OwnerType.USER
    owner_id: str | None = None
    principal_id: UUID | None = None
    label: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `api_key` is shown once; a replayed call no longer has it."""

    id: UUID
    api_key: str | None = field(repr=False, metadata={"secret": True})
    key_prefix: str


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """End a key."""

    key_id: UUID


@dataclass(frozen=True, slots=True)
class ListKeys:
    """One page of the tenant's keys, newest first."""

    page: int = 1
    per_page: int = 20


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as an operator sees it."""

    id: UUID
    tenant_id: UUID
    scope: Scope
    principal_id: UUID
    owner_type: OwnerType
    owner_id: str | None
    label: str | None
    key_prefix: str
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime

    @property
    def is_revoked(self) -> bool:
        """Whether it was ended."""
        return self.revoked_at is not None


_k, _p = t.api_key.c, t.principal.c
_OWNED = t.api_key.join(t.principal, _p.id == _k.principal_id)
_NOW = sa.bindparam("p_now", type_=Instant())
_ID = sa.bindparam("p_id", type_=Id())
INSERT = Statement(sa.insert(t.api_key))
REVOKE_ALL = Statement(
    sa.update(t.api_key)
    .where(
        _k.principal_id == sa.bindparam("p_principal", type_=Id()),
        within_tenant(t.api_key),
        _k.revoked_at.is_(None),
    )
    .values(revoked_at=_NOW)
)
REVOKE = Statement(
    sa.update(t.api_key)
    .where(_k.id == _ID, within_tenant(t.api_key), _k.revoked_at.is_(None))
    .values(revoked_at=_NOW)
)
OWNER = Statement(
    sa.select(_p.id, _p.owner_type, _p.owner_id).where(_p.id == _ID, within_tenant(t.principal))
)
_RECORD = sa.select(t.api_key, _p.owner_type, _p.owner_id).select_from(_OWNED)
GET = Statement(_RECORD.where(_k.id == _ID, within_tenant(t.api_key)))
_SHOWN = sa.and_(
    within_tenant(t.api_key),
    # Keys of agents and workers stay in sight: they tell who could write what.
    sa.or_(
        _k.revoked_at.is_(None),
        _k.revoked_at > sa.bindparam("p_hidden", type_=Instant()),
        _k.scope.in_([Scope.AGENT.value, Scope.WORKER.value]),
    ),
)
LIST = Statement(
    _RECORD.where(_SHOWN)
    .order_by(_k.id.desc())
    .limit(sa.bindparam("p_limit", type_=sa.Integer()))
    .offset(sa.bindparam("p_offset", type_=sa.Integer()))
)
COUNT = Statement(sa.select(sa.func.count().label("total")).select_from(t.api_key).where(_SHOWN))


async def create_key(tx: Tx, command: CreateKey) -> NewKey:
    """Mint a key. The same owner is the same principal, however many keys it has.

    Raises:
        Forbidden: the caller is no admin.
        Unprocessable: the owner does not fit the scope, or the expiry has passed.
        NotFound: no such principal, agent or worker.
    """
    require_admin(tx.caller)
    owner = await _owner(tx, command)
    if command.expires_at is not None and command.expires_at <= tx.now:
        raise _wrong("expires_at", "should be in the future")
    if command.label is not None and len(command.label) > _LABEL_MOST:
        raise _wrong("label", f"should have at most {_LABEL_MOST} characters")
    return issue_key(tx, owner, command.scope, label=command.label, expires_at=command.expires_at)


def issue_key(
    tx: Tx,
    principal_id: UUID,
    scope: Scope,
    *,
    label: str | None = None,
    expires_at: datetime | None = None,
    text: str | None = None,
) -> NewKey:
    """Write a key for a principal of the caller's tenant. Who may is for the calling command to say.

    `text` is a key that somebody else chose.
    """
    text = mint(scope) if text is None else text
    pepper = tx.memory(Peppers).current
    new = NewKey(tx.new_id(), text, shown(text, pepper))
    tx.add(
        INSERT,
        id=new.id,
        tenant_id=tx.caller.tenant_id,
        principal_id=principal_id,
        scope=scope.value,
        lookup_hash=lookup_hash(text, pepper),
        pepper_id=pepper.id,
        key_prefix=new.key_prefix,
        label=label,
        last_used_at=None,
        expires_at=expires_at,
        revoked_at=None,
        created_at=tx.now,
    )
    said = {"key_prefix": new.key_prefix, "scope": scope.value, "principal_id": str(principal_id)}
    tx.event("key.created", entity_type="api_key", entity_id=new.id, data=said)
    return new


async def revoke_key(tx: Tx, command: RevokeKey) -> KeyRecord:
    """End a key and every token that stands for it, at once. Doing it again changes nothing.

    Raises:
        Forbidden: the caller is no admin.
        NotFound: the tenant has no such key.
    """
    require_admin(tx.caller)
    changed = await tx.run(REVOKE, p_id=command.key_id, p_now=tx.now)
    row = await tx.one(GET, p_id=command.key_id)
    if row is None:
        raise NotFound("There is no such key.")
    record = _record(row)
    if changed:
        said = {"key_prefix": record.key_prefix, "scope": record.scope.value}
        tx.event("key.revoked", entity_type="api_key", entity_id=record.id, data=said)
        tx.wake(CREDENTIALS)
    return record


async def revoke_all(tx: Tx, principal_id: UUID) -> None:
    """End every key of a principal that is going away. Who may is for the calling command to say."""
    if await tx.run(REVOKE_ALL, p_principal=principal_id, p_now=tx.now):
        tx.wake(CREDENTIALS)


async def list_keys(tx: Tx, command: ListKeys) -> Page[KeyRecord]:
    """The tenant's keys without their text. Operators' keys are left out an hour after they were revoked.

    Raises:
        Forbidden: the caller is no operator.
    """
    if not tx.caller.operator:
        raise Forbidden("Only operators list keys.")
    hidden = tx.now - _HIDDEN_AFTER
    offset = (command.page - 1) * command.per_page
    rows = await tx.all(LIST, p_hidden=hidden, p_limit=command.per_page, p_offset=offset)
    counted = await tx.one(COUNT, p_hidden=hidden)
    return Page([_record(row) for row in rows], counted.total if counted else 0)


def require_admin(caller: Caller) -> None:
    """Pass only those that mint and revoke keys: admins, and the hub itself.

    Raises:
        Forbidden: anybody else, services too.
    """
    itself = caller.key_id is None and caller.principal_id == SYSTEM_PRINCIPAL
    if caller.scope is not Scope.ADMIN and not itself:
        raise Forbidden("Only an admin key makes and revokes keys.")


async def _owner(tx: Tx, command: CreateKey) -> UUID:
    owner_type, owner_id, tenant = command.owner_type, command.owner_id, tx.caller.tenant_id
    if command.principal_id == SYSTEM_PRINCIPAL:
        raise _wrong("principal_id", "should not be the hub itself")
    if command.principal_id is not None:
        row = await tx.one(OWNER, p_id=command.principal_id)
        if row is None:
            raise NotFound("There is no such principal.")
        _require_fit(command.scope, OwnerType(row.owner_type))
        return command.principal_id
    _require_fit(command.scope, owner_type)
    if owner_type in (OwnerType.AGENT, OwnerType.WORKER):
        found = None if owner_id is None else await find_principal(tx, tenant, owner_type, owner_id)
        if found is None:
            raise NotFound(f"There is no such {owner_type}.", hint="Register it first.")
        return found
    if owner_type is OwnerType.SYSTEM and owner_id is not None:
        raise _wrong("owner_id", "should be left out for the owner type system")
    if not owner_id and not command.scope.operator:
        raise _wrong("owner_id", f"is needed: what a key of scope {command.scope} makes belongs to its owner")
    return await ensure_principal(tx, tenant, owner_type, owner_id or "", owner_id or owner_type.value)


def _require_fit(scope: Scope, owner_type: OwnerType) -> None:
    if owner_type not in _OWNERS[scope]:
        raise _wrong("owner_type", f"should be one of {', '.join(_OWNERS[scope])} for a key of scope {scope}")


def _wrong(name: str, problem: str) -> Unprocessable:
    return Unprocessable(f"{name} {problem}.", fields={name: [problem]})


def _record(row: Row) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        tenant_id=row.tenant_id,
        scope=Scope(row.scope),
        principal_id=row.principal_id,
        owner_type=OwnerType(row.owner_type),
        owner_id=row.owner_id or None,
        label=row.label,
        key_prefix=row.key_prefix,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        created_at=row.created_at,
    )
