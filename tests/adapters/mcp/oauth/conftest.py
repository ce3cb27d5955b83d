"""An engine beside a strict authorization server, and a browser that consents."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import aiohttp
import pytest

from adapters.mcp.oauth import Authorization, Authorizations, NeedsReauth, OAuthConfig, OAuthEngine
from adapters.mcp.oauth.clients import Identity
from adapters.outbound import Outbound
from core.caller import Caller
from core.egress import Allowed
from core.keyring import Keyring
from core.mcp_oauth.connection_records import Connection, ServerId, get_connection
from core.mcp_oauth.connections import Configure, configure
from core.mcp_oauth.definition import NO_SECRETS, Definition, Secrets
from core.mcp_oauth.flow_records import Flow
from core.mcp_oauth.flows import Received
from core.platform import Platform
from core.push import Seals
from core.store import open_store
from core.store.tx import Tx
from tests.adapters.mcp.oauth.fake_authorization_server import FakeAuthorizationServer
from tests.fakes import FakeClock

PUBLIC_URL = "http://127.0.0.1:8080"


async def install(tx: Tx, keyring: Keyring) -> None:
    """Give a store what it seals with."""
    tx.memory(Seals).install(keyring)


@dataclass
class Bench:
    """One server, and the hub's ways to it."""

    platform: Platform
    engine: OAuthEngine
    authorizations: Authorizations
    operator: Caller
    server: FakeAuthorizationServer
    server_id: UUID
    connected: list[UUID]

    async def configure(
        self, definition: Definition | None = None, secrets: Secrets = NO_SECRETS, **more: Any
    ) -> Connection:
        """Say how a token is had."""
        command = Configure(self.server_id, self.server.endpoint, definition or Definition(), secrets, **more)
        return await self.platform.write(self.operator, configure, command)

    async def start(self) -> Flow:
        """Begin."""
        return await self.engine.start(self.operator, self.server_id)

    async def consent(self, flow: Flow, **changed: str | None) -> Received:
        """Open the URL of a flow as a browser does; what the callback then gets, changed as said."""
        assert flow.shown is not None, flow.error
        async with (
            aiohttp.ClientSession() as browser,
            browser.get(flow.shown["authorize_url"], allow_redirects=False) as answer,
        ):
            assert answer.status == 302, await answer.text()
            told: dict[str, Any] = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
        told |= changed
        return Received(told["state"], told.get("code"), told.get("error"), told.get("iss"))

    async def authorized(self) -> Flow:
        """The whole way through the browser."""
        return await self.engine.receive(await self.consent(await self.start()))

    async def connection(self) -> Connection:
        """As it is."""
        return await self.platform.read(self.operator, get_connection, ServerId(self.server_id))

    async def carried(self) -> Authorization | NeedsReauth:
        """What the next call carries."""
        return await self.authorizations.authorization(self.operator.tenant_id, self.server_id)

    async def challenged(self, used: Authorization, status: int = 401) -> Authorization | NeedsReauth:
        """What comes of a refusal, with the challenge of the server."""
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.server.endpoint, json={}, headers=used.headers) as answer,
        ):
            assert answer.status == status
            said = answer.headers.get("WWW-Authenticate")
        return await self.authorizations.challenged(
            self.operator.tenant_id, self.server_id, used, status, said
        )


@pytest.fixture
async def platform(database_url: str, clock: FakeClock) -> AsyncIterator[Platform]:
    """A started platform on an empty database, whose time stands still."""
    running = Platform(open_store(database_url, clock=clock))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def server() -> AsyncIterator[FakeAuthorizationServer]:
    """An authorization server."""
    server = FakeAuthorizationServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A way out to loopback."""
    outbound = Outbound(Allowed.parse(("127.0.0.1",)))
    yield outbound
    await outbound.close()


@pytest.fixture
async def bench(
    platform: Platform, outbound: Outbound, operator: Caller, server: FakeAuthorizationServer
) -> Bench:
    """The hub's client, with nothing configured."""
    await platform.write(operator, install, Keyring("s" * 48))
    connected: list[UUID] = []

    async def note(tenant_id: UUID, server_id: UUID) -> None:
        connected.append(server_id)

    identity = Identity(PUBLIC_URL, "https://hub.example/.well-known/oauth/mcp-client.json")
    engine = OAuthEngine(platform, outbound, OAuthConfig(identity, connected=note))
    return Bench(platform, engine, Authorizations(platform, engine), operator, server, uuid4(), connected)
