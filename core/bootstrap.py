"""What a database needs before its first caller: a tenant, the hub's own principal, and a way in.

Run at every start, by every replica; it does again only what is missing. Tables are made by
`core/store/migrate.py`.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from core.auth import issue_key
from core.caller import SYSTEM_PRINCIPAL
from core.credentials import CREDENTIALS, Peppers
from core.keyring import Keyring
from core.keys import check_form, lookup_hash
from core.principals import OwnerType, ensure_principal
from core.push import Seals
from core.signing_keys import ensure_signing_key, keep_sealed
from core.store import tables as t
from core.store.statement import Statement, insert
from core.store.tx import Tx
from core.store.types import Id, Instant
from schemas.vocabulary import Scope

DEFAULT_TENANT = UUID("00000000-0000-0000-0000-000000000001")
_SECRET = "secret_id"
_CHOSEN = "chosen_admin_key"
_LEAST_LEFT = timedelta(days=1)
"""An admin key that ends sooner is no way in for the next start."""


class ForeignSecret(Exception):
    """The database was made with a secret that is neither the present nor the previous one."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the database ready for this keyring. `admin_key` is one that the operator chose."""

    keyring: Keyring
    admin_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was done. `new_admin_key` is shown once and kept nowhere."""

    new_admin_key: str | None = field(repr=False, metadata={"secret": True})
    chosen_key_revoked: bool
    """The chosen key was revoked over the API and does not work: choose another."""


_k = t.api_key.c
_NOW = sa.bindparam("p_now", type_=Instant())
_ID = sa.bindparam("p_id", type_=Id())
TENANT = Statement(insert(t.tenant).on_conflict_do_nothing(index_elements=["id"]))
_NOTE = insert(t.meta)
KEEP = Statement(
    _NOTE.on_conflict_do_update(index_elements=["key"], set_={"value": t.meta.c.value}).returning(
        t.meta.c.value
    )
)
KEPT = Statement(sa.select(t.meta.c.value).where(t.meta.c.key == sa.bindparam("p_key")))
PUT = Statement(
    sa.update(t.meta)
    .where(t.meta.c.key == sa.bindparam("p_key"))
    .values(value=sa.bindparam("p_value", type_=sa.String()))
)
BY_HASH = Statement(
    sa.select(_k.id, _k.revoked_at).where(_k.lookup_hash.in_(sa.bindparam("p_hashes", expanding=True)))
)
WAY_IN = Statement(
    sa.select(_k.id)
    .where(
        _k.tenant_id == DEFAULT_TENANT,
        _k.scope == Scope.ADMIN.value,
        _k.revoked_at.is_(None),
        sa.or_(_k.expires_at.is_(None), _k.expires_at > _NOW),
    )
    .limit(1)
)
REVOKE = Statement(sa.update(t.api_key).where(_k.id == _ID, _k.revoked_at.is_(None)).values(revoked_at=_NOW))


async def prepare(tx: Tx, command: Prepare) -> Prepared:
    """Make tenant, principal and keys, as far as they are missing. Caller: `SYSTEM(DEFAULT_TENANT)`.

    The chosen key, if any, becomes a row like every other, and the one chosen before it ends. A chosen key
    that was revoked stays so. When no admin key is left at all, one is made.

    Raises:
        ForeignSecret: no key of this database could be read with these secrets.
        MalformedKey: the chosen key cannot be one.
    """
    tx.memory(Peppers).install(command.keyring)
    tx.memory(Seals).install(command.keyring)
    await _own(tx, command.keyring)  # first: its row makes replicas that start together take turns
    await tx.run(TENANT, id=DEFAULT_TENANT, slug="default", name="Default", is_active=True, created_at=tx.now)
    await ensure_principal(tx, DEFAULT_TENANT, OwnerType.SYSTEM, "hub", "Crossdock", SYSTEM_PRINCIPAL)
    await ensure_signing_key(tx)
    await keep_sealed(tx)
    admin = await ensure_principal(tx, DEFAULT_TENANT, OwnerType.USER, "admin", "Administrator")
    revoked = await _choose(tx, admin, command.admin_key)
    if await tx.one(WAY_IN, p_now=tx.now + _LEAST_LEFT) is not None:
        return Prepared(None, revoked)
    new = issue_key(tx, admin, Scope.ADMIN, label="first start")
    return Prepared(new.api_key, revoked)


async def join(tx: Tx, keyring: Keyring) -> bool:
    """Use this keyring on a database that a hub made ready, and change nothing. False when none has.

    Raises:
        ForeignSecret: no key of this database could be read with these secrets.
    """
    kept = await tx.one(KEPT, p_key=_SECRET)
    if kept is None:
        return False
    _require_known(kept.value, keyring)
    tx.memory(Peppers).install(keyring)
    tx.memory(Seals).install(keyring)
    return True


async def _own(tx: Tx, keyring: Keyring) -> None:
    kept = await tx.one(KEEP, key=_SECRET, value=keyring.ids[0])
    if kept is not None:
        _require_known(kept.value, keyring)
    await tx.run(PUT, p_key=_SECRET, p_value=keyring.ids[0])


def _require_known(secret_id: str, keyring: Keyring) -> None:
    if secret_id not in keyring.ids:
        raise ForeignSecret(
            f"this database belongs to secret {secret_id}, and the hub has {' and '.join(keyring.ids)}: "
            "start with the secret it was made with, or give that one as CROSSDOCK_SECRET_KEY_PREVIOUS"
        )


async def _choose(tx: Tx, admin: UUID, text: str | None) -> bool:
    """Make the chosen key work, and end the one chosen before. Tells whether somebody had revoked it."""
    if text is None:
        return False
    check_form(text)
    hashes = [lookup_hash(text, pepper) for pepper in tx.memory(Peppers).every]
    row = await tx.one(BY_HASH, p_hashes=hashes)
    if row is not None and row.revoked_at is not None:
        return True  # and nothing else: a replica with an old setting must not undo a newer choice
    if row is None:
        chosen = issue_key(tx, admin, Scope.ADMIN, label="CROSSDOCK_ADMIN_API_KEY", text=text).id
        await tx.flush()
    else:
        chosen = row.id
    before = await tx.one(KEEP, key=_CHOSEN, value=str(chosen))
    if before is not None and before.value != str(chosen):
        await tx.run(PUT, p_key=_CHOSEN, p_value=str(chosen))
        await tx.run(REVOKE, p_id=UUID(before.value), p_now=tx.now)
        tx.wake(CREDENTIALS)
    return False
