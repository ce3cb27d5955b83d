"""The keys by which a tenant signs what it says of itself in public, such as the cards of its agents.

A key signs from its birth until it is retired, and so long its public half is published. A rotation therefore
makes a second signature beside the first; the old key is retired once nobody relies on it, or at once when it
leaked. Private halves are sealed, and forgotten when their key is retired.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core import access
from core.base64url import encode
from core.errors import Conflict, NotFound
from core.fencing import P_NOW
from core.push import Seals
from core.sealing import Place, Secret, Unsealable
from core.store.statement import Row, Statement
from core.store.tables.exposures import signing_key as keys
from core.store.tx import Tx
from core.store.types import Id

ALGORITHM: Final = "ES256"
MOST: Final = 4
"""Keys of a tenant that sign at a time."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SigningKey:
    """A key as its readers see it: without its private half."""

    id: UUID
    tenant_id: UUID
    kid: str
    algorithm: str
    public: Mapping[str, Any]
    """As a JWK (RFC 7517)."""
    created_at: datetime
    retired_at: datetime | None

    @classmethod
    def of(cls, row: Row) -> "SigningKey":
        """From its row."""
        return cls(row.id, row.tenant_id, row.kid, row.algorithm, row.public, row.created_at, row.retired_at)


@dataclass(frozen=True)
class Signer:
    """A key that can sign: its private half as PEM."""

    key: SigningKey
    private: Secret


@dataclass(frozen=True)
class SigningKeyId:
    """Which key."""

    signing_key_id: UUID


@dataclass(frozen=True)
class NewSigningKey:
    """A further key, which signs at once."""


_c = keys.c
_P_ID = sa.bindparam("p_signing_key_id", type_=Id())
_P_PRIVATE = sa.bindparam("p_private", type_=sa.String())
_MINE = access.within_tenant(keys)
_INSERT = Statement(sa.insert(keys))
_LIVE = Statement(sa.select(*_c).where(_MINE, _c.retired_at.is_(None)).order_by(_c.id))
_LOCKED = Statement(sa.select(*_c).where(_MINE, _c.retired_at.is_(None)).with_for_update())
_PUBLISHED = Statement(sa.select(*_c).where(_c.retired_at.is_(None)).order_by(_c.id.desc()))
_EVERY = Statement(sa.select(*_c).where(_MINE).order_by(_c.id.desc()))
_RETIRE = Statement(
    sa.update(keys)
    .where(_c.id == _P_ID, _MINE, _c.retired_at.is_(None))
    .values(retired_at=P_NOW, private=sa.null())
    .returning(*_c)
)
_RESEAL = Statement(sa.update(keys).where(_c.id == _P_ID, _c.retired_at.is_(None)).values(private=_P_PRIVATE))


async def ensure_signing_key(tx: Tx) -> None:
    """Make the tenant's first key, if it has none that signs. For other commands."""
    if await tx.one(_LIVE) is None:
        await _make(tx)


async def keep_sealed(tx: Tx) -> None:
    """Seal every private half under the present secret. One that cannot be opened any more stays as it is."""
    sealer = tx.memory(Seals).sealer
    for row in await tx.all(_PUBLISHED):
        try:
            sealed = sealer.reseal(row.private, _place(row))
        except Unsealable:
            continue
        if sealed is not None:
            await tx.run(_RESEAL, p_signing_key_id=row.id, p_private=sealed)


async def rotate(tx: Tx, command: NewSigningKey) -> SigningKey:
    """Sign with a new key from now on, beside those that are not retired.

    Raises:
        Conflict: so many keys sign already that one must be retired first.
    """
    if len(await tx.all(_LOCKED)) >= MOST:
        details = {"reason_code": "too_many_keys"}
        raise Conflict(f"{MOST} keys sign already", details=details, hint="retire the oldest first")
    made = await _make(tx)
    _tell(tx, made, "signing_key.created")
    return made


async def retire(tx: Tx, command: SigningKeyId) -> None:
    """Let a key sign no more, and publish it no longer: nobody should accept any more what it has signed.

    Raises:
        NotFound: no such key that signs.
        Conflict: it is the only one.
    """
    live = [row.id for row in await tx.all(_LOCKED)]
    if live == [command.signing_key_id]:
        details = {"reason_code": "last_key"}
        raise Conflict("no other key signs", details=details, hint="make a new key first")
    row = await tx.one(_RETIRE, p_signing_key_id=command.signing_key_id, p_now=tx.now)
    if row is None:
        raise NotFound("no such signing key")
    _tell(tx, SigningKey.of(row), "signing_key.retired")


async def list_signing_keys(tx: Tx, _: None) -> Sequence[SigningKey]:
    """Every key of the tenant, newest first."""
    return [SigningKey.of(row) for row in await tx.all(_EVERY)]


async def signing(tx: Tx, _: None) -> Sequence[SigningKey]:
    """The keys by which the tenant signs now, oldest first: that one is what most readers know."""
    return [SigningKey.of(row) for row in await tx.all(_LIVE)]


async def published(tx: Tx, _: None) -> Sequence[SigningKey]:
    """The keys of all tenants whose signatures are to be accepted, newest first."""
    return [SigningKey.of(row) for row in await tx.all(_PUBLISHED)]


async def open_signers(tx: Tx, _: None) -> Sequence[Signer]:
    """As `signing`, with the private halves. One that cannot be opened is left out, and logged."""
    sealer, found = tx.memory(Seals).sealer, []
    for row in await tx.all(_LIVE):
        try:
            found.append(Signer(SigningKey.of(row), sealer.open(row.private, _place(row))))
        except Unsealable as error:
            logger.error("signing key %s cannot be used: %s", row.kid, error)
    return found


async def _make(tx: Tx) -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    public, kid = _published(private.public_key())
    made = SigningKey(tx.new_id(), tx.caller.tenant_id, kid, ALGORITHM, public, tx.now, None)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    columns = {name: getattr(made, name) for name in made.__dataclass_fields__}
    sealed = tx.memory(Seals).sealer.seal(pem.decode(), _place(made))
    await tx.run(_INSERT, **columns, private=sealed)
    return made


def _published(key: ec.EllipticCurvePublicKey) -> tuple[dict[str, str], str]:
    """A public key as a JWK (RFC 7518 §6.2), and its thumbprint (RFC 7638)."""
    numbers = key.public_numbers()
    x, y = (encode(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    named = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"))
    kid = encode(hashlib.sha256(canonical.encode()).digest())
    return {**named, "alg": ALGORITHM, "use": "sig", "kid": kid}, kid


def _place(key: Any) -> Place:
    return Place(key.tenant_id, keys.name, key.id, "private")


def _tell(tx: Tx, key: SigningKey, kind: str) -> None:
    data = {"signing_key_id": str(key.id), "kid": key.kid, "algorithm": key.algorithm}
    tx.event(kind, entity_type="signing_key", entity_id=key.id, data=data)
