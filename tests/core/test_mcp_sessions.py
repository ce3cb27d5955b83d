"""Sessions of MCP clients: kept as rows, bound to their principal, bounded in number and in idleness."""

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from core import mcp_sessions
from core.caller import Caller
from core.errors import NotFound, TooMany
from core.mcp_sessions import OpenSession, SessionOf, Subscribe, find_session, open_session
from core.platform import Platform
from schemas.vocabulary import Scope
from tests.fakes import FakeClock

SERVER = "crossdock"


@pytest.fixture
def caller(tenant_id: UUID) -> Caller:
    """Somebody with a key of the least scope."""
    return Caller(uuid4(), tenant_id, Scope.AGENT, "user", "ann", face="mcp")


async def opened(platform: Platform, caller: Caller) -> str:
    session_id = mcp_sessions.new_session_id()
    await platform.write(caller, open_session, OpenSession(session_id, SERVER, "2025-11-25"))
    return session_id


async def test_a_session_is_found_by_whoever_opened_it_and_by_nobody_else(
    platform: Platform, caller: Caller
) -> None:
    session_id = await opened(platform, caller)
    found = await platform.read(caller, find_session, SessionOf(session_id, SERVER))
    assert found.protocol_version == "2025-11-25"
    other = replace(caller, principal_id=UUID(int=77))
    for asked, which in (
        (other, SessionOf(session_id, SERVER)),
        (caller, SessionOf(session_id, "another")),
        (caller, SessionOf("guessed", SERVER)),
    ):
        with pytest.raises(NotFound):
            await platform.read(asked, find_session, which)


async def test_the_database_does_not_hold_what_a_client_presents(platform: Platform, caller: Caller) -> None:
    session_id = await opened(platform, caller)
    found = await platform.read(caller, find_session, SessionOf(session_id, SERVER))
    assert session_id not in found.key


async def test_a_closed_session_is_gone(platform: Platform, caller: Caller) -> None:
    which = SessionOf(await opened(platform, caller), SERVER)
    await platform.write(caller, mcp_sessions.close_session, which)
    with pytest.raises(NotFound):
        await platform.write(caller, mcp_sessions.close_session, which)


async def test_an_idle_session_ends_and_a_used_one_does_not(
    platform: Platform, caller: Caller, clock: FakeClock
) -> None:
    idle, used = (
        SessionOf(await opened(platform, caller), SERVER),
        SessionOf(await opened(platform, caller), SERVER),
    )
    clock.advance(20 * 60)
    await platform.write(caller, mcp_sessions.use_session, used)
    clock.advance(11 * 60)
    await platform.read(caller, find_session, used)
    with pytest.raises(NotFound):
        await platform.read(caller, find_session, idle)


async def test_a_principal_has_a_hundred_sessions_and_idle_ones_make_room(
    platform: Platform, caller: Caller, clock: FakeClock
) -> None:
    for _ in range(mcp_sessions.MOST):
        await opened(platform, caller)
    with pytest.raises(TooMany):
        await opened(platform, caller)
    clock.advance(31 * 60)
    await opened(platform, caller)


async def test_subscriptions_are_a_set(platform: Platform, caller: Caller) -> None:
    session_id = await opened(platform, caller)
    for uri, wanted in (("a:1", True), ("a:2", True), ("a:1", True), ("a:2", False), ("a:3", False)):
        await platform.write(
            caller, mcp_sessions.subscribe, Subscribe(session_id, SERVER, uri, wanted=wanted)
        )
    found = await platform.read(caller, find_session, SessionOf(session_id, SERVER))
    assert found.subscriptions == ["a:1"]
