"""What everyday work costs, in process, beside little history and beside a million finished tasks.

Ten events of the log belong to each finished task. The workflow that is read and advanced is young: what is
compared is what it costs when everything else has grown.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa

from core import agents, events, playbooks, workspaces
from core.caller import SYSTEM, Caller
from core.platform import Platform
from core.store import Statement, Tx, open_store
from core.store import tables as t
from core.store.migrate import upgrade
from core.tasks import claim, read, report, submit
from core.workflows import advance, create
from core.workflows import read as workflows
from core.workflows.records import WorkflowId
from schemas.vocabulary import TaskState

TENANT = UUID("0190f000-0000-7000-8000-00000000b157")
PER_TASK: Final = 10
"""Events of one finished task."""
Q = TypeVar("Q")
R = TypeVar("R")
CHUNK: Final = 20_000
STEPS: Final = 6
STAGE: Final[Mapping[str, Any]] = {"name": "s", "tasks": [{"name": f"t{n}"} for n in range(STEPS)]}
OPERATIONS: Final = ("list tasks", "read events", "claim", "complete", "advance", "read a workflow")


async def history_costs(url: str, sizes: Sequence[int], samples: int) -> dict[str, dict[int, float]]:
    """Median microseconds of each operation, by how many tasks are finished. The database must be empty."""
    await upgrade(url)
    platform = Platform(open_store(url))
    await platform.start()
    costs: dict[str, dict[int, float]] = {name: {} for name in OPERATIONS}
    try:
        bench = await _Bench.open(platform, samples)
        there = 0
        for size in sizes:
            await bench.fill(there, size)
            there = size
            for name, took in (await bench.measure()).items():
                costs[name][size] = statistics.median(took) * 1e6
    finally:
        await platform.stop()
    return costs


class _Bench:
    """One tenant, in which work is done and timed."""

    def __init__(self, platform: Platform, samples: int, agent_id: UUID, wish: create.CreateWorkflow) -> None:
        self._platform = platform
        self._wish = wish
        self._samples = samples
        self._caller = SYSTEM(TENANT)
        self._agent_id = agent_id
        self._took: dict[str, list[float]] = defaultdict(list)
        self._doer = Caller(agent_id, TENANT, self._caller.scope, "agent", str(agent_id))

    @classmethod
    async def open(cls, platform: Platform, samples: int) -> "_Bench":
        """With an agent, and one finished task that is the pattern of all the others."""
        hub = SYSTEM(TENANT)
        made = await platform.write(hub, agents.register, agents.RegisterAgent("b", max_concurrent=1000))
        place = await platform.write(hub, workspaces.create_workspace, workspaces.CreateWorkspace("b", "b"))
        play = await platform.write(
            hub, playbooks.create_playbook, playbooks.CreatePlaybook("b", "o", {"stages": [STAGE]})
        )
        bench = cls(platform, samples, made.id, create.CreateWorkflow(play.id, place.id, "run"))
        await platform.write(hub, submit.submit, submit.SubmitTask("x", input={"text": "x" * 250}))
        await bench._do_one()
        return bench

    async def fill(self, there: int, size: int) -> None:
        """Have that many finished tasks, and ten events for each, all older than anything else."""
        while there < size:
            n = min(CHUNK, size - there)
            await self._platform.write(self._caller, _copy_tasks, (there, n))
            for part in range(PER_TASK):
                await self._platform.write(self._caller, _copy_events, (there * PER_TASK + part * n, n))
            there += n
        await self._platform.write(self._caller, _analyze, None)

    async def measure(self) -> Mapping[str, Sequence[float]]:
        """Time every operation so often."""
        await self._round()
        self._took.clear()
        for _ in range(max(1, self._samples // STEPS)):
            await self._round()
        return dict(self._took)

    async def _round(self) -> None:
        """A workflow from its making to its end; after each step, somebody looks."""
        made = await self._platform.write(self._caller, create.create_workflow, self._wish)
        await self._advance()
        for _ in range(STEPS):
            await self._do_one()
            await self._timed("list tasks", self._read(read.list_tasks, read.ListTasks()))
            await self._timed("read events", self._read(events.read_events, events.ReadEvents()))
            wanted = WorkflowId(made.id)
            await self._timed("read a workflow", self._read(workflows.view_board, wanted))
            await self._advance()

    async def _do_one(self) -> None:
        wish = claim.ClaimTasks(self._agent_id, start=True)
        claims = await self._timed("claim", self._platform.write(self._doer, claim.claim, wish))
        (held,) = claims.items
        done = report.CompleteTask(held.task.id, lease_id=held.lease_id, output={"text": "y" * 250})
        await self._timed("complete", self._platform.write(self._doer, report.complete, done))

    async def _advance(self) -> None:
        for due in await self._platform.read(self._caller, advance.due_workflows, None):
            await self._timed("advance", self._platform.write(self._caller, advance.advance, due))

    def _read(self, query: Callable[[Tx, Q], Coroutine[Any, Any, R]], argument: Q) -> Awaitable[R]:
        return self._platform.read(self._caller, query, argument)

    async def _timed(self, name: str, call: Awaitable[R]) -> R:
        began = time.perf_counter()
        result = await call
        self._took[name].append(time.perf_counter() - began)
        return result


def _numbered(dialect: str) -> tuple[str, str]:
    """Numbers from `:first` on, as a table; and such a number as an id, older than any that is made now."""
    if dialect == "postgresql":
        return "SELECT generate_series(:first, :first + :n - 1) AS i", "lpad(to_hex({}), 32, '0')::uuid"
    numbers = "WITH RECURSIVE s(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM s WHERE i < :first + :n - 1)"
    return f"{numbers} SELECT i FROM s", "printf('%032x', {})"


def _copies(table: sa.Table, changed: Mapping[str, str], pattern: str) -> Statement:
    def text(dialect: str) -> sa.Executable:
        numbers, named = _numbered(dialect)
        number = "CAST(numbers.i AS BIGINT)"
        owner = named.format(f"{number} / {PER_TASK}")
        values = [
            changed[c.name].format(id=named.format(number), task=owner, i=number)
            if c.name in changed
            else f"first.{c.name}"
            for c in table.c
        ]
        return sa.text(
            f"INSERT INTO {table.name} ({', '.join(table.c.keys())}) SELECT {', '.join(values)} "
            f"FROM ({pattern}) AS first, ({numbers}) AS numbers"
        ).bindparams(sa.bindparam("first", type_=sa.Integer()), sa.bindparam("n", type_=sa.Integer()))

    return Statement(text)


_TASKS: Final = _copies(
    t.task,
    {"id": "{id}"},
    f"SELECT * FROM task WHERE state = {int(TaskState.COMPLETED)} ORDER BY id LIMIT 1",
)
_EVENTS: Final = _copies(
    t.event,
    {"pos": "{i} - 100000000", "task_id": "{task}", "entity_id": "{task}"},
    "SELECT * FROM event WHERE pos > 0 AND kind = 'task.created' ORDER BY pos LIMIT 1",
)
# PostgreSQL does this by itself, later; the hub never does it on SQLite.
_ANALYZE: Final = Statement(
    lambda dialect: sa.text("ANALYZE task, event" if dialect == "postgresql" else "SELECT 1")
)


async def _copy_tasks(tx: Tx, part: tuple[int, int]) -> None:
    await tx.run(_TASKS, first=part[0], n=part[1])


async def _copy_events(tx: Tx, part: tuple[int, int]) -> None:
    await tx.run(_EVENTS, first=part[0], n=part[1])


async def _analyze(tx: Tx, _: None) -> None:
    await tx.run(_ANALYZE)
