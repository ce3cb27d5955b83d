"""A receiver that fails, hangs and is restarted hears every event, in the order of each task."""

from pathlib import Path

import pytest

from tests.conftest import POSTGRES
from tests.crash import webhooks
from tests.crash.run import postgres_database


@pytest.mark.timeout(180)
async def test_an_unreliable_receiver_hears_everything_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    report = await webhooks.run(tmp_path, url, events=800, kills=1, seed=5)
    assert report.faults == []
    assert report.figures["refused"] > 0


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_an_unreliable_receiver_hears_everything_on_postgresql(tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url:
        report = await webhooks.run(tmp_path, url, events=400, kills=1, seed=6)
        assert report.faults == []
