"""A workflow in a random graph ends as it must, whoever is killed.

The long form, of 1,000 tasks: `make crash ARGS=--workflow`.
"""

from pathlib import Path

import pytest

from tests.conftest import POSTGRES
from tests.crash.dag import Report, run
from tests.crash.run import postgres_database

SHORT = {"tasks": 60, "workers": 3, "kills": 4, "seed": 3}


def _judge(report: Report) -> None:
    assert not report.faults, "\n".join([*report.faults[:20], str(report.counts())])


@pytest.mark.timeout(180)
async def test_a_workflow_ends_right_whoever_is_killed_on_sqlite(tmp_path: Path) -> None:
    _judge(await run(tmp_path, f"sqlite:///{tmp_path}/hub.db", **SHORT))


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(180)
async def test_a_workflow_ends_right_whoever_is_killed_on_postgresql(tmp_path: Path) -> None:
    assert POSTGRES is not None
    async with postgres_database(POSTGRES) as url:
        _judge(await run(tmp_path, url, **SHORT))
