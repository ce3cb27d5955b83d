"""What a remote agent did, as the result of our task: words and artifacts, questions, the end.

Each command changes the task and its delegation in one transaction, so that after a restart nothing was taken
over twice, and nothing is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from core.delegations import Delegation, Held, Move, mine, moved
from core.relaying import Item, relay_items
from core.store.tx import Tx
from core.tasks.cancel import CancelTask, cancel
from core.tasks.input import RequestInput, request_input
from core.tasks.report import CompleteTask, FailTask, RefuseTask, ReportedError, complete, fail, refuse
from core.tasks.task import Part
from schemas.vocabulary import DelegationState, InputKind


@dataclass(frozen=True)
class Relay(Held):
    """What the remote agent said and brought."""

    items: Sequence[Item]


@dataclass(frozen=True)
class Ask(Held):
    """The remote agent waits. `question` tells this wait from every other."""

    question: str
    parts: Sequence[Part]
    kind: InputKind
    look_again: float
    """Seconds until somebody looks whether it still waits."""
    schema: Mapping[str, Any] | None = None
    items: Sequence[Item] = ()


class Ending(StrEnum):
    """How an attempt ends."""

    COMPLETE = "complete"
    FAIL = "fail"
    REFUSE = "refuse"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Finish(Held):
    """The attempt ends. `leaves` is where that leaves the delegation: None while the remote task goes on."""

    how: Ending
    leaves: DelegationState | None = DelegationState.DONE
    output: Any = None
    category: str = "remote_agent"
    message: str = ""
    recoverable: bool = False
    items: Sequence[Item] = ()


async def relay(tx: Tx, command: Relay) -> None:
    """Take over what the remote agent said and brought.

    Raises:
        NotFound, Forbidden, Conflict: the task is not held under this lease, or the delegation is over.
    """
    await mine(tx, command)
    await relay_items(tx, command.task_id, command.lease_id, command.items)


async def ask(tx: Tx, command: Ask) -> Delegation:
    """Pass a question on, and let the task wait without anybody holding it. Raises as `relay`."""
    row = await mine(tx, command)
    await relay_items(tx, command.task_id, command.lease_id, command.items)
    asking = RequestInput(
        command.task_id, command.lease_id, command.parts, kind=command.kind, schema=command.schema
    )
    await request_input(tx, asking)
    asked = [*(known for known in row.asked if known != command.question), command.question]
    later = tx.now + timedelta(seconds=command.look_again)
    return await moved(tx, row, Move.ASK, asked=asked, look_at=later)


async def finish(tx: Tx, command: Finish) -> None:
    """End the attempt, and with it the delegation, unless the remote task goes on. Raises as `relay`."""
    row = await mine(tx, command)
    await relay_items(tx, command.task_id, command.lease_id, command.items)
    task_id, lease_id = command.task_id, command.lease_id
    match command.how:
        case Ending.COMPLETE:
            await complete(tx, CompleteTask(task_id, command.output, lease_id))
        case Ending.FAIL:
            error = ReportedError(command.category, command.message, command.recoverable)
            await fail(tx, FailTask(task_id, error, lease_id))
        case Ending.REFUSE:
            await refuse(tx, RefuseTask(task_id, lease_id, command.message))
        case Ending.CANCEL:
            await cancel(tx, CancelTask(task_id, reason=command.message or None, lease_id=lease_id))
    if command.leaves is DelegationState.LOST:
        await moved(tx, row, Move.LOSE, error=command.message)
    elif command.leaves is DelegationState.DONE:
        await moved(tx, row, Move.SETTLE)
