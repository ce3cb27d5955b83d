"""Holding a workflow, letting it go on, stopping it, and its settings.

A pause holds: what is ready waits, what is being done is finished (`drain`) or taken back (`interrupt`), and
nothing new begins. A held task is marked `on_hold`, so that nothing else lets it go.
"""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from core.errors import Conflict, InvalidTransition
from core.lifecycle import Who, try_move
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tx import Tx
from core.tasks.release import release
from core.transitions import LEASED, Move
from core.workflows.advance import carry_on
from core.workflows.ending import cancel_workflow
from core.workflows.records import P_WORKFLOW, Workflow, change, tell, workflow_row
from core.workflows.standing import OVER
from schemas.vocabulary import PauseMode, TaskState, WorkflowState


@dataclass(frozen=True)
class Pause:
    """Hold a workflow."""

    workflow_id: UUID
    mode: PauseMode = PauseMode.DRAIN


@dataclass(frozen=True)
class Resume:
    """Let a paused workflow go on."""

    workflow_id: UUID


@dataclass(frozen=True)
class Cancel:
    """Stop a workflow for good."""

    workflow_id: UUID
    reason: str | None = None


@dataclass(frozen=True)
class ChangeSettings:
    """What is to be different, on the revision that was read."""

    workflow_id: UUID
    settings_revision: int
    live_visibility_mode: str | None = None


_QUEUED = Statement(
    sa.select(t.task.c.id, t.task.c.state, t.task.c.lease_id)
    .where(
        t.task.c.workflow_id == P_WORKFLOW,
        t.task.c.state.in_(
            [sa.literal_column(str(int(state))) for state in sorted({TaskState.READY, *LEASED})]
        ),
    )
    .order_by(t.task.c.id)
)
_LET_GO = Statement(
    sa.update(t.task)
    .where(t.task.c.workflow_id == P_WORKFLOW, t.task.c.on_hold)
    .values(on_hold=sa.false())
    .returning(*t.task.c)
)


async def pause(tx: Tx, command: Pause) -> Workflow:
    """Hold a workflow. Pausing it again in the same mode returns it unchanged; `interrupt` tightens `drain`.

    Raises:
        NotFound: no such workflow.
        InvalidTransition: it is over.
    """
    row = await workflow_row(tx, command.workflow_id, locked=True)
    _still_going(row, WorkflowState.PAUSED)
    if row.paused_at is not None and row.pause_mode in (command.mode, PauseMode.INTERRUPT):
        return Workflow.of(row)
    sets = {"state": WorkflowState.PAUSED.value, "paused_at": row.paused_at or tx.now}
    await change(tx, row.id, **sets, pause_mode=command.mode.value)
    for task in await tx.all(_QUEUED, p_workflow_id=row.id):
        if task.state == TaskState.READY:
            await _hold(tx, task.id, Move.HOLD)
        elif command.mode is PauseMode.INTERRUPT:
            await _hold(tx, task.id, Move.REASSIGN)
    if row.paused_at is None:
        _tell_state(tx, row, WorkflowState.PAUSED)
    tell(tx, "workflow.paused", row, {"mode": command.mode.value}, stage=row.current_stage)
    return Workflow.of(await workflow_row(tx, row.id))


async def resume(tx: Tx, command: Resume) -> Workflow:
    """Let a paused workflow go on; what was held is ready again, and what ended meanwhile is followed up.

    Raises:
        NotFound: no such workflow.
        InvalidTransition: it is not paused.
    """
    row = await workflow_row(tx, command.workflow_id, locked=True)
    if row.paused_at is None:
        raise _refused(row, WorkflowState.ACTIVE)
    # Its real state follows below; what is held must not find it paused.
    await change(tx, row.id, state=WorkflowState.PENDING.value, paused_at=None, pause_mode=None)
    for task in sorted(await tx.all(_LET_GO, p_workflow_id=row.id), key=lambda task: task.id.hex):
        await release(tx, task)
    tell(tx, "workflow.resumed", row, {}, stage=row.current_stage)
    await carry_on(tx, await workflow_row(tx, row.id))
    return Workflow.of(await workflow_row(tx, row.id))


async def cancel(tx: Tx, command: Cancel) -> Workflow:
    """Stop a workflow: its tasks are cancelled, its gates closed. Cancelling it again changes nothing.

    Raises:
        NotFound: no such workflow.
        InvalidTransition: it ended some other way.
    """
    row = await workflow_row(tx, command.workflow_id, locked=True)
    if row.state == WorkflowState.CANCELLED:
        return Workflow.of(row)
    _still_going(row, WorkflowState.CANCELLED)
    await cancel_workflow(tx, row, command.reason)
    return Workflow.of(await workflow_row(tx, row.id))


async def change_settings(tx: Tx, command: ChangeSettings) -> Workflow:
    """Change a workflow's settings.

    Raises:
        NotFound: no such workflow.
        Conflict: they were changed since they were read.
    """
    row = await workflow_row(tx, command.workflow_id, locked=True)
    if row.settings_revision != command.settings_revision:
        raise Conflict(
            "the settings were changed meanwhile",
            details={"reason_code": "stale_revision", "settings_revision": row.settings_revision},
        )
    mode = command.live_visibility_mode or row.live_visibility_mode
    await change(tx, row.id, live_visibility_mode=mode, settings_revision=row.settings_revision + 1)
    tell(tx, "workflow.settings_changed", row, {"live_visibility_mode": mode})
    return Workflow.of(await workflow_row(tx, row.id))


async def _hold(tx: Tx, task_id: UUID, m: Move) -> None:
    # Whoever claims, or reports, at this moment was first; it finds the pause when it comes back.
    said = {"reason": "workflow_paused"}
    sets = {"on_hold": True, **({"ready_at": tx.now} if m is Move.REASSIGN else {})}
    await try_move(tx, m, task_id, who=Who.SYSTEM, said=said, sets=sets)


def _still_going(row: Row, wanted: WorkflowState) -> None:
    if WorkflowState(row.state) in OVER:
        raise _refused(row, wanted)


def _refused(row: Row, wanted: WorkflowState) -> InvalidTransition:
    return InvalidTransition(
        f"the workflow is {row.state}",
        details={
            "workflow_id": str(row.id),
            "current_state": row.state,
            "requested_state": wanted.value,
        },
    )


def _tell_state(tx: Tx, row: Row, state: WorkflowState) -> None:
    said = {"from_state": row.state, "to_state": state.value}
    tell(tx, "workflow.state_changed", row, said, stage=row.current_stage)
