"""Workflows and what belongs to them as `/api/v1` says them. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from core.approvals import Approval
from core.caller import SYSTEM_PRINCIPAL
from core.work_items.read import ItemSummary, total
from core.workflows.activations import Activation
from core.workflows.documents import Document
from core.workflows.read import BoardView, Deliverable, Detail, StepView, Usage
from core.workflows.records import StageRecord, Workflow
from hub.api import rendering
from hub.api import work_item_rendering as items
from schemas.playbook import Board, Column
from schemas.v1 import work_item_records
from schemas.v1 import workflow_records as v1
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import ApprovalStatus, StageStatus

WARN_AT = 0.8
_GATE_STATUS = {
    ApprovalStatus.PENDING: "awaiting_approval",
    ApprovalStatus.CANCELLED: "rejected",
    ApprovalStatus.EXPIRED: "rejected",
}
"""Where the words of a gate are others than those of approvals."""


def workflow(value: Workflow) -> v1.Workflow:
    """A workflow."""
    budget = value.budget
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "workspace_id": value.workspace_id,
        "playbook_id": value.playbook_id,
        "playbook_version": value.playbook_version,
        "name": value.name,
        "state": value.state,
        "lifecycle": value.lifecycle,
        "current_stage": value.current_stage,
        "on_task_failure": value.failure_policy,
        "parameters": dict(value.parameters),
        "inputs": dict(value.inputs),
        "context": dict(value.context),
        "metadata": dict(value.metadata),
        "operator_note": value.operator_note,
        "output": value.output,
        "failure": None if value.failure is None else dict(value.failure),
        "token_budget": budget.get("token_budget"),
        "cost_cap_usd": budget.get("cost_cap_usd"),
        "max_duration_minutes": budget.get("max_duration_minutes"),
        "live_visibility_mode": cast(v1.Visibility, value.live_visibility_mode),
        "settings_revision": value.settings_revision,
        "pause_mode": value.pause_mode,
        "attempt_group_id": value.attempt_group_id,
        "attempt_number": value.attempt_number,
        "attempt_kind": cast(Any, value.attempt_kind),
        "root_workflow_id": value.root_workflow_id,
        "previous_attempt_workflow_id": value.previous_attempt_workflow_id,
        "redrive_reason": value.redrive_reason,
        "parent_workflow_id": value.parent_workflow_id,
        "created_by": value.created_by,
        "started_at": stamp_or_none(value.started_at),
        "completed_at": stamp_or_none(value.completed_at),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def detail(value: Detail) -> v1.WorkflowDetail:
    """A workflow and what belongs to it."""
    return {
        **workflow(value.workflow),
        "tasks": [rendering.task(task) for task in value.tasks],
        "task_counts": dict(value.task_counts),
        "workflow_stages": [stage(found, value.item_summaries) for found in value.stages],
        "active_stages": [found.name for found in value.stages if found.is_active],
        "work_items": [items.work_item(view) for view in value.work_items],
        "work_item_summary": summary(value.item_summaries, value.stages),
        "activations": [activation(found) for found in value.activations],
    }


def summary(
    found: Mapping[str, ItemSummary], stages: Sequence[StageRecord]
) -> work_item_records.WorkItemSummary:
    """The work items of a workflow in numbers."""
    counted, active = total(found), [stage.name for stage in stages if stage.is_active]
    return {
        "total_work_items": counted.total,
        "open_work_item_count": counted.open,
        "blocked_work_item_count": counted.blocked,
        "completed_work_item_count": counted.completed,
        "active_stage_count": len(active),
        "awaiting_gate_count": sum(stage.status is StageStatus.AWAITING_GATE for stage in stages),
        "active_stage_names": active,
    }


def stage(value: StageRecord, found: Mapping[str, ItemSummary]) -> v1.Stage:
    """A stage."""
    counted = found.get(value.name, ItemSummary())
    return {
        "id": value.id,
        "name": value.name,
        "position": value.position,
        "goal": value.goal,
        "guidance": value.guidance,
        "involves": list(value.involves),
        "status": value.status,
        "gate_status": value.gate_status,
        "gate_id": value.gate_id,
        "is_active": value.is_active,
        "iteration_count": value.iteration_count,
        "summary": value.summary,
        "open_work_item_count": counted.open,
        "total_work_item_count": counted.total,
        "started_at": stamp_or_none(value.started_at),
        "completed_at": stamp_or_none(value.completed_at),
    }


def board(value: BoardView) -> v1.Board:
    """A workflow at a glance."""
    shape = value.definition.board
    places = {column.id: list[v1.BoardItem | work_item_records.WorkItemCard]() for column in shape.columns}
    for step in value.steps:
        places[_column_of(shape, step.state)].append(_item(step))
    for view in value.work_items:
        places[view.item.column_id].append(items.card(view))
    return {
        "workflow": workflow(value.workflow),
        "columns": [_column(column, places[column.id]) for column in shape.columns],
        "stages": [stage(found, value.item_summaries) for found in value.stages],
        "active_stages": [found.name for found in value.stages if found.is_active],
        "work_item_summary": summary(value.item_summaries, value.stages),
    }


def _column_of(shape: Board, state: str) -> str:
    """In which column something of that state stands, as far as the board tells them apart."""
    wanted: list[Column] = []
    if state in ("completed", "skipped"):
        wanted = [column for column in shape.columns if column.is_terminal]
    elif state == "failed":
        wanted = [column for column in shape.columns if column.is_blocked]
    if not wanted and state != "waiting":
        wanted = [
            column
            for column in shape.columns
            if not column.is_terminal and not column.is_blocked and column.id != shape.entry
        ]
    return wanted[0].id if wanted else shape.entry


def _column(column: Column, standing: list[v1.BoardItem | work_item_records.WorkItemCard]) -> v1.BoardColumn:
    return {
        "id": column.id,
        "label": column.label,
        "description": column.description,
        "is_blocked": column.is_blocked,
        "is_terminal": column.is_terminal,
        "items": standing,
    }


def _item(step: StepView) -> v1.BoardItem:
    return {
        "kind": "step",
        "id": step.name,
        "title": step.title,
        "stage_name": step.stage_name,
        "role": step.role,
        "state": cast(Any, step.state),
        "depends_on": list(step.depends_on),
        "iteration": step.iteration,
        "total": step.total,
        "task_counts": dict(step.counts),
        "problem": step.problem,
    }


def gate(value: Approval) -> v1.Gate:
    """An approval of kind `gate`, in a gate's own shape."""
    subject = value.subject
    assert value.workflow_id is not None
    return {
        "id": value.id,
        "workflow_id": value.workflow_id,
        "stage_id": subject["stage_id"],
        "stage_name": subject["stage_name"],
        "status": _GATE_STATUS.get(value.status, value.status.value),
        "closure_effect": "blocking",
        "request_summary": subject["summary"],
        "recommendation": subject["recommendation"],
        "concerns": list(subject["concerns"]),
        "key_artifacts": list(subject["key_artifacts"]),
        "subject_revision": subject["subject_revision"],
        "requested_by_type": "system" if value.requested_by == SYSTEM_PRINCIPAL else "principal",
        "requested_by_id": value.requested_by,
        "requested_at": stamp(value.created_at),
        "decision_feedback": value.feedback,
        "decided_by_type": None
        if value.decided_by is None
        else ("system" if value.decided_by == SYSTEM_PRINCIPAL else "principal"),
        "decided_by_id": value.decided_by,
        "decided_at": stamp_or_none(value.decided_at),
    }


def activation(value: Activation) -> v1.Activation:
    """An activation."""
    return {
        "id": value.id,
        "workflow_id": value.workflow_id,
        "activation_id": value.activation_id,
        "request_id": value.request_id,
        "reason": value.reason,
        "event_type": value.event_type,
        "activation_reason": value.activation_reason,
        "payload": dict(value.payload),
        "state": value.state,
        "dispatch_attempt": value.dispatch_attempt,
        "dispatch_token": value.dispatch_token,
        "task_id": value.task_id,
        "summary": value.summary,
        "error": None if value.error is None else dict(value.error),
        "recovery": None if value.recovery is None else dict(value.recovery),
        "queued_at": stamp(value.queued_at),
        "started_at": stamp_or_none(value.started_at),
        "consumed_at": stamp_or_none(value.consumed_at),
        "completed_at": stamp_or_none(value.completed_at),
    }


def document(value: Document) -> v1.Document:
    """A document."""
    where = value.location
    return {
        "id": value.id,
        "workflow_id": value.workflow_id,
        "workspace_id": value.workspace_id,
        "logical_name": value.logical_name,
        "scope": value.scope,
        "source": value.source,
        "title": value.title,
        "description": value.description,
        "metadata": dict(value.metadata),
        "repository": where.get("repository"),
        "path": where.get("path"),
        "url": where.get("url"),
        "artifact": None
        if value.source != "artifact"
        else {
            "id": where["artifact_id"],
            "task_id": where["task_id"],
            "logical_path": where.get("logical_path"),
            "download_url": f"/api/v1/tasks/{where['task_id']}/artifacts/{where['artifact_id']}",
        },
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def deliverable(value: Deliverable) -> v1.Deliverable:
    """A result of a workflow."""
    return {
        "descriptor_id": value.descriptor_id,
        "descriptor_kind": "task_output",
        "delivery_stage": "final" if value.final else "in_progress",
        "title": value.title,
        "state": cast(Any, value.state),
        "work_item_id": None,
        "task_id": value.task_id,
        "stage_name": value.stage_name,
        "summary_brief": None,
        "content": value.output,
        "updated_at": stamp(value.at),
    }


def budget(value: Usage) -> v1.BudgetSnapshot:
    """What was used of what may be used."""
    limits = value.workflow.budget
    used = {
        "tokens": (float(value.tokens), limits.get("token_budget")),
        "cost": (value.cost_usd, limits.get("cost_cap_usd")),
        "duration": (value.minutes, limits.get("max_duration_minutes")),
    }
    tokens, cost, duration = (limit for _, limit in used.values())
    return {
        "tokens_used": value.tokens,
        "tokens_limit": tokens,
        "tokens_remaining": None if tokens is None else max(0, tokens - value.tokens),
        "cost_used_usd": round(value.cost_usd, 6),
        "cost_limit_usd": cost,
        "cost_remaining_usd": None if cost is None else max(0.0, round(cost - value.cost_usd, 6)),
        "elapsed_minutes": round(value.minutes, 3),
        "duration_limit_minutes": duration,
        "duration_remaining_minutes": None
        if duration is None
        else max(0.0, round(duration - value.minutes, 3)),
        "warning_dimensions": _beyond(used, WARN_AT),
        "exceeded_dimensions": _beyond(used, 1.0),
    }


def _beyond(used: dict[str, tuple[float, Any]], share: float) -> list[str]:
    return [name for name, (spent, limit) in used.items() if limit is not None and spent > limit * share]
