"""A hub for each test, on both databases, and agents that work for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.store import open_store
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub, running


@pytest.fixture
async def hub(database_url: str, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Hub]:
    """A running hub with empty tables."""
    async with running(open_store(database_url, clock=clock), files=str(tmp_path / "files")) as hub:
        yield hub
