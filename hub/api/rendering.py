"""Core's values as `/api/v1` says them. Pure functions; mypy checks that no field is missing."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from core.agents import Agent
from core.approvals import Approval
from core.events import Event
from core.gateway.task_tokens import handle_of
from core.tasks.input import InputAsked
from core.tasks.task import Artifact, Claimed, LeaseState, Message, Task
from hub.api.previews import MOST_SHOWN, shown_as
from hub.api.routing import PREFIX
from schemas.parts import PartFields
from schemas.v1 import agents as v1_agents
from schemas.v1 import content, execution, review, tasks
from schemas.v1 import events as v1_events
from schemas.v1.fields import STATES, stamp, stamp_or_none
from schemas.vocabulary import OnDependencyFailure, TaskState

Parts = Sequence[Mapping[str, Any]]


def _parts(parts: Parts) -> list[PartFields]:
    return cast(list[PartFields], parts)  # they were checked on their way in


def _object(value: Mapping[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], value)


def task(value: Task) -> tasks.Task:
    """A task."""
    policy, extras, report = value.policy, value.extras, value.report or {}
    timeout, finished = policy["timeout_seconds"], stamp_or_none(value.finished_at)
    orchestrator = bool(extras.get("orchestrator", False))
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "version": value.version,
        "state": STATES[value.state],
        "state_changed_at": stamp(value.status_at),
        "status_message": None if value.status_message is None else _parts(value.status_message),
        "title": value.title,
        "description": value.description,
        "type": value.type,
        "task_kind": extras.get("task_kind"),
        "priority": value.priority,
        "input": value.input,
        "context": _object(value.context),
        "metadata": _object(value.metadata),
        "output": value.output,
        "error": cast(tasks.TaskError | None, value.error),
        "context_id": value.context_id,
        "origin": {
            "face": value.origin.face,
            "principal_id": value.origin.principal_id,
            "external_id": value.origin.external_id,
        },
        "request_id": extras.get("request_id"),
        "traceparent": extras.get("traceparent"),
        "depends_on": list(value.depends_on),
        "on_dependency_failure": cast(OnDependencyFailure, policy["on_dependency_failure"]),
        "required_tags": list(value.required_tags),
        "required_tools": list(value.required_tools),
        "preferred_agent_id": value.preferred_agent_id,
        "role": value.role,
        "stage_name": value.stage_name,
        "workspace_id": value.workspace_id,
        "workflow_id": value.workflow_id,
        "work_item_id": value.work_item_id,
        "parent_id": value.parent_id,
        "previous_task_id": value.previous_task_id,
        "activation_id": extras.get("activation_id"),
        "attempt": value.attempt,
        "retry_count": value.retry_count,
        "rework_count": value.rework_count,
        "assigned_agent_id": value.agent_id,
        "assigned_worker_id": value.worker_id,
        "held": value.held,
        "ready_at": stamp(value.ready_at),
        "claimed_at": stamp_or_none(value.claimed_at),
        "started_at": stamp_or_none(value.started_at),
        "completed_at": finished if value.state is TaskState.COMPLETED else None,
        "finished_at": finished,
        "cancel_requested_at": stamp_or_none(value.cancel_requested_at),
        "timeout_at": stamp_or_none(value.timeout_at),
        "timeout_minutes": None if timeout is None else timeout / 60,
        "retry_policy": policy["retry"],
        "auto_retry": extras.get("auto_retry"),
        "max_retries": extras.get("max_retries"),
        "requires_approval": policy["requires_approval"],
        "approval_policy": policy.get("approval"),
        "output_schema": policy["output_schema"],
        "is_orchestrator_task": orchestrator,
        "execution_backend": extras.get(
            "execution_backend", "runtime_only" if orchestrator else "runtime_plus_task"
        ),
        "subject_task_id": extras.get("subject_task_id"),
        "subject_work_item_id": extras.get("subject_work_item_id"),
        "subject_handoff_id": extras.get("subject_handoff_id"),
        "subject_revision": extras.get("subject_revision"),
        "assessment_prompt": extras.get("assessment_prompt"),
        "latest_handoff": extras.get("latest_handoff"),
        "role_config": extras.get("role_config"),
        "environment": extras.get("environment"),
        "token_budget": extras.get("token_budget"),
        "cost_cap_usd": extras.get("cost_cap_usd"),
        "max_iterations": extras.get("max_iterations"),
        "llm_max_retries": extras.get("llm_max_retries"),
        "metrics": report.get("metrics"),
        "git_info": report.get("git_info"),
        "verification": report.get("verification"),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def claimed(value: Claimed) -> execution.Claimed:
    """A task with its lease."""
    return {
        **task(value.task),
        "lease_id": value.lease_id,
        "lease_expires_at": stamp(value.lease_expires_at),
        "resource_bindings": value.task.extras.get("resource_bindings"),
        "messages": [message(said) for said in value.messages],
        "credentials": {"gateway_claim_handle": handle_of(value.lease_id)},
        "checkpoint": value.checkpoint,
    }


def lease(value: LeaseState) -> execution.LeaseState:
    """What a renewal tells."""
    return {
        "lease_expires_at": stamp(value.lease_expires_at),
        "cancel_requested": value.cancel_requested,
        "state": STATES[value.state],
        "version": value.version,
    }


def message(value: Message) -> content.Message:
    """A message."""
    return {
        "id": value.message_id,
        "message_id": value.message_id,
        "task_id": value.task_id,
        "n": value.n,
        "role": value.role,
        "parts": _parts(value.parts),
        "metadata": _object(value.metadata),
        "final": value.final,
        "sender_id": value.sender_id,
        "created_at": stamp(value.at),
    }


def artifact(value: Artifact) -> content.Artifact:
    """An artifact."""
    here = artifact_path(value.task_id, value.artifact_id)
    mode = shown_as(value.content_type or _kind_of(value.parts))
    return {
        "id": value.artifact_id,
        "artifact_id": value.artifact_id,
        "task_id": value.task_id,
        "name": value.name,
        "description": value.description,
        "logical_path": value.path,
        "content_type": value.content_type,
        "size_bytes": value.size_bytes,
        "complete": value.complete,
        "metadata": _object(value.metadata),
        "parts": _parts(value.parts),
        "checksum_sha256": None if value.sha256 is None else value.sha256.hex(),
        "download_url": f"{here}/content",
        "preview_url": f"{here}/preview",
        "permalink_url": f"{here}/permalink",
        "preview_mode": mode,
        "preview_eligible": mode != "unsupported" and value.size_bytes <= MOST_SHOWN,
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def artifact_path(task_id: UUID, artifact_id: str) -> str:
    """Where an artifact is, below the hub's address."""
    return f"{PREFIX}/tasks/{task_id}/artifacts/{quote(artifact_id, safe='')}"


def _kind_of(parts: Parts) -> str | None:
    kinds = {part.get("media_type") or ("text/plain" if "text" in part else None) for part in parts}
    return kinds.pop() if len(kinds) == 1 else None


def asked(value: InputAsked) -> review.InputAsked:
    """A task that now waits for an answer."""
    return {**task(value.task), "input_id": value.input.id}


def approval(value: Approval) -> review.Approval:
    """An approval."""
    return {
        "id": value.id,
        "task_id": value.task_id,
        "workflow_id": value.workflow_id,
        "attempt": value.attempt,
        "kind": value.kind,
        "title": value.title,
        "status": value.status,
        "subject": value.subject,
        "subject_digest": value.subject_digest,
        "options": cast(list[review.OptionOut], value.options),
        "option_id": value.option_id,
        "feedback": value.feedback,
        "remember": value.remember,
        "policy": cast(review.PolicyOut | None, dict(value.policy) or None),
        "votes": cast(list[review.VoteOut], list(value.votes)),
        "data": value.answer,
        "requested_by": value.requested_by,
        "requested_at": stamp(value.created_at),
        "decider_id": value.decider_id,
        "expires_at": stamp_or_none(value.expires_at),
        "decided_by": value.decided_by,
        "decided_via": value.decided_via,
        "decided_at": stamp_or_none(value.decided_at),
    }


def agent(value: Agent) -> v1_agents.Agent:
    """An agent."""
    return {
        "id": value.id,
        "tenant_id": value.tenant_id,
        "name": value.name,
        "protocol": value.protocol,
        "execution_mode": value.execution_mode,
        "routing_tags": list(value.routing_tags),
        "tools": {
            "required": list(value.tools.get("required", ())),
            "optional": list(value.tools.get("optional", ())),
        },
        "worker_id": value.worker_id,
        "status": value.status,
        "max_concurrent": value.max_concurrent,
        "active_tasks": value.leases,
        "heartbeat_interval_seconds": value.heartbeat_interval_seconds,
        "last_heartbeat_at": stamp(value.last_seen_at),
        "last_claim_at": stamp_or_none(value.last_claim_at),
        "metadata": _object(value.metadata),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
    }


def event(value: Event) -> v1_events.Event:
    """An event."""
    return {
        "id": value.pos,
        "type": value.kind,
        "entity_type": value.entity_type,
        "entity_id": value.entity_id,
        "task_id": value.task_id,
        "version": value.version,
        "workflow_id": value.workflow_id,
        "context_id": value.context_id,
        "actor_type": value.actor_type,
        "actor_id": value.actor_id,
        "data": _object(value.data),
        "created_at": stamp(value.at),
    }


def page(total: int, number: int, per_page: int) -> Mapping[str, int]:
    """What the meta of a page says about its list."""
    return {"total": total, "page": number, "per_page": per_page, "pages": max(1, ceil(total / per_page))}
