"""A playbook as somebody's task: whoever sends to one gets one task that stands for the whole workflow.

The task is an ordinary one, so every face shows it, waits for it, answers it and cancels it as any other. The
hub itself holds it: what the workflow does to it happens in the workflow's own transactions, so there is no
executor that could be gone, and its lease does not run out. Its gates are approvals of that task, for its
submitter to decide; its deliverables are the task's artifacts; its end is the task's end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from core.approval_records import Approval
from core.caller import SYSTEM_PRINCIPAL
from core.errors import Conflict, Invalid, NotFound
from core.fencing import P_TASK
from core.journal import tell
from core.lifecycle import PLAYBOOK, Who, touch, try_move
from core.playbooks import playbook_named
from core.store import tables as t
from core.store.statement import Row, Statement
from core.store.tables import workflows as w
from core.store.tx import Tx
from core.store.types import Id
from core.tasks.artifacts import PutArtifact, announce, replace_artifact
from core.tasks.messages import say
from core.tasks.task import Part
from core.transitions import FINAL, Fence, Move
from core.workflows.arguments import arguments_in, sorted_out, text_of
from core.workflows.marks import mark_workflow
from core.workflows.records import stage_rows
from core.workflows.standing import OVER
from schemas.playbook import Definition
from schemas.playbook_reading import read_definition
from schemas.vocabulary import StageStatus, TaskState, WorkflowState

PLAN: Final = "crossdock/plan"
"""Under which key of a message's metadata the stages are, each with where it stands."""
_NO_END: Final = timedelta(days=20_000)
"""As good as never; what is left of the lease must be a number of seconds."""


@dataclass(frozen=True)
class Play:
    """Which playbook is to run for a task, and where. Arguments of None are found in the task's message."""

    playbook: str
    """Its slug; the version in use when the task is submitted runs."""
    workspace_id: UUID
    arguments: Mapping[str, Any] | None = None


_c = w.workflow.c
_INSERT_ATTEMPT = Statement(sa.insert(t.attempt))
_INSERT_LEASE = Statement(sa.insert(t.lease))
_OPEN_BEHIND = Statement(
    sa.select(_c.id, _c.tenant_id).where(
        _c.front_task_id == P_TASK,
        _c.state.in_(
            [
                sa.literal_column(f"'{state.value}'")
                for state in (WorkflowState.PENDING, WorkflowState.ACTIVE, WorkflowState.PAUSED)
            ]
        ),
    )
)
_STATE = Statement(sa.select(t.task.c.state).where(t.task.c.id == P_TASK))
_k, _s = w.workflow_task.c, w.workflow_step.c
_OUTPUT = Statement(
    sa.select(t.task.c.id, t.task.c.title, t.task.c.output, _k.item)
    .select_from(w.workflow_step)
    .join(
        w.workflow_task,
        sa.and_(_k.workflow_id == _s.workflow_id, _k.step == _s.name, _k.iteration == _s.iteration),
    )
    .join(t.task, t.task.c.id == _k.task_id)
    .where(
        _s.workflow_id == sa.bindparam("p_workflow_id", type_=Id()),
        _s.name == sa.bindparam("p_step", type_=sa.String()),
        t.task.c.output.is_not(None),
    )
    .order_by(_k.item)
)


async def plan_of(tx: Tx, play: Play, parts: Sequence[Part] | None) -> dict[str, Any]:
    """What a task must remember to begin its workflow later: checked now, while somebody hears of it.

    Raises:
        Conflict: the playbook is not in use.
        Invalid: a parameter is missing or unknown.
    """
    playbook = await playbook_named(tx, play.playbook)
    if playbook is None:
        raise Conflict("this playbook is not in use", details={"reason_code": "playbook_inactive"})
    definition = read_definition(playbook.definition)
    given = play.arguments if play.arguments is not None else arguments_in(definition, parts or ())
    parameters, inputs = sorted_out(definition, given)
    from core.workflows.create import checked_parameters  # it makes tasks, which are submitted

    checked_parameters(definition, parameters)
    text = text_of(parts or ())
    return {
        "playbook_id": str(playbook.id),
        "workspace_id": str(play.workspace_id),
        "name": playbook.name,
        "parameters": parameters,
        "inputs": inputs if not text else {"text": text, **inputs},
    }


async def begin(tx: Tx, row: Row) -> Row:
    """Begin, or go on with, the workflow of a task that has just become ready: the hub takes it.

    What the playbook refuses by now, the task fails with.
    """
    await tx.flush()  # it may have been born in this transaction
    held = await _take(tx, row)
    if await tx.one(_OPEN_BEHIND, p_task_id=held.id) is not None:
        return held
    from core.workflows.create import CreateWorkflow, create_workflow  # it makes tasks, which are submitted

    plan = held.extras[PLAYBOOK]
    command = CreateWorkflow(
        UUID(plan["playbook_id"]),
        UUID(plan["workspace_id"]),
        f"{plan['name']}: {held.title}"[:255],
        parameters=plan["parameters"],
        inputs=plan["inputs"],
        created_by=held.submitter_id,
        front_task_id=held.id,
    )
    try:
        await create_workflow(tx, command)
    except (Conflict, NotFound, Invalid) as refusal:
        await _fail(tx, held.id, {"category": "not_begun", "message": refusal.message})
    found = await tx.one(_ROW, p_task_id=held.id)
    assert found is not None
    return found


_ROW = Statement(sa.select(*t.task.c).where(t.task.c.id == P_TASK))


async def _take(tx: Tx, row: Row) -> Row:
    lease_id = tx.new_id()
    sets = {
        "lease_id": lease_id,
        "agent_id": SYSTEM_PRINCIPAL,
        "attempt": row.attempt + 1,
        "claimed_at": tx.now,
        "preferred_until": None,
    }
    claimed = await try_move(tx, Move.CLAIM, row.id, who=Who.SYSTEM, fence=Fence.NONE, sets=sets)
    assert claimed is not None, "a task that this transaction made ready"
    tx.add(
        _INSERT_ATTEMPT,
        task_id=row.id,
        n=claimed.attempt,
        tenant_id=row.tenant_id,
        agent_id=SYSTEM_PRINCIPAL,
        worker_id=None,
        lease_id=lease_id,
        started_at=tx.now,
        ended_at=None,
        outcome=None,
        error=None,
    )
    tx.add(
        _INSERT_LEASE,
        task_id=row.id,
        lease_id=lease_id,
        tenant_id=row.tenant_id,
        agent_id=SYSTEM_PRINCIPAL,
        seconds=int(_NO_END.total_seconds()),
        until=tx.now + _NO_END,
    )
    started = await try_move(
        tx, Move.START, row.id, who=Who.SYSTEM, fence=Fence.NONE, sets={"started_at": tx.now}
    )
    assert started is not None, "a task that this transaction claimed"
    await tx.flush()
    return started


async def abandon(tx: Tx, row: Row) -> None:
    """The task is over, whoever ended it: the workflow behind it, if it goes on, is marked to be ended."""
    behind = await tx.one(_OPEN_BEHIND, p_task_id=row.id)
    if behind is not None:
        mark_workflow(tx, behind.tenant_id, behind.id)


async def is_abandoned(tx: Tx, workflow: Row) -> bool:
    """Whether a workflow has lost the task that it works for. Its row is locked."""
    if workflow.front_task_id is None or WorkflowState(workflow.state) in OVER:
        return False
    front = await tx.one(_STATE, p_task_id=workflow.front_task_id)
    return front is None or front.state in {int(state) for state in FINAL}


async def show_stages(tx: Tx, workflow: Row) -> None:
    """Tell whoever follows the task where the stages stand."""
    front = await _touched(tx, workflow)
    if front is None:
        return
    stages = await stage_rows(tx, workflow.id)
    plan = [{"stage": row.name, "status": row.status} for row in stages]
    done = sum(row.status == StageStatus.COMPLETED for row in stages)
    going = [row.name for row in stages if row.status not in (StageStatus.COMPLETED, StageStatus.PENDING)]
    said = f"{done} of {len(stages)} stages completed"
    text = f"{said}; now: {', '.join(going)}." if going else f"{said}."
    say(tx, front, role="agent", parts=[{"text": text}], metadata={PLAN: plan})


async def ask_front(tx: Tx, workflow: Row, gate: Approval) -> None:
    """Ask whoever sent the task about a gate, which is an approval of the task."""
    front = await _touched(tx, workflow, has_approvals=True)
    if front is not None:
        tell(tx, front, "approval.requested", gate.said)


async def settle(
    tx: Tx, workflow: Row, definition: Definition, state: WorkflowState, ended: Mapping[str, Any]
) -> None:
    """End the task as its workflow has ended. One that is over already stays as it is."""
    if workflow.front_task_id is None or await _final(tx, workflow.front_task_id):
        return
    task_id: UUID = workflow.front_task_id
    if state is WorkflowState.COMPLETED:
        await show_stages(tx, workflow)
        await _bring(tx, workflow, definition, ended.get("output"))
        sets = {"output": ended.get("output"), "status_message": None}
        done = await try_move(tx, Move.COMPLETE, task_id, who=Who.SYSTEM, fence=Fence.NONE, sets=sets)
        if done is None:  # it was taken from the hub meanwhile, and nobody else will ever do it
            await try_move(tx, Move.SKIP, task_id, who=Who.SYSTEM, sets=sets)
    elif state is WorkflowState.FAILED:
        await _fail(tx, task_id, ended.get("failure") or {})
    else:
        await _cancel(tx, task_id)


async def _bring(tx: Tx, workflow: Row, definition: Definition, output: Any) -> None:
    """Leave the deliverables, and the output beside them, as artifacts of the task."""
    brought: list[tuple[str, str, Any]] = []
    for _, template in definition.templates:
        if template.deliverable:
            for made in await tx.all(_OUTPUT, p_workflow_id=workflow.id, p_step=template.name):
                brought.append((f"{template.name}.{made.item}", made.title, made.output))
    if not brought:
        return  # faces show the output of a task that left no artifact
    if output is not None:
        brought.append(("output", "output", output))
    front = await _touched(tx, workflow, versions=len(brought))
    if front is None:
        return
    for n, (artifact_id, name, value) in enumerate(brought, start=front.version - len(brought) + 1):
        part: Part = {"text": value} if isinstance(value, str) and value else {"data": value}
        put = PutArtifact(front.id, [part], artifact_id=artifact_id, name=name)
        stored, _ = await replace_artifact(tx, front, put, artifact_id, version=n)
        announce(tx, front, put, stored, n)


async def _touched(tx: Tx, workflow: Row, *, versions: int = 1, **sets: Any) -> Row | None:
    """The task with versions for what is about to be told; None when it is over."""
    if workflow.front_task_id is None or await _final(tx, workflow.front_task_id):
        return None
    states = frozenset(TaskState) - FINAL
    return await touch(
        tx,
        workflow.front_task_id,
        who=Who.SYSTEM,
        states=states,
        doing="tell how its workflow goes",
        sets=sets,
        versions=versions,
    )


async def _final(tx: Tx, task_id: UUID) -> bool:
    row = await tx.one(_LOCKED_STATE, p_task_id=task_id)
    return row is None or row.state in {int(state) for state in FINAL}


_LOCKED_STATE = Statement(sa.select(t.task.c.state).where(t.task.c.id == P_TASK).with_for_update())


async def _fail(tx: Tx, task_id: UUID, failure: Mapping[str, Any]) -> None:
    error = {
        "category": str(failure.get("category", "workflow_failed")),
        "message": str(failure.get("message", "the workflow failed")),
        "recoverable": False,
    }
    failed = await try_move(
        tx, Move.FAIL, task_id, who=Who.SYSTEM, fence=Fence.NONE, error=error, sets={"error": error}
    )
    if failed is None:
        await _cancel(tx, task_id)


async def _cancel(tx: Tx, task_id: UUID) -> None:
    sets = {"status_message": [{"text": "the workflow was cancelled"}]}
    await try_move(tx, Move.CANCEL, task_id, who=Who.SYSTEM, sets=sets)
