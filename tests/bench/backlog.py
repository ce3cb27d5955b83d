"""What a claim costs, in process, with a thousand, a hundred thousand and a million tasks ready."""

import statistics
import time
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from core import agents
from core.caller import SYSTEM, Caller
from core.platform import Platform
from core.store import Statement, Tx, open_store
from core.store import tables as t
from core.store.migrate import upgrade
from core.tasks import claim, submit

TENANT = UUID("0190f000-0000-7000-8000-00000000be2c")
CHUNK = 20_000


async def claim_costs(url: str, depths: Sequence[int], samples: int) -> dict[int, float]:
    """Median microseconds of a claim, by how many tasks are ready. The database must be empty."""
    await upgrade(url)
    platform = Platform(open_store(url))
    await platform.start()
    caller, costs, there = SYSTEM(TENANT), {}, 0
    try:
        for depth in depths:
            await _fill(platform, caller, there, depth)
            there = depth
            costs[depth] = await _cost(platform, caller, samples)
    finally:
        await platform.stop()
    return costs


async def _fill(platform: Platform, caller: Caller, there: int, depth: int) -> None:
    """Make that many tasks ready: one by the front door, the others after its pattern."""
    if not there:
        await platform.write(caller, submit.submit, submit.SubmitTask("bench", input={"text": "x" * 250}))
        there = 1
    while there < depth:
        n = min(CHUNK, depth - there)
        await platform.write(caller, _copy, n)
        there += n
    await platform.write(caller, _analyze, None)


def _copies(dialect: str) -> sa.Executable:
    fresh = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}[dialect]
    numbers = {
        "postgresql": "SELECT generate_series(1, :n) AS i",
        "sqlite": "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < :n) "
        "SELECT i FROM s",
    }[dialect]
    names = [column.name for column in t.task.c]
    values = [{"id": fresh, "rank": "first.rank + i"}.get(name, f"first.{name}") for name in names]
    return sa.text(
        f"INSERT INTO task ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM (SELECT * FROM task WHERE state = 1 LIMIT 1) AS first, ({numbers}) AS numbers"
    ).bindparams(sa.bindparam("n", type_=sa.Integer()))


_COPY = Statement(_copies)
# PostgreSQL does this by itself, later; the hub never does it on SQLite.
_ANALYZE = Statement(lambda dialect: sa.text("ANALYZE task" if dialect == "postgresql" else "SELECT 1"))


async def _copy(tx: Tx, n: int) -> None:
    await tx.run(_COPY, n=n)


async def _analyze(tx: Tx, _: None) -> None:
    await tx.run(_ANALYZE)


async def _cost(platform: Platform, caller: Caller, samples: int) -> float:
    """One claim after another, each by an agent with a free place."""
    took = []
    wish = agents.RegisterAgent("bench", max_concurrent=samples * 2)
    made = await platform.write(caller, agents.register, wish)
    for n in range(samples + 50):
        began = time.perf_counter()
        claims = await platform.write(caller, claim.claim, claim.ClaimTasks(made.id))
        if n >= 50:
            took.append(time.perf_counter() - began)
        assert claims.items
    return statistics.median(took) * 1e6
