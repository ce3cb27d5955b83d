"""A hub that is killed under load loses nothing that it acknowledged; `make crash` is the long form."""

from pathlib import Path

import pytest

from tests.conftest import POSTGRES
from tests.crash.run import Report, postgres_database, run

KILLS = 3


def _judge(report: Report) -> None:
    counts = report.counts()
    assert not report.faults, "\n".join([*report.faults[:20], str(counts)])
    assert counts["tasks completed"] > 20, counts
    assert counts["subscriptions"] > counts["subscribers"], counts


@pytest.mark.timeout(180)
async def test_a_killed_hub_loses_nothing_on_sqlite(tmp_path: Path) -> None:
    _judge(await run(tmp_path, f"sqlite:///{tmp_path}/hub.db", kills=KILLS, seed=1))


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_a_killed_hub_loses_nothing_on_postgresql(tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url:
        _judge(await run(tmp_path, url, kills=KILLS, seed=1))
