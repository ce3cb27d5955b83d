"""What calls carry: one renewal for everybody, on every replica, and honest words when there is nothing."""

import asyncio

import pytest

from adapters.mcp.oauth import Authorization, Authorizations, NeedsReauth, OAuthConfig, OAuthEngine
from adapters.outbound import Outbound
from core.errors import UpstreamFailed
from core.keyring import Keyring
from core.mcp_oauth.definition import Definition, Secrets
from core.platform import Platform
from schemas.oauth import ConnectionState, FlowState, GrantType
from tests.adapters.mcp.oauth.conftest import Bench, install
from tests.conftest import OpenStore
from tests.fakes import FakeClock


async def carried(bench: Bench) -> Authorization:
    """What the next call carries; it must be there."""
    found = await bench.carried()
    assert isinstance(found, Authorization), found
    return found


async def test_a_token_is_renewed_before_it_ends_and_only_then(bench: Bench, clock: FakeClock) -> None:
    await bench.configure()
    await bench.authorized()
    first = await carried(bench)
    clock.advance(3600 - 301)
    assert (await carried(bench)).headers == first.headers
    clock.advance(2)
    second = await carried(bench)
    assert second.headers != first.headers
    assert second.revision > first.revision
    assert bench.server.refresh_calls == 1


async def test_many_callers_on_two_replicas_renew_once(
    bench: Bench, clock: FakeClock, open_another: OpenStore, outbound: Outbound, database_url: str
) -> None:
    await bench.configure()
    await bench.authorized()
    platforms = [bench.platform]
    if database_url.startswith("postgresql"):
        platforms.append(Platform(await open_another()))
    hubs = []
    for platform in platforms:
        engine = OAuthEngine(platform, outbound, OAuthConfig(bench.engine.identity))
        hubs.append(Authorizations(platform, engine))
    for platform in platforms[1:]:
        await platform.write(bench.operator, install, Keyring("s" * 48))
    for round_ in range(1, 4):
        clock.advance(3400)
        calls = [
            hubs[n % len(hubs)].authorization(bench.operator.tenant_id, bench.server_id) for n in range(24)
        ]
        found = await asyncio.gather(*calls)
        tokens = {one.headers["Authorization"] for one in found if isinstance(one, Authorization)}
        assert all(isinstance(one, Authorization) for one in found), found
        assert len(tokens) == 1
        assert bench.server.accepts(tokens.pop())
        assert (bench.server.refresh_calls, bench.server.reused) == (round_, 0)


async def test_a_401_is_answered_by_one_renewal_for_all_who_met_it(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    used = await carried(bench)
    bench.server.end_tokens()
    found = await asyncio.gather(*(bench.challenged(used) for _ in range(12)))
    again = {one.headers["Authorization"] for one in found if isinstance(one, Authorization)}
    assert len(again) == 1
    assert bench.server.accepts(again.pop())
    assert (bench.server.refresh_calls, bench.server.reused) == (1, 0)


async def test_a_second_401_in_a_row_needs_somebody(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    used = await carried(bench)
    bench.server.end_tokens()
    fresh = await bench.challenged(used)
    assert isinstance(fresh, Authorization)
    bench.server.end_tokens()
    assert isinstance(await bench.challenged(fresh), NeedsReauth)
    assert bench.server.refresh_calls == 1
    assert (await bench.connection()).state is ConnectionState.NEEDS_REAUTH
    assert isinstance(await bench.carried(), NeedsReauth)
    assert (await bench.authorized()).state is FlowState.COMPLETED
    assert isinstance(await bench.carried(), Authorization)


async def test_a_refresh_token_that_has_ended_needs_somebody(bench: Bench, clock: FakeClock) -> None:
    await bench.configure()
    await bench.authorized()
    bench.server.end_everything()
    clock.advance(3500)
    found = await bench.carried()
    assert isinstance(found, NeedsReauth)
    assert found.reason == "the token endpoint: invalid_grant"
    assert isinstance(await bench.carried(), NeedsReauth)
    assert bench.server.refresh_calls == 1, "what was refused is not sent again"


async def test_a_token_without_a_refresh_token_is_used_to_its_end(bench: Bench, clock: FakeClock) -> None:
    bench.server.refreshes = False
    await bench.configure()
    await bench.authorized()
    first = await carried(bench)
    clock.advance(3590)
    assert (await carried(bench)).headers == first.headers
    bench.server.end_tokens()
    found = await bench.challenged(first)
    assert isinstance(found, NeedsReauth)
    assert (await bench.connection()).error == "the server does not accept the token any more"


@pytest.mark.parametrize("fault", [503, 429, 502])
async def test_a_server_that_is_away_ends_nothing(bench: Bench, clock: FakeClock, fault: int) -> None:
    await bench.configure()
    await bench.authorized()
    first = await carried(bench)
    clock.advance(3500)
    bench.server.faults["/token"] = [fault]
    assert (await carried(bench)).headers == first.headers, "it is good for a while yet"
    clock.advance(200)
    bench.server.faults["/token"] = [fault]
    with pytest.raises(UpstreamFailed):
        await bench.carried()
    assert (await bench.connection()).state is ConnectionState.CONNECTED
    assert (await carried(bench)).headers != first.headers


async def test_a_hub_that_died_while_it_renewed_holds_nobody_up_for_long(
    bench: Bench, clock: FakeClock
) -> None:
    await bench.configure()
    await bench.authorized()
    first = await carried(bench)
    clock.advance(3500)
    bench.server.faults["/token"] = ["hang"]
    held = asyncio.create_task(bench.carried())
    async with asyncio.timeout(10):
        while len(bench.server.sent("/token")) < 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    clock.advance(31)
    second = await carried(bench)
    assert second.headers != first.headers
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    assert (await carried(bench)).headers == second.headers


async def test_more_scope_is_asked_of_a_person_together_with_the_old(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    used = await carried(bench)
    bench.server.guards = "write"
    found = await bench.challenged(used, 403)
    assert isinstance(found, NeedsReauth)
    known = await bench.connection()
    assert (known.wanted_scope, known.error) == ("read write", "the server asks for more scope")
    assert (await bench.authorized()).state is FlowState.COMPLETED
    assert (await bench.connection()).scope == "read write"
    assert bench.server.accepts((await carried(bench)).headers["Authorization"])


async def test_a_machine_gets_more_scope_by_itself(bench: Bench) -> None:
    bench.server.clients["machine"] = {"client_secret": "s"}
    definition = Definition(grant_type=GrantType.CLIENT_CREDENTIALS, client_id="machine")
    await bench.configure(definition, Secrets(client_secret="s"))
    await bench.start()
    used = await carried(bench)
    bench.server.guards = "write"
    more = await bench.challenged(used, 403)
    assert isinstance(more, Authorization)
    assert bench.server.accepts(more.headers["Authorization"])


async def test_a_server_that_asks_for_more_and_more_is_not_believed_for_ever(bench: Bench) -> None:
    bench.server.clients["machine"] = {"client_secret": "s"}
    definition = Definition(grant_type=GrantType.CLIENT_CREDENTIALS, client_id="machine")
    await bench.configure(definition, Secrets(client_secret="s"))
    await bench.start()
    found: Authorization | NeedsReauth = await carried(bench)
    for n in range(10):
        if isinstance(found, NeedsReauth):
            break
        bench.server.guards = f"more{n}"
        found = await bench.challenged(found, 403)
    assert isinstance(found, NeedsReauth)
    assert len(bench.server.sent("/token")) <= 5


async def test_machines_renew_by_their_grant(bench: Bench, clock: FakeClock) -> None:
    bench.server.clients["machine"] = {"client_secret": "s"}
    definition = Definition(grant_type=GrantType.CLIENT_CREDENTIALS, client_id="machine")
    await bench.configure(definition, Secrets(client_secret="s"))
    await bench.start()
    first = await carried(bench)
    clock.advance(3500)
    second = await carried(bench)
    assert first.headers != second.headers
    assert bench.server.refresh_calls == 0


async def test_a_short_life_is_not_renewed_at_every_call(bench: Bench, clock: FakeClock) -> None:
    bench.server.expires_in = 60
    await bench.configure()
    await bench.authorized()
    first = await carried(bench)
    clock.advance(40)
    assert (await carried(bench)).headers == first.headers
    clock.advance(10)
    assert (await carried(bench)).headers != first.headers


async def test_whoever_is_refused_after_somebody_else_is_told_at_once(bench: Bench) -> None:
    await bench.configure()
    await bench.authorized()
    used = await carried(bench)
    bench.server.end_everything()
    found = await asyncio.gather(*(bench.challenged(used) for _ in range(8)))
    assert all(isinstance(one, NeedsReauth) for one in found), found
    assert isinstance(await bench.challenged(used), NeedsReauth)
    assert bench.server.refresh_calls == 1
