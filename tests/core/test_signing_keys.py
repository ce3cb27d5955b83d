"""Keys that sign in public: made once, rotated, retired, and never without one."""

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import PyJWK

from core.caller import Caller
from core.errors import Conflict, NotFound
from core.keyring import Keyring
from core.platform import Platform
from core.push import Seals
from core.signing_keys import (
    MOST,
    NewSigningKey,
    SigningKeyId,
    ensure_signing_key,
    keep_sealed,
    list_signing_keys,
    open_signers,
    published,
    retire,
    rotate,
    signing,
)
from core.store.tables.exposures import signing_key as table
from core.store.tx import Tx
from tests.core.tasks.stage import reason

OLD, NEW = "o" * 32, "n" * 32


async def first(tx: Tx, ring: Keyring) -> None:
    """Seal with this keyring, and have a key."""
    tx.memory(Seals).install(ring)
    await ensure_signing_key(tx)


async def reseal(tx: Tx, ring: Keyring) -> None:
    """Go on with this keyring."""
    tx.memory(Seals).install(ring)
    await keep_sealed(tx)


async def rows(tx: Tx, _: None) -> list[tuple[str | None, str]]:
    """Private halves as they are kept, with the ids of their keys."""
    return [(row.private, row.kid) for row in await tx.all(sa.select(*table.c).order_by(table.c.id))]


async def test_the_first_key_is_made_once_and_sealed(platform: Platform, operator: Caller) -> None:
    for _ in range(2):
        await platform.write(operator, first, Keyring(OLD))
    [kept] = await platform.read(operator, rows, None)
    assert kept[0] is not None
    assert kept[0].startswith("enc:v2:")
    [signer] = await platform.read(operator, open_signers, None)
    private = load_pem_private_key(signer.private.reveal().encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    public = PyJWK(dict(signer.key.public)).key
    assert private.public_key().public_numbers() == public.public_numbers()
    assert "d" not in signer.key.public
    assert (signer.key.public["kid"], signer.key.algorithm) == (kept[1], "ES256")


async def test_a_new_key_signs_beside_the_old_one_until_that_is_retired(
    platform: Platform, operator: Caller
) -> None:
    await platform.write(operator, first, Keyring(OLD))
    [old] = await platform.read(operator, signing, None)
    new = await platform.write(operator, rotate, NewSigningKey())
    assert [key.kid for key in await platform.read(operator, signing, None)] == [old.kid, new.kid]
    await platform.write(operator, retire, SigningKeyId(old.id))
    assert [key.kid for key in await platform.read(operator, signing, None)] == [new.kid]
    assert [key.kid for key in await platform.read(operator, published, None)] == [new.kid]
    everything = await platform.read(operator, list_signing_keys, None)
    assert [(key.kid, key.retired_at is None) for key in everything] == [(new.kid, True), (old.kid, False)]
    assert (await platform.read(operator, rows, None))[0] == (None, old.kid), "its private half is forgotten"
    with pytest.raises(NotFound):
        await platform.write(operator, retire, SigningKeyId(old.id))


async def test_the_only_key_stays_and_there_are_never_too_many(platform: Platform, operator: Caller) -> None:
    await platform.write(operator, first, Keyring(OLD))
    [only] = await platform.read(operator, signing, None)
    with pytest.raises(Conflict) as refused:
        await platform.write(operator, retire, SigningKeyId(only.id))
    assert reason(refused.value) == "last_key"
    for _ in range(MOST - 1):
        await platform.write(operator, rotate, NewSigningKey())
    with pytest.raises(Conflict) as refused:
        await platform.write(operator, rotate, NewSigningKey())
    assert reason(refused.value) == "too_many_keys"


async def test_a_new_secret_of_the_hub_seals_them_again(platform: Platform, operator: Caller) -> None:
    await platform.write(operator, first, Keyring(OLD))
    await platform.write(operator, reseal, Keyring(NEW, OLD))
    await platform.write(operator, reseal, Keyring(NEW))
    assert len(await platform.read(operator, open_signers, None)) == 1


async def test_a_key_whose_secret_is_lost_signs_nothing_and_stops_nothing(
    platform: Platform, operator: Caller
) -> None:
    await platform.write(operator, first, Keyring(OLD))
    await platform.write(operator, reseal, Keyring(NEW))
    assert await platform.read(operator, open_signers, None) == []
    await platform.write(operator, rotate, NewSigningKey())
    assert len(await platform.read(operator, open_signers, None)) == 1
