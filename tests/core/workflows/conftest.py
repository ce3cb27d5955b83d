"""A theatre on a database of its own."""

import pytest

from core.platform import Platform
from tests.core.workflows.theatre import Theatre
from tests.fakes import FakeClock


@pytest.fixture
def theatre(platform: Platform, clock: FakeClock) -> Theatre:
    """People, agents and playbooks around one platform."""
    return Theatre(platform, clock)
