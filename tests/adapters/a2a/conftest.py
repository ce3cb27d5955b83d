"""A platform behind the A2A routes, in process, with a scripted executor beside it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig, routes
from core.agents import RegisterAgent, register
from core.bootstrap import DEFAULT_TENANT
from core.caller import SYSTEM, Caller
from core.keyring import Keyring
from core.platform import Platform
from core.push import Seals
from core.signing_keys import ensure_signing_key
from core.store import open_store
from core.store.tx import Tx
from schemas.vocabulary import Scope
from tests.adapters.a2a.support import PUBLIC, TENANT, Client, Executor, Keys


async def with_keys(tx: Tx, ring: Keyring) -> None:
    """Seal with this keyring, and have a key that signs."""
    tx.memory(Seals).install(ring)
    await ensure_signing_key(tx)


@pytest.fixture
async def platform(database_url: str) -> AsyncIterator[Platform]:
    """A started platform on an empty database, in real time: status times differ."""
    running = Platform(open_store(database_url))
    await running.start()
    for tenant_id in (DEFAULT_TENANT, TENANT):
        await running.write(SYSTEM(tenant_id), with_keys, Keyring("k" * 32))
    yield running
    await running.stop()


@pytest.fixture
def keys() -> Keys:
    """Who may call."""
    return Keys()


@pytest.fixture
def config() -> A2AConfig:
    """What the operator decided."""
    return A2AConfig(public_url=PUBLIC, version="9.9", heartbeat_seconds=0.05)


@pytest.fixture
def app(platform: Platform, config: A2AConfig, keys: Keys) -> ASGIApp:
    """The A2A routes and nothing else."""
    return Starlette(routes=list(routes(platform, config, keys)))


@pytest.fixture
async def http(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the hub's A2A routes."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as client:
        yield client


@pytest.fixture
def ann(http: httpx.AsyncClient) -> Client:
    """The client of somebody who submits."""
    return Client(http)


@pytest.fixture
async def executor(platform: Platform) -> Executor:
    """An agent that takes any task."""
    agent = await platform.write(SYSTEM(TENANT), register, RegisterAgent("worker", max_concurrent=10))
    caller = Caller(agent.id, TENANT, Scope.AGENT, "agent", str(agent.id))
    return Executor(platform, caller)
