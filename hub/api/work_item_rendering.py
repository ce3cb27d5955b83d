"""Work items and what belongs to them as `/api/v1` says them. Pure functions."""

from typing import Any, cast

from core.work_items.context import Context
from core.work_items.handoffs import Handoff
from core.work_items.memory import Entry
from core.work_items.read import WorkItemView
from core.work_items.records import WorkItem
from hub.api import rendering
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


def handoff(value: Handoff) -> v1.Handoff:
    """What was handed on."""
    said = value.content
    return {
        "id": value.id,
        "task_id": value.task_id,
        "task_rework_count": value.rework_count,
        "workflow_id": value.workflow_id,
        "work_item_id": value.work_item_id,
        "role": value.role,
        "attempt": value.attempt,
        "summary": value.summary,
        "completion": cast(Any, value.completion),
        "resolution": value.resolution,
        "decision_state": value.resolution,
        "closure_effect": said.get("closure_effect"),
        "changes": list(said.get("changes", ())),
        "decisions": list(said.get("decisions", ())),
        "remaining_items": list(said.get("remaining_items", ())),
        "blockers": list(said.get("blockers", ())),
        "focus_areas": list(said.get("focus_areas", ())),
        "known_risks": list(said.get("known_risks", ())),
        "successor_context": said.get("successor_context"),
        "role_data": dict(said.get("role_data") or {}),
        "subject_ref": said.get("subject_ref"),
        "subject_revision": said.get("subject_revision"),
        "outcome_action_applied": said.get("outcome_action_applied"),
        "artifact_ids": list(said.get("artifact_ids", ())),
        "documents": list(said.get("documents", ())),
        "created_at": stamp(value.created_at),
    }


def entry(value: Entry) -> v1.MemoryEntry:
    """Something that is remembered."""
    return {
        "key": value.key,
        "value": value.value,
        "removed": value.removed,
        "task_id": value.task_id,
        "author_id": value.author_id,
        "created_at": stamp(value.created_at),
    }


def context(value: Context) -> v1.ContextPacket:
    """What is around a task."""
    from hub.api.workflow_rendering import workflow  # it renders boards, with their work items

    role = value.role
    return {
        "task": cast(dict[str, Any], rendering.task(value.task)),
        "agent": None if value.agent is None else dict(value.agent),
        "workspace": None if value.workspace is None else dict(value.workspace),
        "workflow": None if value.workflow is None else cast(dict[str, Any], workflow(value.workflow)),
        "stage": None if value.stage is None else dict(value.stage),
        "work_item": None if value.item is None else work_item(value.item),
        "role": None
        if role is None
        else {
            "name": role.name,
            "description": role.description,
            "system_prompt": role.system_prompt,
            "allowed_tools": list(role.allowed_tools),
            "escalation_target": role.escalation_target,
        },
        "instructions": value.instructions,
        "predecessor_handoff": None if value.predecessor is None else handoff(value.predecessor),
        "dependencies": [
            {"id": task.id, "title": task.title, "state": task.state.wire, "output": task.output}
            for task in value.dependencies
        ],
        "subject": None if value.subject is None else cast(dict[str, Any], rendering.task(value.subject)),
        "memory": dict(value.memory),
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
