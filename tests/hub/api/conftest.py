"""A hub for each test, on both databases, and agents that work for it."""

from collections.abc import AsyncIterator

import pytest

from core.store import open_store
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub, running


@pytest.fixture
async def hub(database_url: str, clock: FakeClock) -> AsyncIterator[Hub]:
    """A running hub with empty tables."""
    async with running(open_store(database_url, clock=clock)) as hub:
        yield hub
