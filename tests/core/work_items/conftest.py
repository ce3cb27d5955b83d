"""A theatre on a database of its own, judged like every test of tasks."""

from collections.abc import AsyncIterator

import pytest

from core.platform import Platform
from tests.core.work_items.bench import Bench
from tests.fakes import FakeClock
from tests.properties import law


@pytest.fixture
async def bench(platform: Platform, clock: FakeClock) -> AsyncIterator[Bench]:
    """People, agents, playbooks and work items around one platform."""
    bench = Bench(platform, clock)
    yield bench
    offended = law.offences(await bench.numbered())
    assert not offended, law.verdict(offended)
