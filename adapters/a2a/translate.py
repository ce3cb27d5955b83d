"""The platform's values in A2A's words. Pure: no I/O, and nothing that decides.

A task's A2A state depends on who looks: somebody who may decide an open approval sees INPUT_REQUIRED, and is
told what is wanted. Nothing ever returns to SUBMITTED: a retried task reads WORKING while it waits again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from adapters.a2a import wire
from core.approvals import Approval, DecideApproval
from core.caller import Caller
from core.tasks.read import Slice
from core.tasks.task import Artifact, InputRequest, Message, Task, TaskView
from core.transitions import ASKING, FINAL, QUEUED
from schemas.vocabulary import TaskState

HISTORY: Final = 100
"""How many of the newest messages a task shows when its reader names no number."""
OUTPUT: Final = "output"
"""Id and name of the artifact that shows the output of a task which left no artifact."""

STATES: Final[Mapping[TaskState, str]] = MappingProxyType(
    {
        TaskState.PENDING: wire.WORKING,
        TaskState.READY: wire.WORKING,
        TaskState.CLAIMED: wire.WORKING,
        TaskState.IN_PROGRESS: wire.WORKING,
        TaskState.INPUT_REQUIRED: wire.INPUT_REQUIRED,
        TaskState.COMPLETED: wire.COMPLETED,
        TaskState.FAILED: wire.FAILED,
        TaskState.CANCELLED: wire.CANCELED,
        TaskState.REJECTED: wire.REJECTED,
        TaskState.AUTH_REQUIRED: wire.AUTH_REQUIRED,
        TaskState.AWAITING_APPROVAL: wire.WORKING,
        TaskState.OUTPUT_PENDING_ASSESSMENT: wire.WORKING,
        TaskState.ESCALATED: wire.WORKING,
    }
)
"""Each state once the task has left the queue, for a viewer who has nothing to decide."""


def state_of(state: TaskState, *, left_queue: bool, decides: bool) -> str:
    """The A2A state. `decides`: the viewer may decide an open approval of the task."""
    if decides and state not in FINAL and state not in ASKING:
        return wire.INPUT_REQUIRED
    if state in QUEUED and not left_queue:
        return wire.SUBMITTED
    return STATES[state]


def slices_of(name: str) -> Sequence[Slice]:
    """Which tasks read as this A2A state: the inverse of `state_of`."""
    plain = frozenset(state for state, shown in STATES.items() if shown == name)
    if name == wire.SUBMITTED:
        return [Slice(QUEUED, left_queue=False, decides=False)]
    if name == wire.WORKING:
        return [Slice(QUEUED, left_queue=True, decides=False), Slice(plain - QUEUED, decides=False)]
    if name == wire.INPUT_REQUIRED:
        return [Slice(plain), Slice(frozenset(TaskState) - FINAL - ASKING, decides=True)]
    return [Slice(plain)]


def decidable(approvals: Sequence[Approval], task: Task, viewer: Caller) -> Sequence[Approval]:
    """The pending approvals that the viewer may decide: its own or an operator's, never the executor's."""
    if not approvals or viewer.principal_id in (task.agent_id, task.worker_id):
        return ()
    return [a for a in approvals if a.decidable_by(viewer, None)]


def task_of(
    view: TaskView, viewer: Caller, *, history_length: int | None = None, with_artifacts: bool = True
) -> dict[str, Any]:
    """A `Task` for one viewer. `history_length` of None is the server's default, 0 leaves history out."""
    task = view.task
    task_id = str(task.id)
    status = status_of(view, viewer)
    made: dict[str, Any] = {"id": task_id, "contextId": task.context_id, "status": status}
    if with_artifacts:
        artifacts = artifacts_of(view)
        if artifacts:
            made["artifacts"] = artifacts
    length = HISTORY if history_length is None else history_length
    if length and view.messages:
        shown = status.get("message")
        said = (
            view.messages
            if shown is None
            else [m for m in view.messages if m.message_id != shown["messageId"]]
        )
        if said:
            made["history"] = [message_of(m, task.context_id, task_id) for m in said[-length:]]
    if task.metadata:
        made["metadata"] = task.metadata
    return made


def status_of(view: TaskView, viewer: Caller) -> dict[str, Any]:
    """The `TaskStatus` of a task for one viewer."""
    task = view.task
    deciding = decidable(view.approvals, task, viewer)
    status: dict[str, Any] = {
        "state": state_of(task.state, left_queue=task.left_queue, decides=bool(deciding)),
        "timestamp": stamp(task.status_at),
    }
    message = None
    if task.state in ASKING:
        if view.inputs:
            message = question(view.inputs[0], task.context_id)
    elif deciding:
        message = request_for_decision(deciding[0], task.context_id)
    elif task.state in FINAL:
        message = closing_words(task)
    if message is not None:
        status["message"] = message
    return status


def artifacts_of(view: TaskView) -> list[dict[str, Any]]:
    """The artifacts of a task; a completed one that left none shows its output as one."""
    made = [artifact_of(a) for a in view.artifacts if a.parts]
    task = view.task
    if not made and task.state is TaskState.COMPLETED and task.output is not None:
        made.append(output_artifact(task.output))
    return made


def output_artifact(output: Any) -> dict[str, Any]:
    """A task's output as an `Artifact`."""
    part = {"text": output} if isinstance(output, str) else {"data": output, "mediaType": "application/json"}
    return {"artifactId": OUTPUT, "name": OUTPUT, "parts": [part]}


def artifact_of(artifact: Artifact) -> dict[str, Any]:
    """An `Artifact` with all its parts."""
    made: dict[str, Any] = {"artifactId": artifact.artifact_id, "parts": parts_of(artifact.parts)}
    name = artifact.name or artifact.path
    if name:
        made["name"] = name
    if artifact.description:
        made["description"] = artifact.description
    if artifact.metadata:
        made["metadata"] = artifact.metadata
    return made


def message_of(message: Message, context_id: str, task_id: str) -> dict[str, Any]:
    """A `Message` of the task's history."""
    role = "ROLE_USER" if message.role == "user" else "ROLE_AGENT"
    return said(message.message_id, role, message.parts, context_id, task_id, message.metadata)


def said(
    message_id: str,
    role: str,
    parts: Sequence[Mapping[str, Any]],
    context_id: str,
    task_id: str,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A `Message` from its members; extensions and references come back out of the metadata."""
    made: dict[str, Any] = {
        "messageId": message_id,
        "contextId": context_id,
        "taskId": task_id,
        "role": role,
        "parts": parts_of(parts),
    }
    if metadata:
        carried = metadata.get(wire.CARRIED)
        if isinstance(carried, Mapping):
            made.update({k: v for k, v in carried.items() if k in ("extensions", "referenceTaskIds")})
            metadata = {name: value for name, value in metadata.items() if name != wire.CARRIED}
        if metadata:
            made["metadata"] = metadata
    return made


def parts_of(parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Parts under A2A's names; the same mapping where the names agree."""
    return [_part_of(part) if "media_type" in part else part for part in parts]


def _part_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return {("mediaType" if name == "media_type" else name): value for name, value in part.items()}


def question(request: InputRequest, context_id: str) -> dict[str, Any]:
    """What an executor wants to know, as the status message of a task that waits for it."""
    return asked(
        str(request.id), request.kind.value, request.parts, request.schema, context_id, str(request.task_id)
    )


def asked(
    input_id: str,
    kind: str,
    parts: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | None,
    context_id: str,
    task_id: str,
) -> dict[str, Any]:
    """As `question`, from the members of an input request."""
    about: dict[str, Any] = {"id": input_id, "kind": kind}
    if schema is not None:
        about["schema"] = schema
    return said(input_id, "ROLE_AGENT", parts, context_id, task_id, {"crossdock/input": about})


def request_for_decision(approval: Approval, context_id: str) -> dict[str, Any]:
    """What is to be allowed and how to answer, in words and as data."""
    return decision_wanted(
        str(approval.id),
        approval.kind.value,
        approval.title,
        approval.options,
        approval.subject,
        context_id,
        str(approval.task_id),
    )


def decision_wanted(
    approval_id: str,
    kind: str,
    title: str,
    options: Sequence[Mapping[str, Any]],
    subject: Any,
    context_id: str,
    task_id: str,
) -> dict[str, Any]:
    """As `request_for_decision`, from the members of an approval."""
    choices = [{"id": o["id"], "name": o.get("name") or o["id"]} for o in options]
    about = {"id": approval_id, "kind": kind, "title": title, "options": choices}
    if subject is not None:
        about["subject"] = subject
    listed = ", ".join(_choice(o) for o in choices)
    parts: list[Mapping[str, Any]] = [
        {"text": f"{title}\nAnswer with one of: {listed}."},
        {"data": {"approval": about}, "media_type": "application/json"},
    ]
    return said(approval_id, "ROLE_AGENT", parts, context_id, task_id)


def _choice(option: Mapping[str, str]) -> str:
    return option["id"] if option["name"] == option["id"] else f"{option['id']} ({option['name']})"


def decision(parts: Sequence[Mapping[str, Any]], approval: Approval) -> DecideApproval | None:
    """What an answer decides: it is exactly one option's id or name, or `approve` or `reject`; else None."""
    texts = [part["text"] for part in parts if "text" in part]
    if len(texts) != 1 or len(parts) != 1:
        return None
    word = texts[0].strip().casefold()
    for option in approval.options:
        if word and word in (option["id"].casefold(), (option.get("name") or "").casefold()):
            return DecideApproval(approval.id, option_id=option["id"])
    return DecideApproval(approval.id, action=word) if word in ("approve", "reject") else None


def closing_words(task: Task) -> dict[str, Any] | None:
    """Why a task ended, as the status message of its final state; None when there is nothing to say."""
    parts = task.status_message
    failed = task.error if task.state is TaskState.FAILED else None
    if not parts and failed:
        parts = [{"text": failed["message"]}]
    if not parts:
        return None
    metadata = {"crossdock/error": {"category": failed["category"]}} if failed else None
    return said(f"{task.id}-status", "ROLE_AGENT", parts, task.context_id, str(task.id), metadata)


def stamp(moment: datetime) -> str:
    """A time as A2A writes it: UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
