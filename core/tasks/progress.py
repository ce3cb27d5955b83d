"""Much at once: what an executor has gathered while it worked, as one transaction and many events.

A stream of small events is as quick as its commits. So an executor that has more than one thing to tell tells
them together; readers see each as an event of its own, as if it had come by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from core.lifecycle import Who, touch
from core.store.engine import in_step
from core.store.statement import Row
from core.store.tx import Tx
from core.tasks.artifacts import WORKING, PutArtifact, announce, append_chunks, replace_artifact
from core.tasks.messages import AddMessage, say
from core.transitions import Fence

Item: TypeAlias = PutArtifact | AddMessage


@dataclass(frozen=True)
class ReportProgress:
    """Artifacts, chunks of them and messages, in the order in which readers are to see them."""

    task_id: UUID
    lease_id: UUID
    items: Sequence[Item]


@dataclass(frozen=True)
class Reported:
    """The id of each artifact or message, in order, and the task's version that the last of them took."""

    version: int
    ids: Sequence[str]


@in_step
async def report_progress(tx: Tx, command: ReportProgress) -> Reported:
    """Tell all of it, or nothing: each item takes a version of the task, and has its own event.

    Raises:
        NotFound: no such task, or `append` to an artifact that is not there.
        Forbidden, Conflict, InvalidTransition: as `lifecycle.touch`.
    """
    row = await touch(
        tx,
        command.task_id,
        who=Who.EXECUTOR,
        states=WORKING,
        lease_id=command.lease_id,
        fence=Fence.OWN,
        doing="report progress",
        versions=len(command.items),
    )
    version = int(row.version) - len(command.items)
    ids: list[str] = []
    for run in _runs(command.items):
        first = run[0]
        if isinstance(first, AddMessage):
            ids.append(_say(tx, row, first, version + 1))
        else:
            ids += await _put(tx, row, run, version)
        version += len(run)
    return Reported(version, ids)


def _say(tx: Tx, row: Row, message: AddMessage, version: int) -> str:
    said = say(
        tx,
        row,
        role="agent",
        parts=message.parts,
        message_id=message.message_id,
        metadata=message.metadata,
        final=message.final,
        version=version,
    )
    return said.message_id


async def _put(tx: Tx, row: Row, run: Sequence[Item], version: int) -> Sequence[str]:
    chunks = [item for item in run if isinstance(item, PutArtifact)]
    artifact_id = chunks[0].artifact_id or str(tx.new_id())
    if chunks[0].append:
        stored = await append_chunks(tx, row.id, artifact_id, chunks)
    else:
        stored, _ = await replace_artifact(tx, row, chunks[0], artifact_id, version=version + 1)
    for nth, chunk in enumerate(chunks, start=1):
        announce(tx, row, chunk, stored, version + nth)
    return [artifact_id] * len(chunks)


def _runs(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in order; chunks of one artifact that follow one another are one run."""
    run: list[Item] = []
    for item in items:
        if run and not _continues(run[-1], item):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _continues(before: Item, item: Item) -> bool:
    return (
        isinstance(before, PutArtifact)
        and isinstance(item, PutArtifact)
        and before.append
        and item.append
        and before.artifact_id == item.artifact_id
    )
