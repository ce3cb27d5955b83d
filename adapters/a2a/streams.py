"""Following a task: the snapshot, then its events as `StreamResponse`s, each once and in order.

The task does not know who follows it. A reader that hangs up costs nothing; one that comes back gets a new
snapshot, or goes on where it stopped.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar
from uuid import UUID

from adapters.a2a import errors, translate
from adapters.a2a.dispatch import Frame, Frames
from adapters.a2a.errors import A2AError
from adapters.a2a.progress import Progress
from adapters.a2a.sse import Cursor
from core.caller import Caller
from core.events import Event, follow_task
from core.platform import Platform
from core.resuming import Standing, resume_task
from core.tasks.artifacts import GetChunk, get_chunk
from core.tasks.messages import ListMessages, list_messages
from core.tasks.read import GetTask, view_task
from core.tasks.task import Part, Task, TaskView

T = TypeVar("T")


async def follow(
    platform: Platform,
    caller: Caller,
    task_id: UUID,
    *,
    history_length: int | None = None,
    until_asked: bool = False,
    live_only: bool = False,
) -> Frames:
    """The frames of a task, in batches, from its snapshot to its end or until it asks its reader for input.

    `until_asked` ends after a snapshot that asks already: its reader is whoever has to answer. `live_only`
    refuses a task that is final. Waiting for a credential ends no stream, as it may arrive by another way.

    Raises:
        NotFound: no such task, or not the caller's.
        A2AError: UnsupportedOperation, the task is final and `live_only`.
        Gone: the reader was too slow.
    """
    async with aclosing(_generator(follow_task(platform, caller, task_id))) as feed:
        view = await anext(feed)
        assert isinstance(view, TaskView), "the snapshot comes first"
        progress = Progress(view, caller)
        if progress.over() and live_only:
            raise _final(view.task)
        task = translate.task_of(view, caller, history_length=history_length)
        yield [(view.task.version, {"task": task})]
        if progress.over() or (until_asked and progress.asks()):
            return
        async for events in feed:
            assert not isinstance(events, TaskView), "after the snapshot come events"
            frames = await frames_of(platform, caller, progress, events)
            if frames:
                yield frames
            if progress.over():
                return


async def resume(
    platform: Platform, caller: Caller, task_id: UUID, cursor: Cursor, *, until_asked: bool = False
) -> Frames:
    """The frames of a task after the one that its reader has had last, as it would have been told them
    without the interruption. The first batch is empty, and says that the stream is open.

    `until_asked` ends at once what had told all that there is and asked for input, or was at its end.

    Raises:
        NotFound: no such task, or not the caller's.
        Invalid: the task has no such event.
        Gone: retention has removed what comes after it.
        A2AError: UnsupportedOperation, the end had been told, and not `until_asked`.
    """
    async with aclosing(_generator(resume_task(platform, caller, task_id, cursor.number))) as feed:
        standing = await anext(feed)
        assert isinstance(standing, Standing), "where the reader stood comes first"
        task = standing.view.task
        progress = Progress.after(standing.view, standing.story, caller)
        if progress.over() and not until_asked:
            raise _final(task)
        yield []
        waits = until_asked and progress.asks() and task.version == cursor.number
        if progress.over() or waits:
            return
        async for events in feed:
            assert not isinstance(events, Standing), "after it come events"
            frames = await frames_of(platform, caller, progress, events)
            missed = cursor.further_than(frames)
            if missed:
                yield missed
            if progress.over():
                return


def _final(task: Task) -> A2AError:
    return A2AError(
        errors.UNSUPPORTED_OPERATION,
        f"The task is {task.state.wire}: nothing more happens to it. GetTask shows it.",
    )


def _generator(feed: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    assert isinstance(feed, AsyncGenerator), "core follows by generators, which must be closed"
    return feed


async def frames_of(
    platform: Platform, caller: Caller, progress: Progress, events: Sequence[Event]
) -> list[Frame]:
    """What a reader is told of some events, until it has nothing more to be told."""
    frames: list[Frame] = []
    for event in events:
        view = parts = None
        if progress.wants_view(event):
            view = await platform.read(caller, view_task, GetTask(UUID(progress.task_id), messages=0))
        elif event.data.get("parts", ()) is None:
            parts = await _large_parts(platform, caller, UUID(progress.task_id), event)
        told = progress.apply(event, view, parts)
        frames += [(event.version or 0, frame) for frame in told]
        if progress.over():
            break
    return frames


async def _large_parts(platform: Platform, caller: Caller, task_id: UUID, event: Event) -> Sequence[Part]:
    """Parts that were too large to travel inside their event."""
    n = event.data["n"]
    if event.kind == "task.artifact_updated":
        return await platform.read(caller, get_chunk, GetChunk(task_id, event.data["artifact_id"], n))
    said = await platform.read(caller, list_messages, ListMessages(task_id, after=n - 1, limit=1))
    return said[0].parts if said else ()
