"""What a webhook of 0.3 gets: the whole task as it stands, whatever happened to it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from adapters.a2a import translate
from adapters.a2a.v03.kinds import task_told
from core.caller import Caller
from core.events import Event
from core.platform import Platform
from core.tasks.read import GetTask, view_task


async def bare_task(
    platform: Platform, viewer: Caller, event: Event, said: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """One body, for everything that 1.0 would say about an event.

    Raises:
        NotFound: the task is gone.
    """
    (first,) = said[0].values()
    task_id = UUID(first["id"] if "task" in said[0] else first["taskId"])
    view = await platform.read(viewer, view_task, GetTask(task_id, messages=translate.HISTORY + 1))
    return [task_told(translate.task_of(view, viewer))]
