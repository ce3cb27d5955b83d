"""What a credential proves: looking up the key that was sent, or that a token
stands for. Nothing here mints one.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from core.caller import Caller
from core.keyring import DerivedKey, Keyring, Purpose
from core.keys import lookup_hash
from core.principals import OwnerType
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.store.types import Id, Instant
from schemas.vocabulary import Scope

CREDENTIALS = "credentials"
"""The topic that is woken when a key or a session was revoked, so that caches drop what they hold."""

USE_EVERY = timedelta(minutes=1)
"""`last_used_at` is written at most so often."""


class Peppers:
    """What this process hashes keys with. Kept beside the store, since a command sees nothing else."""

    def __init__(self) -> None:
        self._keyring: Keyring | None = None

    def install(self, keyring: Keyring) -> None:
        """Use the peppers of this keyring from now on."""
        self._keyring = keyring

    @property
    def current(self) -> DerivedKey:
        """The pepper to write with."""
        return self.every[0]

    @property
    def every(self) -> Sequence[DerivedKey]:
        """The peppers to read with, the present one first."""
        if self._keyring is None:
            raise RuntimeError("no keyring: run core.bootstrap.prepare first")
        return self._keyring.every(Purpose.PEPPER)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a valid key proves."""

    key_id: UUID
    principal_id: UUID
    tenant_id: UUID
    scope: Scope
    owner_type: OwnerType
    owner_id: str | None
    key_prefix: str
    expires_at: datetime | None
    due: bool
    """Whether its use should be noted: it was not for a minute, or its hash is of the previous secret."""

    def caller(self, face: str = "rest") -> Caller:
        """The caller that this key makes."""
        return Caller(
            self.principal_id, self.tenant_id, self.scope, self.owner_type, self.owner_id, self.key_id, face
        )


@dataclass(frozen=True, slots=True)
class FindKey:
    """Look a key up by its text."""

    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FindTokenKey:
    """Look up the key that a token stands for."""

    key_id: UUID
    family_id: UUID


@dataclass(frozen=True, slots=True)
class NoteUse:
    """A key was used just now. With its text, its hash moves to the present secret."""

    key_id: UUID
    api_key: str | None = field(default=None, repr=False)


_k, _p = t.api_key.c, t.principal.c
_NOW = sa.bindparam("p_now", type_=Instant())
_ID = sa.bindparam("p_id", type_=Id())
_LIVE = (
    sa.select(
        _k.id,
        _k.principal_id,
        _k.tenant_id,
        _k.scope,
        _k.lookup_hash,
        _k.pepper_id,
        _k.key_prefix,
        _k.expires_at,
        _k.last_used_at,
        _p.owner_type,
        _p.owner_id,
    )
    .select_from(
        t.api_key.join(t.principal, _p.id == _k.principal_id).join(t.tenant, t.tenant.c.id == _k.tenant_id)
    )
    .where(
        _k.revoked_at.is_(None),
        sa.or_(_k.expires_at.is_(None), _k.expires_at > _NOW),
        t.tenant.c.is_active == sa.true(),
    )
)
BY_HASH = Statement(_LIVE.where(_k.lookup_hash.in_(sa.bindparam("p_hashes", expanding=True))))
BY_TOKEN = Statement(
    _LIVE.where(
        _k.id == _ID,
        sa.exists().where(
            t.refresh_session.c.family_id == sa.bindparam("p_family", type_=Id()),
            t.refresh_session.c.key_id == _ID,
            t.refresh_session.c.revoked_at.is_(None),
        ),
    )
)
NOTE_USE = Statement(sa.update(t.api_key).where(_k.id == _ID).values(last_used_at=_NOW))
REHASH = Statement(
    sa.update(t.api_key)
    .where(_k.id == _ID)
    .values(last_used_at=_NOW, lookup_hash=sa.bindparam("p_hash"), pepper_id=sa.bindparam("p_pepper"))
)


async def find_key(tx: Tx, command: FindKey) -> Identity | None:
    """What the key proves; None when it is unknown, revoked or expired, or its tenant is closed."""
    hashes = [lookup_hash(command.api_key, pepper) for pepper in tx.memory(Peppers).every]
    row = await tx.one(BY_HASH, p_hashes=hashes, p_now=tx.now)
    if row is None or not any(hmac.compare_digest(bytes(row.lookup_hash), known) for known in hashes):
        return None
    return _identity(tx, row)


async def find_token_key(tx: Tx, command: FindTokenKey) -> Identity | None:
    """What the key behind a token proves now; None as `find_key`, and when the token's family was revoked."""
    row = await tx.one(BY_TOKEN, p_id=command.key_id, p_family=command.family_id, p_now=tx.now)
    return None if row is None else _identity(tx, row)


async def note_use(tx: Tx, command: NoteUse) -> None:
    """Remember when a key was last used."""
    if command.api_key is None:
        tx.add(NOTE_USE, p_id=command.key_id, p_now=tx.now)
        return
    pepper = tx.memory(Peppers).current
    hashed = lookup_hash(command.api_key, pepper)
    tx.add(REHASH, p_id=command.key_id, p_now=tx.now, p_hash=hashed, p_pepper=pepper.id)


def _identity(tx: Tx, row: Row) -> Identity:
    used, pepper = row.last_used_at, tx.memory(Peppers).current
    return Identity(
        key_id=row.id,
        principal_id=row.principal_id,
        tenant_id=row.tenant_id,
        scope=Scope(row.scope),
        owner_type=OwnerType(row.owner_type),
        owner_id=row.owner_id or None,
        key_prefix=row.key_prefix,
        expires_at=row.expires_at,
        due=used is None or used <= tx.now - USE_EVERY or row.pepper_id != pepper.id,
    )
