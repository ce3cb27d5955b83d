"""From headers to a caller."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from core import auth
from core.bootstrap import DEFAULT_TENANT, Prepare, prepare
from core.caller import SYSTEM
from core.credentials import FindKey, Identity, find_key
from core.errors import Forbidden, TooMany, Unauthenticated
from core.exchange import Exchange, Grant
from core.keyring import Keyring
from core.keys import mint
from core.platform import Platform
from core.principals import OwnerType, ensure_principal
from core.store import tables as t
from core.store.tx import Tx
from hub.authentication import ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE, Authenticator, cookies_of
from hub.failed_attempts import PER_MINUTE, FailedAttempts
from schemas.vocabulary import Scope
from tests.fakes import FakeClock

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"
HUB = SYSTEM(DEFAULT_TENANT)


@dataclass
class Door:
    """An authenticator, and what stands around it."""

    platform: Platform
    exchange: Exchange
    guard: Authenticator
    heard: list[UUID] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    async def key(self, scope: Scope = Scope.AGENT, owner: str = "alice") -> str:
        made = await self.platform.write(HUB, auth.create_key, auth.CreateKey(scope, owner_id=owner))
        assert made.api_key is not None
        return made.api_key

    async def identity(self, key: str) -> Identity:
        found = await self.platform.read(HUB, find_key, FindKey(key))
        assert found is not None
        return found

    async def grant(self) -> Grant:
        return await self.exchange.open(await self.identity(await self.key()))

    async def revoke(self, key: str) -> None:
        await self.platform.write(HUB, auth.revoke_key, auth.RevokeKey((await self.identity(key)).key_id))


@pytest.fixture(params=[False], ids=["headers"])
async def door(platform: Platform, request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    ring = Keyring(SECRET)
    await platform.write(HUB, prepare, Prepare(ring, "the administrator's own key"))
    exchange, heard = Exchange(platform, ring, "https://hub.example.com"), list[UUID]()
    guard = Authenticator(platform, exchange, cookies=request.param, presence=heard.append)
    yield Door(platform, exchange, guard, heard, counted_reads(platform))
    await guard.close()


with_cookies = pytest.mark.parametrize("door", [True], indirect=True, ids=["cookies"])


def counted_reads(platform: Platform) -> list[str]:
    """Notes the name of every query that the platform runs from now on."""
    seen: list[str] = []
    read = platform.store.read

    async def noted(call: Any) -> Any:
        seen.append(call.name)
        return await read(call)

    platform.store.read = noted  # type: ignore[method-assign]
    return seen


def request(
    bearer: str | None = None,
    *,
    method: str = "GET",
    address: str = "192.0.2.1",
    cookies: Mapping[str, str] | None = None,
    csrf: str | None = None,
    query: str = "",
) -> dict[str, Any]:
    headers = []
    if bearer is not None:
        headers.append((b"authorization", b"Bearer " + bearer.encode("latin-1")))
    if cookies:
        headers.append((b"cookie", "; ".join(f"{name}={text}" for name, text in cookies.items()).encode()))
    if csrf is not None:
        headers.append((b"x-csrf-token", csrf.encode()))
    return {
        "type": "http",
        "method": method,
        "headers": headers,
        "client": (address, 40_000),
        "query_string": query.encode(),
    }


async def test_a_key_makes_its_caller(door: Door) -> None:
    key = await door.key(Scope.WORKER, "alice")
    caller = await door.guard(request(key))
    assert (caller.scope, caller.owner_type, caller.owner_id) == (Scope.WORKER, "user", "alice")
    assert (caller.tenant_id, caller.face) == (DEFAULT_TENANT, "rest")
    assert caller.principal_id == (await door.identity(key)).principal_id


async def test_an_access_token_makes_the_same_caller_as_its_key(door: Door) -> None:
    key = await door.key()
    grant = await door.exchange.open(await door.identity(key))
    assert await door.guard(request(grant.access.text)) == await door.guard(request(key))


async def test_a_chosen_admin_key_may_be_any_text(door: Door) -> None:
    assert (await door.guard(request("the administrator's own key"))).scope is Scope.ADMIN


async def test_the_face_is_part_of_the_caller(door: Door) -> None:
    key = await door.key()
    for face in ("a2a", "mcp", "a2a"):
        assert (await door.guard.identify(request(key), face)).face == face
    assert (await door.guard(request(key))).face == "rest"


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "short",
        "xd_agent_" + "A" * 49,
        mint(Scope.ADMIN),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "é" * 30,
        "a" * 9000,
    ],
    ids=["empty", "short", "mistyped", "unknown", "unsigned", "not ascii", "long"],
)
async def test_a_wrong_credential_is_refused(door: Door, credential: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await door.guard(request(credential))
    assert not credential or credential not in f"{refused.value.message} {refused.value.hint}"


async def test_unknown_and_revoked_keys_look_alike(door: Door) -> None:
    revoked = await door.key()
    await door.revoke(revoked)
    said = []
    for key in (revoked, mint(Scope.AGENT)):
        with pytest.raises(Unauthenticated) as refused:
            await door.guard(request(key))
        said.append((refused.value.message, refused.value.hint))
    assert said[0] == said[1]


async def test_a_mistyped_key_costs_no_look_up(door: Door) -> None:
    key = await door.key()
    door.reads.clear()
    with pytest.raises(Unauthenticated):
        await door.guard(request(key[:-1] + ("A" if key[-1] != "A" else "B")))
    assert door.reads == []


async def test_nothing_but_authorization_carries_a_credential(door: Door) -> None:
    """Query strings end in logs, and cookies are off unless the hub allows them."""
    key, grant = await door.key(), await door.grant()
    scope = request(query=f"access_token={key}&api_key={key}&token={key}")
    scope["headers"] += [(b"x-api-key", key.encode()), (b"proxy-authorization", b"Bearer " + key.encode())]
    scope["headers"].append((b"cookie", f"{ACCESS_COOKIE}={grant.access.text}".encode()))
    with pytest.raises(Unauthenticated):
        await door.guard(scope)


async def test_other_schemes_and_two_credentials_are_refused(door: Door) -> None:
    key = await door.key()
    basic, both = request(), request(key)
    basic["headers"] = [(b"authorization", b"Basic " + key.encode())]
    both["headers"] *= 2
    for scope in (basic, both):
        with pytest.raises(Unauthenticated):
            await door.guard(scope)
    lower = request()
    lower["headers"] = [(b"authorization", b"bearer " + key.encode())]
    await door.guard(lower)


async def test_a_refresh_token_opens_no_door(door: Door) -> None:
    grant = await door.grant()
    for face in ("rest", "a2a", "acp", "mcp"):
        with pytest.raises(Unauthenticated):
            await door.guard.identify(request(grant.refresh.text), face)


# The cache


async def test_a_proof_is_believed_for_two_seconds_and_no_longer(door: Door, clock: FakeClock) -> None:
    key = await door.key()
    await door.guard(request(key))
    door.reads.clear()
    await door.guard(request(key))
    assert door.reads == []
    clock.advance(2)
    await door.guard(request(key))
    assert door.reads == ["core.credentials.find_key"]


async def test_a_proof_does_not_outlive_its_key(door: Door, clock: FakeClock) -> None:
    made = await door.platform.write(
        HUB, auth.create_key, auth.CreateKey(Scope.SERVICE, expires_at=clock.now() + _seconds(1))
    )
    assert made.api_key is not None
    await door.guard(request(made.api_key))
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await door.guard(request(made.api_key))


def _seconds(count: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=count)


async def test_a_revocation_is_felt_at_once(door: Door) -> None:
    """No clock moves here: the cache is dropped, not outwaited."""
    key, grant = await door.key(), await door.grant()
    await door.guard(request(key))
    await door.guard(request(grant.access.text))
    await door.revoke(key)
    with pytest.raises(Unauthenticated):
        await door.guard(request(key))
    await door.exchange.close((await door.exchange.prove(grant.access.text))[1])
    with pytest.raises(Unauthenticated):
        await door.guard(request(grant.access.text))


async def test_what_was_read_before_a_revocation_is_not_remembered_after_it(door: Door) -> None:
    """A look-up that a revocation overtakes must not bring the key back for two seconds."""
    key = await door.key()
    identity = await door.identity(key)
    read = door.platform.store.read
    overtaken = False

    async def slow(call: Any) -> Any:
        nonlocal overtaken
        answer = await read(call)
        if not overtaken:
            overtaken = True
            await door.platform.write(HUB, auth.revoke_key, auth.RevokeKey(identity.key_id))
            with pytest.raises(Unauthenticated):
                await door.guard(request(mint(Scope.AGENT)))  # meets the hint, so the next call does not
        return answer

    door.platform.store.read = slow  # type: ignore[method-assign]
    await door.guard(request(key))
    with pytest.raises(Unauthenticated):
        await door.guard(request(key))


async def test_no_credential_is_kept_in_plain_text(door: Door) -> None:
    key, grant = await door.key(), await door.grant()
    await door.guard(request(key))
    await door.guard(request(grant.access.text))
    kept = repr([vars(door.guard), [getattr(p, n) for p in door.guard._proofs.values() for n in p.__slots__]])
    assert key not in kept
    assert grant.access.text not in kept


async def test_the_cache_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.authentication._MOST_CACHED", 3)
    for owner in "abcdef":
        await door.guard(request(await door.key(owner=owner)))
        assert len(door.guard._proofs) <= 3


# Streams


async def test_a_stream_ends_when_its_key_is_revoked(door: Door) -> None:
    """Within five seconds; here at once, by the hint."""
    key = await door.key()
    scope = request(key)
    await door.guard(scope)
    ended = asyncio.create_task(door.guard.ended(scope))
    await asyncio.wait([ended], timeout=0.05)
    assert not ended.done()
    await door.revoke(key)
    await asyncio.wait_for(ended, 5)


async def test_a_stream_ends_within_seconds_when_no_hint_comes(door: Door, clock: FakeClock) -> None:
    """Another replica revoked the key, and its hint was lost."""
    key = await door.key()
    identity, scope = await door.identity(key), request(key)
    await door.guard(scope)

    async def revoke(tx: Tx, _: None) -> None:
        await tx.run(auth.REVOKE, p_id=identity.key_id, p_now=tx.now)

    await door.platform.write(HUB, revoke, None)
    clock.advance(2)
    await asyncio.wait_for(door.guard.ended(scope), 5)


async def test_a_streams_check_is_no_guess(door: Door) -> None:
    scope = request(mint(Scope.AGENT))
    for _ in range(PER_MINUTE + 5):
        assert not await door.guard.alive(scope)
    with pytest.raises(Unauthenticated):
        await door.guard(scope)


# Guessing


async def test_guessing_is_slowed_and_a_right_key_never(door: Door, clock: FakeClock) -> None:
    """Twenty failures a minute per address, then 429 for failures only."""
    key = await door.key()
    for _ in range(PER_MINUTE):
        with pytest.raises(Unauthenticated):
            await door.guard(request(mint(Scope.AGENT)))
    with pytest.raises(TooMany) as refused:
        await door.guard(request(mint(Scope.AGENT)))
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 60
    await door.guard(request(key))
    with pytest.raises(Unauthenticated):
        await door.guard(request(mint(Scope.AGENT), address="192.0.2.2"))
    clock.advance(60)
    with pytest.raises(Unauthenticated):
        await door.guard(request(mint(Scope.AGENT)))


async def test_a_call_without_a_credential_is_no_guess(door: Door) -> None:
    for _ in range(PER_MINUTE + 1):
        with pytest.raises(Unauthenticated):
            await door.guard(request())


async def test_an_expired_token_is_no_guess(door: Door, clock: FakeClock) -> None:
    grant = await door.grant()
    clock.advance(3600)
    for _ in range(PER_MINUTE + 1):
        with pytest.raises(Unauthenticated):
            await door.guard(request(grant.access.text))


def test_failures_are_counted_in_bounded_memory() -> None:
    failures = FailedAttempts()
    for n in range(20_000):
        failures.count(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert len(failures._windows) <= 10_000


def test_one_line_of_ipv6_counts_as_one_address() -> None:
    failures = FailedAttempts(per_minute=1)
    assert failures.count("2001:db8::1", 0.0) is None
    assert failures.count("2001:db8::2", 1.0) == 59.0
    assert failures.count("2001:db8:0:1::1", 1.0) is None


# Use and presence


async def test_a_use_is_noted_at_most_once_a_minute(door: Door, clock: FakeClock) -> None:
    key = await door.key()

    async def last_used(tx: Tx, _: None) -> Any:
        statement = sa.select(t.api_key.c.last_used_at).where(t.api_key.c.id == identity.key_id)
        row = await tx.one(statement)
        assert row is not None
        return row.last_used_at

    identity = await door.identity(key)
    seen = []
    for _ in range(4):
        await door.guard(request(key))
        await asyncio.gather(*door.guard._noting)
        seen.append(await door.platform.read(HUB, last_used, None))
        clock.advance(30)
    assert seen[0] is not None
    assert [moment == seen[0] for moment in seen] == [True, True, False, False]


async def test_using_a_key_moves_it_to_the_present_secret(door: Door) -> None:
    key = await door.key()
    ring = Keyring(OTHER, SECRET)
    await door.platform.write(HUB, prepare, Prepare(ring))
    guard = Authenticator(door.platform, Exchange(door.platform, ring, "https://hub.example.com"))
    await guard(request(key))
    await guard.close()
    await door.platform.write(HUB, prepare, Prepare(Keyring(OTHER)))
    assert await door.platform.read(HUB, find_key, FindKey(key)) is not None


@pytest.mark.parametrize("owner_type", [OwnerType.AGENT, OwnerType.WORKER])
async def test_every_call_of_an_agent_or_worker_is_its_heartbeat(door: Door, owner_type: OwnerType) -> None:
    who = uuid4()

    async def enrol(tx: Tx, _: None) -> str:
        await ensure_principal(tx, DEFAULT_TENANT, owner_type, str(who), "Somebody", who)
        new = auth.issue_key(tx, who, Scope(owner_type.value))
        assert new.api_key is not None
        return new.api_key

    key = await door.platform.write(HUB, enrol, None)
    for _ in range(3):
        await door.guard(request(key))
    assert door.heard == [who] * 3


async def test_a_users_call_is_nobodys_heartbeat(door: Door) -> None:
    await door.guard(request(await door.key()))
    assert door.heard == []


# Cookies


@with_cookies
async def test_a_cookie_session_reads_without_and_writes_with_its_csrf_token(door: Door) -> None:
    grant = await door.grant()
    cookies = {ACCESS_COOKIE: grant.access.text, CSRF_COOKIE: grant.csrf}
    for method in ("GET", "HEAD"):
        await door.guard(request(cookies=cookies, method=method))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Forbidden) as refused:
            await door.guard(request(cookies=cookies, method=method))
        assert refused.value.details == {"reason_code": "csrf"}
        await door.guard(request(cookies=cookies, method=method, csrf=grant.csrf))


@with_cookies
async def test_a_csrf_token_of_another_session_is_refused(door: Door) -> None:
    mine, other = await door.grant(), await door.grant()
    cookies = {ACCESS_COOKIE: mine.access.text, CSRF_COOKIE: other.csrf}
    with pytest.raises(Forbidden):
        await door.guard(request(cookies=cookies, method="POST", csrf=other.csrf))


@with_cookies
async def test_authorization_goes_before_cookies_and_needs_no_csrf_token(door: Door) -> None:
    grant, key = await door.grant(), await door.key(owner="bob")
    caller = await door.guard(request(key, cookies={ACCESS_COOKIE: grant.access.text}, method="POST"))
    assert caller.owner_id == "bob"


@with_cookies
async def test_no_cookie_holds_a_key_or_a_refresh_token(door: Door) -> None:
    grant, key = await door.grant(), await door.key()
    for cookies in (
        {ACCESS_COOKIE: key},
        {ACCESS_COOKIE: grant.refresh.text},
        {REFRESH_COOKIE: grant.refresh.text},
        {REFRESH_COOKIE: grant.access.text},
    ):
        with pytest.raises(Unauthenticated):
            await door.guard(request(cookies=cookies))


def test_a_cookie_that_is_sent_twice_counts_as_none() -> None:
    """Whoever owns a neighbouring host can add a second one."""
    scope = request()
    scope["headers"] = [(b"cookie", b"a=1; b=2"), (b"cookie", b"a=3")]
    assert cookies_of(scope) == {"b": "2"}
