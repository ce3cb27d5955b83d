"""What a remote agent is told, and what its artifacts amount to. Pure functions.

The first message holds everything that was said to our task so far; later ones what was said since. How often
work has been handed on travels along, so that hubs that delegate to one another cannot go round in circles.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from adapters.a2a import translate, wire
from adapters.a2a.remote.answers import OURS
from core.caller import SYSTEM_PRINCIPAL
from core.tasks.task import Message, Part, Task
from core.trace import carried, of_extras

HOPS: Final = OURS + "hops"
"""Member of a message's metadata: how many hubs have handed the work on."""
MAX_HOPS: Final = 8
_CONVERSATIONS: Final = UUID("5d1f7a52-6a0e-5c53-9f0b-0d6c9b5b8a11")
_INTERNAL: Final = frozenset({"input_id", wire.CARRIED})
FEEDBACK: Final = "assessment_feedback"


def spoken(messages: Sequence[Message]) -> Sequence[Message]:
    """What somebody said to the task; not what the hub did by itself."""
    return [m for m in messages if m.role == "user" and m.sender_id != SYSTEM_PRINCIPAL]


def hops_of(messages: Sequence[Message]) -> int:
    """How many hubs the work has come through."""
    said = [m.metadata.get(HOPS) for m in messages]
    return max((n for n in said if type(n) is int and n > 0), default=0)


def conversation_of(task: Task, remote_agent_id: UUID) -> str:
    """What the task's conversation is called at the remote agent: the same for all its tasks, and no word of
    who takes part in it."""
    return str(uuid5(_CONVERSATIONS, f"{remote_agent_id}/{task.submitter_id}/{task.context_id}"))


def message_id_of(delegation_id: UUID, n: int) -> str:
    """The id, and replay key, of the message that brings the history up to `n`: the same for every repeat."""
    return str(uuid5(delegation_id, str(n)))


def send_params(
    task: Task,
    said: Sequence[Message],
    *,
    message_id: str,
    hops: int,
    context_id: str | None,
    remote_task_id: str | None = None,
) -> dict[str, Any]:
    """The parameters of a send: what was said, or for a first one without a word what the task asks for."""
    parts = [part for message in said for part in message.parts]
    if remote_task_id is None:
        parts = [*(parts or _asked_for(task)), *_feedback(task)]
    metadata: dict[str, Any] = {}
    for message in said:
        metadata |= {
            name: value
            for name, value in message.metadata.items()
            if name not in _INTERNAL and not name.startswith(OURS)
        }
    message_: dict[str, Any] = {
        "messageId": message_id,
        "role": "ROLE_USER",
        "parts": translate.parts_of(parts),
        "metadata": {**metadata, **carried(of_extras(task.extras)), HOPS: hops},
    }
    if context_id is not None:
        message_["contextId"] = context_id
    if remote_task_id is not None:
        message_["taskId"] = remote_task_id
    modes = task.context.get("accepted_output_modes")
    return {"message": message_, "configuration": {"acceptedOutputModes": list(modes)} if modes else {}}


def _asked_for(task: Task) -> list[Part]:
    """A task that was born without a message, in parts."""
    given = task.input
    if type(given) is dict:
        given = {name: value for name, value in given.items() if name != FEEDBACK}
        if type(given.get("text")) is str and set(given) <= {"text", "parts"}:
            return list(given.get("parts") or [{"text": given["text"]}])
    if type(given) is str:
        return [{"text": given}]
    words: list[Part] = [{"text": task.description or task.title}]
    return [*words, {"data": given, "media_type": "application/json"}] if given else words


def _feedback(task: Task) -> list[Part]:
    """Why an earlier result was not good enough."""
    feedback = task.input.get(FEEDBACK) if type(task.input) is dict else None
    return [] if feedback is None else [{"data": {FEEDBACK: feedback}, "media_type": "application/json"}]


def output_of(artifacts: Sequence[Sequence[Part]], last_words: Sequence[Part]) -> Any:
    """The output of a task: the text of its artifacts, or their one value; without artifacts, that of the
    remote agent's last words. None where it cannot be said so."""
    if artifacts:
        parts = [part for artifact in artifacts for part in artifact]
        if parts and all("text" in part for part in parts):
            return "\n".join("".join(str(p["text"]) for p in artifact) for artifact in artifacts)
        return parts[0]["data"] if len(parts) == 1 and "data" in parts[0] else None
    data = [part["data"] for part in last_words if "data" in part]
    if len(data) == 1 and len(last_words) == 1:
        return data[0]
    texts = [str(part["text"]) for part in last_words if "text" in part]
    return "\n".join(texts) or None
