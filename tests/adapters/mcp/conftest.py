"""A platform behind the MCP routes, in process, with a scripted executor beside it."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.mcp import McpConfig, routes
from core.agents import RegisterAgent, register
from core.caller import SYSTEM, Caller
from core.platform import Platform
from core.store import open_store
from schemas.vocabulary import Scope
from tests.adapters.mcp.support import PUBLIC, TENANT, Executor, Keys, Modern, Session


@pytest.fixture
async def platform(database_url: str) -> AsyncIterator[Platform]:
    """A started platform on an empty database, in real time."""
    running = Platform(open_store(database_url))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def keys() -> Keys:
    """Who may call."""
    return Keys()


@pytest.fixture
def config() -> McpConfig:
    """What the operator decided."""
    return McpConfig(PUBLIC, "9.9", heartbeat_seconds=0.05, patience_seconds=0.05, stopping=asyncio.Event())


@pytest.fixture
def app(platform: Platform, config: McpConfig, keys: Keys) -> ASGIApp:
    """The MCP routes and nothing else."""
    return Starlette(routes=list(routes(platform, config, keys)))


@pytest.fixture
async def http(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of them."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as client:
        yield client


@pytest.fixture
def ann(http: httpx.AsyncClient) -> Modern:
    """A modern client of somebody who submits."""
    return Modern(http)


@pytest.fixture
async def session(http: httpx.AsyncClient) -> Session:
    """A session of hers."""
    return await Session.open(http)


@pytest.fixture
async def executor(platform: Platform) -> Executor:
    """An agent that takes any task."""
    agent = await platform.write(SYSTEM(TENANT), register, RegisterAgent("worker", max_concurrent=10))
    caller = Caller(agent.id, TENANT, Scope.AGENT, "agent", str(agent.id))
    return Executor(platform, caller)
