"""Keys against tokens, and tokens against newer ones."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from core import auth
from core.bootstrap import DEFAULT_TENANT, Prepare, prepare
from core.caller import SYSTEM
from core.credentials import FindKey, Identity, find_key
from core.errors import Unauthenticated
from core.exchange import Exchange, Grant
from core.keyring import Keyring
from core.platform import Platform
from core.store import tables as t
from core.store.tx import Tx
from core.tokens import ExpiredToken, InvalidToken, TokenKind
from schemas.vocabulary import Scope
from tests.fakes import FakeClock

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
URL = "https://hub.example.com"
HUB = SYSTEM(DEFAULT_TENANT)


async def exchange_on(platform: Platform, ring: Keyring | None = None) -> Exchange:
    ring = ring or Keyring(SECRET)
    await platform.write(HUB, prepare, Prepare(ring, "the administrator's own key"))
    return Exchange(platform, ring, URL)


async def identity(platform: Platform) -> Identity:
    """A caller with a key of its own."""
    made = await platform.write(HUB, auth.create_key, auth.CreateKey(Scope.AGENT, owner_id="alice"))
    assert made.api_key is not None
    found = await platform.read(HUB, find_key, FindKey(made.api_key))
    assert found is not None
    return found


async def refreshed(exchange: Exchange, grant: Grant) -> Grant:
    return await exchange.refresh(exchange.read(TokenKind.REFRESH, grant.refresh.text))


async def works(exchange: Exchange, grant: Grant) -> bool:
    try:
        await exchange.prove(grant.access.text)
    except InvalidToken:
        return False
    return True


async def test_an_access_token_proves_what_its_key_proves(platform: Platform) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    grant = await exchange.open(alice)
    proven, claims = await exchange.prove(grant.access.text)
    assert proven == alice
    assert claims.expires_at - claims.issued_at == timedelta(hours=1)


async def test_a_refresh_token_is_no_access_token(platform: Platform) -> None:
    exchange = await exchange_on(platform)
    grant = await exchange.open(await identity(platform))
    with pytest.raises(InvalidToken):
        await exchange.prove(grant.refresh.text)
    with pytest.raises(InvalidToken):
        exchange.read(TokenKind.REFRESH, grant.access.text)


async def test_a_revoked_key_ends_its_tokens_at_once(platform: Platform) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    grant = await exchange.open(alice)
    await platform.write(HUB, auth.revoke_key, auth.RevokeKey(alice.key_id))
    assert not await works(exchange, grant)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, grant)


async def test_a_token_does_not_outlive_its_key(platform: Platform, clock: FakeClock) -> None:
    exchange = await exchange_on(platform)
    ends = clock.now() + timedelta(minutes=10)
    made = await platform.write(HUB, auth.create_key, auth.CreateKey(Scope.SERVICE, expires_at=ends))
    assert made.api_key is not None
    found = await platform.read(HUB, find_key, FindKey(made.api_key))
    assert found is not None
    grant = await exchange.open(found)
    assert grant.access.expires_at == grant.refresh.expires_at == ends
    clock.advance(600)
    assert not await works(exchange, grant)


@pytest.mark.parametrize("change", [{"scope": "worker"}, {"principal_id": DEFAULT_TENANT}], ids=str)
async def test_a_token_ends_when_its_key_becomes_another(platform: Platform, change: dict[str, Any]) -> None:
    """What a token claims is compared with the key's row each time."""
    exchange, alice = await exchange_on(platform), await identity(platform)
    grant = await exchange.open(alice)

    async def alter(tx: Tx, _: None) -> None:
        await tx.run(sa.update(t.api_key).where(t.api_key.c.id == alice.key_id).values(**change))

    await platform.write(HUB, alter, None)
    assert not await works(exchange, grant)


async def test_a_refresh_token_gives_a_new_pair(platform: Platform, clock: FakeClock) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    first = await exchange.open(alice, persistent=False)
    clock.advance(3600)
    with pytest.raises(ExpiredToken):
        await exchange.prove(first.access.text)
    second = await refreshed(exchange, first)
    assert await works(exchange, second)
    assert second.refresh.text != first.refresh.text
    assert not second.persistent
    assert second.csrf == first.csrf


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_family(platform: Platform) -> None:
    """RFC 9700 §4.14.2: either user may be the thief, so both are out, access tokens included."""
    exchange, alice = await exchange_on(platform), await identity(platform)
    first = await exchange.open(alice)
    second = await refreshed(exchange, first)
    third = await refreshed(exchange, second)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, first)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, third)
    assert [await works(exchange, grant) for grant in (first, second, third)] == [False] * 3


async def test_the_end_of_one_family_leaves_the_others_of_its_key(platform: Platform) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    stolen, mine = await exchange.open(alice), await exchange.open(alice)
    await refreshed(exchange, stolen)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, stolen)
    assert await works(exchange, mine)
    assert await works(exchange, await refreshed(exchange, mine))


async def test_of_racing_refreshes_at_most_one_succeeds(platform: Platform) -> None:
    exchange = await exchange_on(platform)
    grant = await exchange.open(await identity(platform))
    outcomes = await asyncio.gather(*(refreshed(exchange, grant) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, Grant) for outcome in outcomes) == 1
    assert all(isinstance(outcome, Grant | Unauthenticated) for outcome in outcomes)
    assert not await works(exchange, grant)


async def test_reuse_is_in_the_log(platform: Platform) -> None:
    exchange = await exchange_on(platform)
    grant = await exchange.open(await identity(platform))
    await refreshed(exchange, grant)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, grant)

    async def kinds(tx: Tx, _: None) -> set[str]:
        found = [
            row.kind for table in (t.event_outbox, t.event) for row in await tx.all(sa.select(table.c.kind))
        ]
        return set(found)

    assert "session.reused" in await platform.read(HUB, kinds, None)


async def test_a_refresh_token_ends_after_a_week(platform: Platform, clock: FakeClock) -> None:
    exchange = await exchange_on(platform)
    grant = await exchange.open(await identity(platform))
    claims = exchange.read(TokenKind.REFRESH, grant.refresh.text)
    clock.advance(7 * 86_400)
    with pytest.raises(ExpiredToken):
        exchange.read(TokenKind.REFRESH, grant.refresh.text)
    with pytest.raises(Unauthenticated):
        await exchange.refresh(claims)


async def test_logging_out_ends_the_session_and_not_the_key(platform: Platform) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    grant = await exchange.open(alice)
    for _ in range(2):
        await exchange.close(exchange.read(TokenKind.REFRESH, grant.refresh.text))
    assert not await works(exchange, grant)
    with pytest.raises(Unauthenticated):
        await refreshed(exchange, grant)
    assert await works(exchange, await exchange.open(alice))


async def test_a_token_of_another_hub_is_refused(platform: Platform) -> None:
    exchange = await exchange_on(platform)
    grant = await Exchange(platform, Keyring(SECRET), "https://other.example").open(await identity(platform))
    assert not await works(exchange, grant)


async def test_tokens_of_the_previous_secret_go_on_and_are_renewed_with_the_present_one(
    platform: Platform,
) -> None:
    old = await exchange_on(platform)
    grant = await old.open(await identity(platform))
    both = await exchange_on(platform, Keyring(OTHER, SECRET))
    assert await works(both, grant)
    fresh = await refreshed(both, grant)
    assert await works(await exchange_on(platform, Keyring(OTHER)), fresh) is True
    assert not await works(Exchange(platform, Keyring(OTHER), URL), grant)


async def test_the_csrf_token_belongs_to_its_session(platform: Platform) -> None:
    exchange, alice = await exchange_on(platform), await identity(platform)
    mine, other = await exchange.open(alice), await exchange.open(alice)
    _, claims = await exchange.prove(mine.access.text)
    assert exchange.csrf_fits(claims.family_id, mine.csrf)
    for wrong in (None, "", other.csrf, mine.csrf[:-1], "é", mine.access.text):
        assert not exchange.csrf_fits(claims.family_id, wrong)
    assert Exchange(platform, Keyring(OTHER, SECRET), URL).csrf_fits(claims.family_id, mine.csrf)


async def test_no_repr_shows_a_token(platform: Platform) -> None:
    exchange = await exchange_on(platform)
    grant = await exchange.open(await identity(platform))
    for secret in (grant.access.text, grant.refresh.text, grant.csrf):
        assert secret not in repr(grant)
    assert replace(grant) == grant
