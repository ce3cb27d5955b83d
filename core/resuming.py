"""Following a task from where one stopped: what was missed comes from the log, the rest from its live end.

Nothing is remembered of readers. So any replica can go on where another was left, whatever became of it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from core.caller import SYSTEM, Caller
from core.errors import Gone, Invalid
from core.events import Event, ends
from core.history import PAGE, Later, Story, later, numbered, story
from core.platform import Platform
from core.tail import Subscription
from core.tasks.read import GetTask, view_task
from core.tasks.task import TaskView

LOOKS: Final = 10
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Standing:
    """The task as it is now, and what had decided how it looked when its reader stopped."""

    view: TaskView
    story: Sequence[Event]


async def resume_task(
    platform: Platform, caller: Caller, task_id: UUID, after: int
) -> AsyncIterator[Standing | Sequence[Event]]:
    """One task after one of its versions: first how it stood then, and then batches of every later event,
    each once and in order, until it is final.

    Raises:
        NotFound: no such task, or not yours to see.
        Invalid: the task has no such version.
        Gone: retention has removed what comes after it.
        SlowReader: the reader fell behind.
        Unavailable: the hub is stopping.
    """
    view = await platform.read(caller, view_task, GetTask(task_id, messages=0))
    if not 0 < after <= view.task.version:
        raise Invalid("the task has no such event", details={"newest": str(view.task.version)})
    hub = SYSTEM(caller.tenant_id)
    await _until_numbered(platform, hub, task_id, after)
    told = await platform.read(hub, story, Story(task_id, 0, after + 1))
    if not told or told[0].kind != "task.created":
        raise _gone()
    yield Standing(view, told)
    reached, missed = after, True
    async with AsyncExitStack() as stack:
        live: Subscription | None = None
        while True:
            if missed or live is None:
                events = await platform.read(hub, later, Later(task_id, reached))
                if len(events) < PAGE:
                    # The end of the log: from now on it is heard, and what came meanwhile is read once more.
                    missed = live is None
                    live = live or await stack.enter_async_context(
                        await platform.tail.subscribe(task_id=task_id)
                    )
            else:
                events = [event for event in await live.next() if (event.version or 0) > reached]
            if events:
                reached = _next(reached, events)
                yield events
                if ends(events):
                    return


async def _until_numbered(platform: Platform, hub: Caller, task_id: UUID, version: int) -> None:
    """Return once the log has this version of the task: an event gets there a moment after its commit."""
    async with await platform.tail.subscribe(task_id=task_id) as live:
        for _ in range(LOOKS):
            if await platform.read(hub, numbered, task_id) >= version:
                return
            await live.next(LOOK_SECONDS)
    raise _gone()


def _next(reached: int, events: Sequence[Event]) -> int:
    """The version reached with these events, which must begin with the next one."""
    if events[0].version != reached + 1:
        raise _gone()
    return events[-1].version or reached


def _gone() -> Gone:
    return Gone("the log no longer has what you missed; begin with the task as it is")
