"""Every test of a task command ends with the law: whatever it did, the tables and the log must agree."""

from collections.abc import AsyncIterator

import pytest

from core.platform import Platform
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock
from tests.properties import law


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> AsyncIterator[Stage]:
    """A tenant with an operator and a submitter, judged when the test is over."""
    stage = Stage(platform, clock)
    yield stage
    offended = law.offences(await stage.numbered())
    assert not offended, law.verdict(offended)
