"""Core's values as the tools and resources of the hub say them: plain JSON, and the schemas of it.

Less than REST says: what a model needs to act, and the ids to ask for more.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NotRequired
from urllib.parse import quote

from typing_extensions import TypedDict

from core.approvals import Approval
from core.events import Event
from core.tasks.task import Artifact, InputRequest, LeaseState, Message, Task, TaskView

TASK_URI: Final = "crossdock://tasks/"

State = Literal[
    "pending",
    "ready",
    "claimed",
    "in_progress",
    "input_required",
    "completed",
    "failed",
    "cancelled",
    "rejected",
    "auth_required",
    "awaiting_approval",
    "output_pending_assessment",
    "escalated",
]


class ShownTask(TypedDict):
    """A task."""

    id: str
    uri: str
    """The resource that it can be read and followed at."""
    state: State
    version: int
    """Grows with everything that happens to the task."""
    title: str
    description: str | None
    priority: str
    context_id: str
    parent_id: str | None
    agent_id: str | None
    """Who does it, or did it last."""
    attempt: int
    input: Any
    output: Any
    error: dict[str, Any] | None
    status_message: list[dict[str, Any]] | None
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    finished_at: str | None


class ShownQuestion(TypedDict):
    """A question of whoever does the task: answer it with answer_task."""

    input_id: str
    kind: str
    parts: list[dict[str, Any]]
    answer_schema: dict[str, Any] | None


class ShownApproval(TypedDict):
    """Something that somebody must allow: decide it with decide_approval."""

    id: str
    task_id: str | None
    kind: str
    title: str
    status: str
    subject: Any
    options: list[dict[str, Any]]
    option_id: str | None
    feedback: str | None
    expires_at: str | None
    created_at: str


class ShownMessage(TypedDict):
    """A message of a task's history."""

    message_id: str
    task_id: str
    n: int
    role: str
    parts: list[dict[str, Any]]
    created_at: str


class ShownArtifact(TypedDict):
    """An artifact; `parts` are left out of lists."""

    artifact_id: str
    task_id: str
    uri: str
    name: str | None
    description: str | None
    content_type: str | None
    size_bytes: int
    complete: bool
    created_at: str
    parts: NotRequired[list[dict[str, Any]]]


class WholeTask(ShownTask):
    """A task with what belongs to it."""

    questions: list[ShownQuestion]
    approvals: list[ShownApproval]
    artifacts: list[ShownArtifact]
    messages: list[ShownMessage]


class ClaimedTask(ShownTask):
    """A task that you now do. Present `lease_id` with everything you report, and renew it in time."""

    lease_id: str
    lease_expires_at: str
    messages: list[ShownMessage]


class ShownLease(TypedDict):
    """How a lease stands."""

    lease_expires_at: str
    cancel_requested: bool
    """Stop, and confirm with cancel_task and the lease_id."""
    state: State
    version: int


class ShownEvent(TypedDict):
    """Something that happened. `id` is the cursor to read on from."""

    id: int
    type: str
    task_id: str | None
    version: int | None
    context_id: str | None
    actor_type: str
    actor_id: str | None
    data: dict[str, Any]
    created_at: str


def stamp(moment: datetime) -> str:
    """A moment as ISO 8601 in UTC."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)


def _id(value: object) -> str | None:
    return None if value is None else str(value)


def _parts(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(part) for part in parts]


def task_uri(task_id: object) -> str:
    """The resource of a task."""
    return f"{TASK_URI}{task_id}"


def artifact_uri(task_id: object, artifact_id: str) -> str:
    """The resource of an artifact."""
    return f"{TASK_URI}{task_id}/artifacts/{quote(artifact_id, safe='')}"


def task(value: Task) -> ShownTask:
    """A task."""
    return {
        "id": str(value.id),
        "uri": task_uri(value.id),
        "state": value.state.wire,  # type: ignore[typeddict-item]  # the names of TaskState are those of State
        "version": value.version,
        "title": value.title,
        "description": value.description,
        "priority": value.priority.value,
        "context_id": value.context_id,
        "parent_id": _id(value.parent_id),
        "agent_id": _id(value.agent_id),
        "attempt": value.attempt,
        "input": value.input,
        "output": value.output,
        "error": None if value.error is None else dict(value.error),
        "status_message": None if value.status_message is None else _parts(value.status_message),
        "metadata": dict(value.metadata),
        "created_at": stamp(value.created_at),
        "updated_at": stamp(value.updated_at),
        "finished_at": _maybe(value.finished_at),
    }


def whole(view: TaskView) -> WholeTask:
    """A task with what belongs to it."""
    return {
        **task(view.task),
        "questions": [question(asked) for asked in view.inputs],
        "approvals": [approval(asked) for asked in view.approvals],
        "artifacts": [artifact(made) for made in view.artifacts],
        "messages": [message(said) for said in view.messages],
    }


def question(value: InputRequest) -> ShownQuestion:
    """A question."""
    return {
        "input_id": str(value.id),
        "kind": value.kind.value,
        "parts": _parts(value.parts),
        "answer_schema": None if value.schema is None else dict(value.schema),
    }


def approval(value: Approval) -> ShownApproval:
    """An approval."""
    return {
        "id": str(value.id),
        "task_id": _id(value.task_id),
        "kind": value.kind.value,
        "title": value.title,
        "status": value.status.value,
        "subject": value.subject,
        "options": _parts(value.options),
        "option_id": value.option_id,
        "feedback": value.feedback,
        "expires_at": _maybe(value.expires_at),
        "created_at": stamp(value.created_at),
    }


def message(value: Message) -> ShownMessage:
    """A message."""
    return {
        "message_id": value.message_id,
        "task_id": str(value.task_id),
        "n": value.n,
        "role": value.role,
        "parts": _parts(value.parts),
        "created_at": stamp(value.at),
    }


def artifact(value: Artifact, *, with_parts: bool = False) -> ShownArtifact:
    """An artifact."""
    said: ShownArtifact = {
        "artifact_id": value.artifact_id,
        "task_id": str(value.task_id),
        "uri": artifact_uri(value.task_id, value.artifact_id),
        "name": value.name,
        "description": value.description,
        "content_type": value.content_type,
        "size_bytes": value.size_bytes,
        "complete": value.complete,
        "created_at": stamp(value.created_at),
    }
    return {**said, "parts": _parts(value.parts)} if with_parts else said


def lease(value: LeaseState) -> ShownLease:
    """A lease."""
    return {
        "lease_expires_at": stamp(value.lease_expires_at),
        "cancel_requested": value.cancel_requested,
        "state": value.state.wire,  # type: ignore[typeddict-item]  # as above
        "version": value.version,
    }


def event(value: Event) -> ShownEvent:
    """An event."""
    return {
        "id": value.pos,
        "type": value.kind,
        "task_id": _id(value.task_id),
        "version": value.version,
        "context_id": value.context_id,
        "actor_type": value.actor_type,
        "actor_id": value.actor_id,
        "data": dict(value.data),
        "created_at": stamp(value.at),
    }
