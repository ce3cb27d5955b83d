"""Waiting for a task inside one call: until it is settled, or the client has waited long enough."""

import asyncio
from uuid import UUID

from adapters.mcp.answering import stop
from adapters.mcp.toolbox import Bench
from core import events
from core.caller import Caller
from core.tasks.read import GetTask, get_task, view_task
from core.tasks.task import TaskView


async def settled(bench: Bench, caller: Caller, task_id: UUID, seconds: int) -> TaskView:
    """The task once it is final or asks for something that the caller could give; else as it is by then.

    Where the client asked for progress it hears of every change of state.

    Raises:
        NotFound: no such task, or not the caller's to see.
        TooMany: too many calls of the caller wait.
    """
    if not seconds:
        return await bench.platform.read(caller, view_task, GetTask(task_id))
    with bench.config.waits.taken_by(caller.principal_id):
        telling = None
        if bench.call.progress_token is not None:
            begun = await bench.platform.read(caller, get_task, GetTask(task_id))
            bench.progress(begun.version, begun.state.wire)
            telling = asyncio.ensure_future(_tell(bench, caller, task_id, begun.version))
        try:
            return await events.await_settled(bench.platform, caller, task_id, seconds)
        finally:
            if telling is not None:
                await stop(telling)


async def _tell(bench: Bench, caller: Caller, task_id: UUID, told: int) -> None:
    async for batch in events.follow_task(bench.platform, caller, task_id):
        if isinstance(batch, TaskView):
            if batch.task.version > told:
                bench.progress(batch.task.version, batch.task.state.wire)
            continue
        for event in batch:
            if event.kind == "task.state_changed" and event.version is not None:
                bench.progress(event.version, str(event.data["to_state"]))
