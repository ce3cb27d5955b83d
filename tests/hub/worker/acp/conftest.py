"""An agent of the test's own, and its end."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub.worker.acp.stage import Stage


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Callable[..., Stage]]:
    """Make a stage; what it started ends with the test."""
    stages: list[Stage] = []

    def make(*can: str, **config: Any) -> Stage:
        stages.append(Stage(tmp_path, *can, **config))
        return stages[-1]

    yield make
    for stage in stages:
        stage.agent.kill()
        await stage.agent.close()
