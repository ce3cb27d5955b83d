"""Work items and what belongs to them as `/api/v1` says them. Pure functions."""

from typing import Any, cast

from core.work_items.read import WorkItemView
from core.work_items.records import WorkItem
from schemas.item_words import WorkItemState
from schemas.v1 import work_item_records as v1
from schemas.v1.fields import stamp, stamp_or_none
from schemas.vocabulary import GateStatus


def work_item(view: WorkItemView, *, with_children: bool = False) -> v1.WorkItem:
    """A work item; its children bare."""
    value = view.item
    found = _bare(value)
    found["task_count"] = view.task_count
    found["task_counts"] = dict(view.task_counts)
    found["children_count"] = len(view.children)
    found["is_milestone"] = bool(view.children)
    found["gate_status"] = GateStatus(view.gate_status)
    if with_children:
        found["children"] = [_bare(child) for child in view.children]
    return found


def grouped(views: list[WorkItemView]) -> list[v1.WorkItem]:
    """Those without a parent, each with its children, and theirs."""
    rendered = {view.item.id: work_item(view) for view in views}
    roots: list[v1.WorkItem] = []
    for view in views:
        above = view.item.parent_work_item_id
        if view.children:
            rendered[view.item.id].setdefault("children", [])
        if above is None or above not in rendered:
            roots.append(rendered[view.item.id])
        else:
            rendered[above].setdefault("children", []).append(rendered[view.item.id])
    return roots


def card(view: WorkItemView) -> v1.WorkItemCard:
    """A work item on the board."""
    value = view.item
    return {
        "kind": "work_item",
        "id": value.id,
        "title": value.title,
        "stage_name": value.stage_name,
        "role": value.owner_role,
        "state": value.state,
        "priority": value.priority,
        "parent_work_item_id": value.parent_work_item_id,
        "total": view.task_count,
        "task_counts": dict(view.task_counts),
        "next_expected_actor": value.next_expected_actor,
        "next_expected_action": value.next_expected_action,
        "escalation_status": cast(Any, value.escalation_status),
        "rework_count": value.rework_count,
        "problem": value.blocked_reason,
    }


def _bare(value: WorkItem) -> v1.WorkItem:
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "workflow_id": value.workflow_id,
        "parent_work_item_id": value.parent_work_item_id,
        "branch_key": value.branch_key,
        "stage_name": value.stage_name,
        "column_id": value.column_id,
        "state": value.state,
        "title": value.title,
        "goal": value.goal,
        "acceptance_criteria": value.acceptance_criteria,
        "notes": value.notes,
        "owner_role": value.owner_role,
        "priority": value.priority,
        "next_expected_actor": value.next_expected_actor,
        "next_expected_action": value.next_expected_action,
        "blocked_state": "blocked" if value.state is WorkItemState.BLOCKED else None,
        "blocked_reason": value.blocked_reason,
        "escalation_status": cast(Any, value.escalation_status),
        "escalation_task_id": value.escalation_task_id,
        "rework_count": value.rework_count,
        "created_by": cast(Any, value.created_by),
        "metadata": dict(value.metadata),
        "initial_input_packet": dict(value.inputs),
        "completion_callouts": value.completion_callouts,
        "task_count": 0,
        "task_counts": {},
        "children_count": 0,
        "is_milestone": False,
        "assessment_status": value.assessment_status,
        "gate_status": GateStatus.NOT_REQUESTED,
        "completed_at": stamp_or_none(value.completed_at),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }
