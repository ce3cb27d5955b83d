"""A whole hub for each test, on both databases, with an executor of turns and keys of two people."""

from collections.abc import AsyncIterator

import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.adapters.acp.editor import Editor, connected
from tests.adapters.acp.executor import Worker
from tests.adapters.acp.wires import WIRES
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub, running


@pytest.fixture
async def hub(database_url: str, clock: FakeClock) -> AsyncIterator[Hub]:
    """A running hub with empty tables."""
    async with running(open_store(database_url, clock=clock)) as hub:
        yield hub


@pytest.fixture
async def ann(hub: Hub) -> str:
    """The key of somebody with an editor."""
    return await hub.key(Scope.AGENT, "ann")


@pytest.fixture
async def eve(hub: Hub) -> str:
    """The key of somebody else in the same tenant."""
    return await hub.key(Scope.AGENT, "eve")


@pytest.fixture(params=list(WIRES))
def transport(request: pytest.FixtureRequest) -> str:
    """Both transports."""
    kind: str = request.param
    return kind


@pytest.fixture
async def editor(hub: Hub, ann: str, transport: str) -> AsyncIterator[Editor]:
    """Ann's editor, connected."""
    async with connected(hub, ann, transport) as editor:
        yield editor


@pytest.fixture
async def worker(hub: Hub) -> Worker:
    """An executor of turns."""
    return await Worker.registered(hub)
