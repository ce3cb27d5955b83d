"""What a task's changes leave in the event log. Written in the transaction of the change, or not at all."""

from collections.abc import Mapping
from typing import Any

from core.store.statement import Row
from core.store.tx import Tx
from core.transitions import Move
from schemas.vocabulary import TaskState


def record(
    tx: Tx, row: Row, m: Move, *, said: Mapping[str, Any] | None = None, announces: str | None = None
) -> None:
    """Write the event of a move, and the announcement beside it."""
    data: dict[str, Any] = {
        "task_id": str(row.id),
        "from_state": TaskState(row.prev_state).wire,
        "to_state": TaskState(row.state).wire,
        "move": m.value,
        "attempt": row.attempt,
        "agent_id": row.agent_id and str(row.agent_id),
        "worker_id": row.worker_id and str(row.worker_id),
        "retry_count": row.retry_count,
        "rework_count": row.rework_count,
        "left_queue": row.left_queue,
        **(said or {}),
    }
    version = row.version - 1 if announces else row.version
    tell(tx, row, "task.state_changed", data, version=version)
    if announces:
        tell(tx, row, announces, data)


def tell(tx: Tx, row: Row, kind: str, data: Mapping[str, Any], *, version: int | None = None) -> None:
    """Write one event of a task, with the links by which it is found."""
    links = {"workspace_id": row.workspace_id, "work_item_id": row.work_item_id, "stage_name": row.stage_name}
    tx.event(
        kind,
        entity_type="task",
        entity_id=row.id,
        task_id=row.id,
        version=row.version if version is None else version,
        workflow_id=row.workflow_id,
        context_id=row.context_id,
        submitter_id=row.submitter_id,
        data={**data, **{name: str(value) for name, value in links.items() if value is not None}},
    )
