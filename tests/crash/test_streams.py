"""Streams whose hub is killed lose and repeat nothing; `make crash ARGS=--streams` is the long form."""

from pathlib import Path

import pytest

from tests.conftest import POSTGRES
from tests.crash.run import postgres_database
from tests.crash.streams import Report, run

TASKS = 5


def _judge(report: Report) -> None:
    counts = report.counts()
    assert not report.faults, "\n".join([*report.faults[:20], str(counts)])
    assert counts["streams"] == 4 * TASKS
    assert counts["connections"] >= counts["streams"] * (report.kills + 1), counts


@pytest.mark.timeout(180)
async def test_every_reader_hears_every_event_once_and_in_order_on_sqlite(tmp_path: Path) -> None:
    _judge(await run(tmp_path, f"sqlite:///{tmp_path}/hub.db", tasks=TASKS, kills=2, seed=1, pause=0.1))


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_every_reader_hears_every_event_once_and_in_order_on_postgresql(tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url:
        _judge(await run(tmp_path, url, tasks=TASKS, kills=1, seed=1, pause=0.1))
