"""Two replicas see the same change, and what follows from it is done once."""

import asyncio

from core.jobs.runner import SWEEPS, Clockwork
from core.platform import Platform
from core.store import open_store
from core.workflows import read
from core.workflows.records import WorkflowId
from schemas.vocabulary import WorkflowState
from tests.core.workflows.theatre import Theatre
from tests.fakes import FakeClock

WORKFLOWS = next(sweep for sweep in SWEEPS if sweep.name == "workflows")
PLAY = {
    "stages": [
        {
            "name": "w",
            "tasks": [
                {"name": "one"},
                {"name": "many", "depends_on": ["one"], "fan_out": {"over": list(range(40))}},
            ],
        }
    ]
}


async def test_what_follows_from_a_change_is_done_once_by_two_replicas(
    empty_postgres: str, clock: FakeClock
) -> None:
    replicas = [Platform(open_store(empty_postgres, clock=clock)) for _ in range(2)]
    for replica in replicas:
        await replica.start()
    try:
        theatre = Theatre(replicas[0], clock)
        workflow = await theatre.workflow(PLAY)
        held = await theatre.take_any()
        assert held is not None
        assert theatre.doer is not None
        await theatre.complete(theatre.doer, held.task.id, held.lease_id)
        await asyncio.gather(*(Clockwork(replica).sweep(WORKFLOWS) for replica in replicas for _ in range(3)))
        detail = await replicas[1].read(theatre.admin, read.view_workflow, WorkflowId(workflow.id))
        assert detail.task_counts == {"completed": 1, "ready": 40}
        assert len(await theatre.perform()) == 40
        assert (await theatre.now(workflow)).state is WorkflowState.COMPLETED
    finally:
        for replica in replicas:
            await replica.stop()
