"""The registry by itself: health and its circuit breaker, drafts, due servers, and what servers tell."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from core.errors import NotFound, UpstreamFailed
from core.keyring import Keyring
from core.mcp.definitions import FoundItem, differences
from core.mcp.health import Observed, Soon, check_callable, observe, verify_soon
from core.mcp.parameters import GivenParameter
from core.mcp.ports import Fault, ServerFound, ServerRefused, ServerWanted
from core.mcp.records import ItemsOf, McpServer, ServerId, ServerSlug, find_server, get_server, items_of
from core.mcp.registration import RegisterServer
from core.mcp.registry import VERIFICATION, unlink
from core.mcp.upkeep import HUB, Pace, TakeDue, Upkeep, take_due
from core.mcp.verification import draft_server, register_server, reverify_server
from core.mcp.words import AuthMode, Era, ItemKind, ItemState, Placement, ValueKind, VerifiedTransport
from core.platform import Platform
from core.push import Seals
from core.store.tables import event, event_outbox, idem
from core.store.tables.mcp_registry import mcp_parameter
from core.store.tx import Tx
from schemas.vocabulary import Health, VerificationStatus
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

URL = "https://mcp.example.com/mcp"
SECRET = "a value that nobody sees"


class FakeServers:
    """A server that answers as a test wants it."""

    def __init__(self) -> None:
        self.asked: list[ServerWanted] = []
        self.refused: ServerRefused | None = None
        self.items = [FoundItem(ItemKind.TOOL, "one", {"name": "one", "inputSchema": {}})]
        self.capabilities: Mapping[str, Any] = {"tools": {}}
        self.tell: Callable[[], None] | None = None
        self.listening = asyncio.Event()

    async def look(self, wanted: ServerWanted) -> ServerFound:
        """What it offers, or the refusal."""
        self.asked.append(wanted)
        if self.refused is not None:
            raise self.refused
        return ServerFound(
            transport=VerifiedTransport.STREAMABLE_HTTP,
            era=Era.LEGACY,
            version="2025-11-25",
            versions=["2025-11-25"],
            capabilities=self.capabilities,
            info={"name": "fake"},
            items=list(self.items),
        )

    async def watch(
        self, wanted: ServerWanted, capabilities: Mapping[str, Any], changed: Callable[[], None]
    ) -> None:
        """Listen until cancelled."""
        self.tell = changed
        self.listening.set()
        await asyncio.Event().wait()


async def install(tx: Tx, secret: str) -> None:
    """Use the keys of a secret."""
    tx.memory(Seals).install(Keyring(secret))


async def stored(tx: Tx, _: None) -> str:
    """Everything that may hold a value, as text."""
    tables = (mcp_parameter, idem, event, event_outbox)
    rows = [row for table in tables for row in await tx.all(sa.select(*table.c))]
    return repr([row.as_dict() for row in rows])


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant on a platform that can seal."""
    stage = Stage(platform, clock)
    await platform.write(stage.admin, install, "s" * 32)
    return stage


@pytest.fixture
def servers() -> FakeServers:
    """Who answers for servers."""
    return FakeServers()


async def register(stage: Stage, servers: FakeServers, name: str = "Far", **members: Any) -> McpServer:
    """A server."""
    wanted = RegisterServer(name=name, endpoint_url=URL, **members)
    return (await register_server(stage.platform, stage.admin, servers, wanted)).result


async def seen(stage: Stage, server: McpServer, health: Health, **members: Any) -> McpServer:
    """A server of which something was observed."""
    await stage.platform.write(stage.admin, observe, Observed(server.id, health, **members))
    return await stage.platform.read(stage.admin, get_server, ServerId(server.id))


def refusal(server: McpServer, stage: Stage) -> str | None:
    """Why a server may not be called now."""
    try:
        check_callable(server, stage.platform.now())
    except UpstreamFailed as error:
        reason: str = error.details["reason_code"]
        return reason
    return None


async def test_three_failures_in_a_row_open_the_circuit_and_time_half_opens_it(
    stage: Stage, servers: FakeServers, clock: FakeClock
) -> None:
    server = await register(stage, servers)
    assert refusal(server, stage) is None
    for _ in range(2):
        server = await seen(stage, server, Health.UNREACHABLE, error="no connection")
        assert (server.health, refusal(server, stage)) == (Health.DEGRADED, None)
    server = await seen(stage, server, Health.OK)
    assert (server.health, server.failures, server.health_error) == (Health.OK, 0, None)
    waits = []
    for _ in range(12):
        server = await seen(stage, server, Health.UNREACHABLE, error="no connection")
        if server.retry_at is not None:
            assert refusal(server, stage) == "mcp_server_unreachable"
            waits.append((server.retry_at - stage.platform.now()).total_seconds())
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    clock.advance(300)
    assert refusal(server, stage) is None
    server = await seen(stage, server, Health.OK)
    assert (server.health, server.retry_at) == (Health.OK, None)


async def test_a_server_that_needs_authorization_is_not_called_and_keeps_what_it_offers(
    stage: Stage, servers: FakeServers
) -> None:
    server = await register(stage, servers)
    server = await seen(stage, server, Health.NEEDS_REAUTH, error="refused", challenge="Bearer x")
    assert refusal(server, stage) == "mcp_server_needs_reauth"
    assert (server.challenge, server.verification_status) == ("Bearer x", VerificationStatus.VERIFIED)
    assert len(await stage.platform.read(stage.admin, items_of, ItemsOf(server.id))) == 1
    assert (await seen(stage, server, Health.OK)).challenge is None


async def test_only_news_about_health_is_told(stage: Stage, servers: FakeServers) -> None:
    server = await register(stage, servers)
    for health in (Health.OK, Health.UNREACHABLE, Health.UNREACHABLE, Health.UNREACHABLE, Health.OK):
        await seen(stage, server, health)

    async def told(tx: Tx, _: None) -> Sequence[str]:
        kinds = []
        for table in (event, event_outbox):
            kinds += [row.kind for row in await tx.all(sa.select(table.c.kind))]
        return kinds

    kinds = await stage.platform.read(stage.admin, told, None)
    assert kinds.count("mcp_server.health_changed") == 3


async def test_a_draft_waits_and_is_verified_later(stage: Stage, servers: FakeServers) -> None:
    wanted = RegisterServer(name="Draft", endpoint_url=URL, auth_mode=AuthMode.OAUTH)
    draft = (await draft_server(stage.platform, stage.admin, wanted)).result
    assert draft.verification_status is VerificationStatus.UNKNOWN
    assert refusal(draft, stage) == "mcp_server_not_verified"
    assert servers.asked == []
    done = (await reverify_server(stage.platform, stage.admin, servers, ServerId(draft.id))).result
    assert done.verification_status is VerificationStatus.VERIFIED
    [item] = await stage.platform.read(stage.admin, items_of, ItemsOf(draft.id))
    assert item.approved is not None
    back = await stage.platform.write(stage.admin, unlink, ServerId(draft.id))
    assert back.verification_status is VerificationStatus.UNKNOWN
    assert back.counts == {"tool": 1}


async def test_every_move_of_verification_is_one_of_the_law() -> None:
    assert {name: target.value for name, (_, target) in VERIFICATION.items()} == {
        "draft": "unknown",
        "verify": "verified",
        "refute": "failed",
        "unlink": "unknown",
    }


async def test_a_secret_is_kept_sealed_and_shown_to_nobody(stage: Stage, servers: FakeServers) -> None:
    given = [GivenParameter(Placement.HEADER, "X-Key", ValueKind.SECRET, SECRET)]
    server = await register(stage, servers, parameters=given)
    assert [one.text.reveal() for one in servers.asked[0].values] == [SECRET]
    assert SECRET not in repr((servers.asked, server, given))
    assert SECRET not in await stage.platform.read(stage.admin, stored, None)


async def test_the_revision_grows_only_with_what_counts(stage: Stage, servers: FakeServers) -> None:
    server = await register(stage, servers)

    async def again() -> McpServer:
        return (await reverify_server(stage.platform, stage.admin, servers, ServerId(server.id))).result

    assert (await again()).revision == server.revision
    servers.items.append(FoundItem(ItemKind.RESOURCE, "x://y", {"uri": "x://y", "name": "y"}))
    assert (await again()).revision == server.revision + 1
    servers.refused = ServerRefused("away", Fault.UNREACHABLE)
    assert (await again()).revision == server.revision + 1


async def test_a_tenant_does_not_see_the_servers_of_another(stage: Stage, servers: FakeServers) -> None:
    server = await register(stage, servers)
    stranger = Stage(stage.platform, stage.clock)
    for query, argument in ((get_server, ServerId(server.id)), (find_server, ServerSlug("far"))):
        with pytest.raises(NotFound):
            await stage.platform.read(stranger.admin, query, argument)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await reverify_server(stage.platform, stranger.admin, servers, ServerId(server.id))


async def test_a_due_server_is_taken_once(stage: Stage, servers: FakeServers, clock: FakeClock) -> None:
    server = await register(stage, servers, reverify_seconds=60)
    assert await stage.platform.write(HUB, take_due, TakeDue(60)) == []
    clock.advance(60)
    [due] = await stage.platform.write(HUB, take_due, TakeDue(60))
    assert due.id == server.id
    assert await stage.platform.write(HUB, take_due, TakeDue(60)) == []
    clock.advance(60)
    assert len(await stage.platform.write(HUB, take_due, TakeDue(60))) == 1


async def test_a_server_that_is_away_is_tried_when_its_time_comes(
    stage: Stage, servers: FakeServers, clock: FakeClock
) -> None:
    server = await register(stage, servers)
    servers.refused = ServerRefused("away", Fault.UNREACHABLE)
    await reverify_server(stage.platform, stage.admin, servers, ServerId(server.id))
    assert await stage.platform.write(HUB, take_due, TakeDue(60)) == []
    clock.advance(5)
    [due] = await stage.platform.write(HUB, take_due, TakeDue(60))
    assert due.id == server.id


async def until(check: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_a_server_that_tells_of_a_change_is_verified_at_once(
    stage: Stage, servers: FakeServers
) -> None:
    servers.capabilities = {"tools": {"listChanged": True}}
    upkeep = Upkeep(stage.platform, servers, Pace(sweep=0.05, least=0.01))
    await upkeep.start()
    try:
        server = await register(stage, servers)
        await asyncio.wait_for(servers.listening.wait(), 20)
        assert servers.tell is not None
        servers.items[0] = FoundItem(ItemKind.TOOL, "one", {"name": "one", "title": "1", "inputSchema": {}})
        servers.tell()
        await until(lambda: len(servers.asked) > 1)
        states: list[str] = []
        async with asyncio.timeout(20):
            while states != ["quarantined"]:
                found = await stage.platform.read(
                    stage.admin, items_of, ItemsOf(server.id, states=tuple(ItemState))
                )
                states = [one.state.value for one in found]
    finally:
        await upkeep.stop()


async def test_what_servers_tell_changes_nothing_for_an_archived_one(
    stage: Stage, servers: FakeServers
) -> None:
    server = await register(stage, servers, reverify_seconds=None)
    assert await stage.platform.write(stage.admin, verify_soon, Soon(server.id))
    assert not await stage.platform.write(stage.admin, verify_soon, Soon(UUID(int=5)))


def test_differences_are_named_by_json_pointers() -> None:
    before = {"a": {"b/c": 1, "d": [1, 2]}, "e": 1}
    after = {"a": {"b/c": 2, "d": [1, 3]}, "f": 1}
    assert differences(before, after) == ["/a/b~1c", "/a/d", "/e", "/f"]


def test_a_hash_covers_what_a_model_reads_and_nothing_else() -> None:
    plain = {"name": "one", "description": "d", "inputSchema": {"a": 1.0}}
    known = FoundItem(ItemKind.TOOL, "one", plain).hash
    assert FoundItem(ItemKind.TOOL, "one", {**plain, "_meta": {"x": 1}}).hash == known
    for name in ("title", "description", "inputSchema", "outputSchema", "annotations"):
        assert FoundItem(ItemKind.TOOL, "one", {**plain, name: {"new": True}}).hash != known
