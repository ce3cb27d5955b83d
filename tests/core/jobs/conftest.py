"""People, tasks, and a post office that is open while the test runs."""

from collections.abc import AsyncIterator

import pytest

from core.platform import Platform
from tests.core.jobs.office import Office
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock


@pytest.fixture
def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant with an operator and a submitter."""
    return Stage(platform, clock)


@pytest.fixture
async def office(platform: Platform) -> AsyncIterator[Office]:
    """The post office of the platform."""
    office = Office(platform)
    await office.open()
    yield office
    await office.shut()
