"""A theatre on a database of its own, judged like every test of tasks."""

from collections.abc import AsyncIterator

import pytest

from core.platform import Platform
from tests.core.workflows.theatre import Theatre
from tests.fakes import FakeClock
from tests.properties import law


@pytest.fixture
async def theatre(platform: Platform, clock: FakeClock) -> AsyncIterator[Theatre]:
    """People, agents and playbooks around one platform."""
    theatre = Theatre(platform, clock)
    yield theatre
    offended = law.offences(await theatre.numbered())
    assert not offended, law.verdict(offended)
