"""What a remote agent tells, checked (specification §4): values that core can keep, or `BadAnswer`.

It is data of somebody else: unknown members are left out, parts are rebuilt, names of ours are not believed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from adapters.a2a import wire
from adapters.a2a.protojson import base64_of
from adapters.a2a.remote.failures import BadAnswer

OURS: Final = "crossdock/"
"""Metadata of other hubs begins so; it is read where it is expected, and handed on nowhere."""
QUESTION: Final = "crossdock/input"
FAILURE: Final = "crossdock/error"
_MAX_NAME: Final = 1024


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A `Message`, with parts as core has them."""

    id: str
    by_agent: bool
    parts: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None
    """What an answer must look like, where the message is a question of a hub like this one."""
    category: str | None = None
    """Why the task failed, where it is the last word of a hub like this one."""
    task_id: str | None = None
    context_id: str | None = None

    @property
    def text(self) -> str:
        """What it says in words."""
        return "\n".join(str(part["text"]) for part in self.parts if "text" in part)


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """A `TaskStatus`."""

    state: str
    message: RemoteMessage | None = None
    timestamp: str = ""
    task_id: str | None = None
    context_id: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether nothing comes after it."""
        return self.state in wire.TERMINAL

    @property
    def completed(self) -> bool:
        """Whether the task has ended well."""
        return self.state == wire.COMPLETED

    @property
    def interrupted(self) -> bool:
        """Whether the remote agent waits for somebody."""
        return self.state in wire.INTERRUPTED

    @property
    def identity(self) -> str:
        """Tells one wait from the next."""
        said = "" if self.message is None else self.message.id
        return f"{said}@{self.timestamp}"


@dataclass(frozen=True, slots=True)
class RemoteArtifact:
    """An `Artifact`, or a chunk of one."""

    id: str
    parts: Sequence[Mapping[str, Any]]
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    append: bool = False
    last: bool = True
    task_id: str | None = None
    context_id: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """A `Task` as it stands."""

    id: str
    context_id: str | None
    status: RemoteStatus
    artifacts: Sequence[RemoteArtifact] = ()
    history: Sequence[RemoteMessage] = ()


Frame = RemoteTask | RemoteMessage | RemoteStatus | RemoteArtifact
"""What a stream brings, or a send answers."""


def frame_of(value: Any) -> Frame | None:
    """Read a `StreamResponse` or a `SendMessageResponse`; None for a member that is not known here.

    Raises:
        BadAnswer: it is neither.
    """
    held = _object(value, "the answer")
    if "task" in held:
        return task_of(held["task"])
    if "message" in held:
        return message_of(held["message"])
    if "statusUpdate" in held:
        update = _object(held["statusUpdate"], "statusUpdate")
        return replace(_status(update.get("status")), **_whose(update))
    if "artifactUpdate" in held:
        update = _object(held["artifactUpdate"], "artifactUpdate")
        chunk = _artifact(update.get("artifact"))
        return replace(chunk, append=update.get("append") is True, last=_last(update), **_whose(update))
    return None


def task_of(value: Any) -> RemoteTask:
    """Read a `Task`.

    Raises:
        BadAnswer: it is none.
    """
    held = _object(value, "task")
    artifacts = [_artifact(one) for one in _array(held, "artifacts")]
    return RemoteTask(
        _id(held.get("id"), "task.id"),
        _optional(held.get("contextId"), wire.MAX_ID),
        _status(held.get("status")),
        artifacts,
        [message_of(one) for one in _array(held, "history")],
    )


def message_of(value: Any) -> RemoteMessage:
    """Read a `Message`. One without an id gets one that follows from what it says.

    Raises:
        BadAnswer: it is none.
    """
    held = _object(value, "message")
    parts = _parts(held, "message")
    given = held.get("metadata")
    metadata = given if type(given) is dict else {}
    asked, failed = metadata.get(QUESTION), metadata.get(FAILURE)
    schema = asked.get("schema") if type(asked) is dict else None
    category = failed.get("category") if type(failed) is dict else None
    id = held.get("messageId")
    if type(id) is not str or not id or len(id) > wire.MAX_ID:
        id = hashlib.sha256(repr((id, parts)).encode()).hexdigest()[:32]
    return RemoteMessage(
        id,
        held.get("role") != "ROLE_USER",
        parts,
        _metadata(held),
        schema if type(schema) is dict else None,
        category if type(category) is str else None,
        _optional(held.get("taskId"), wire.MAX_ID),
        _optional(held.get("contextId"), wire.MAX_ID),
    )


def _status(value: Any) -> RemoteStatus:
    held = _object(value, "status")
    state = held.get("state")
    if state not in wire.STATES:
        raise BadAnswer(f"the remote agent tells a state that A2A does not know: {str(state)[:60]!r}")
    message = held.get("message")
    return RemoteStatus(
        state,
        None if message is None else message_of(message),
        _optional(held.get("timestamp"), 64) or "",
    )


def _whose(update: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task_id": _optional(update.get("taskId"), wire.MAX_ID),
        "context_id": _optional(update.get("contextId"), wire.MAX_ID),
    }


def _artifact(value: Any) -> RemoteArtifact:
    held = _object(value, "artifact")
    return RemoteArtifact(
        _id(held.get("artifactId"), "artifact.artifactId"),
        _parts(held, "artifact"),
        _optional(held.get("name"), _MAX_NAME),
        _optional(held.get("description"), 64 * 1024),
        _metadata(held),
    )


def _last(update: Mapping[str, Any]) -> bool:
    """Whether nothing follows. Many never say so; what does follow says it anew."""
    return update.get("lastChunk") is not False


def _parts(held: Mapping[str, Any], at: str) -> list[dict[str, Any]]:
    parts = _array(held, "parts")
    if len(parts) > wire.MAX_PARTS:
        raise BadAnswer(f"{at} has more than {wire.MAX_PARTS} parts")
    return [_part(part, at) for part in parts]


def _part(value: Any, at: str) -> dict[str, Any]:
    held = _object(value, f"{at}.parts")
    made: dict[str, Any] = {}
    text, raw, url = held.get("text"), held.get("raw"), held.get("url")
    if type(text) is str:
        made["text"] = text
    elif raw is not None:
        standard = base64_of(raw)
        if standard is None:
            raise BadAnswer(f"{at} has a part whose raw is no base64")
        made["raw"] = standard
    elif type(url) is str and 0 < len(url) <= wire.MAX_URL:
        made["url"] = url
    elif "data" in held:
        made["data"] = held["data"]
    else:
        raise BadAnswer(f"{at} has a part without text, raw, url and data")
    for theirs, ours, longest in (("mediaType", "media_type", 255), ("filename", "filename", 1024)):
        said = _optional(held.get(theirs), longest)
        if said is not None:
            made[ours] = said
    metadata = _metadata(held)
    return {**made, "metadata": metadata} if metadata else made


def _metadata(held: Mapping[str, Any]) -> dict[str, Any]:
    metadata = held.get("metadata")
    if type(metadata) is not dict:
        return {}
    return {name: value for name, value in metadata.items() if not name.startswith(OURS)}


def _object(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise BadAnswer(f"{what} is no object")
    return value


def _array(held: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = held.get(name)
    if value is None:
        return ()
    if type(value) is not list:
        raise BadAnswer(f"{name} is no array")
    return value


def _id(value: Any, what: str) -> str:
    if type(value) is not str or not 0 < len(value) <= wire.MAX_ID:
        raise BadAnswer(f"{what} is missing, or longer than {wire.MAX_ID} characters")
    return value


def _optional(value: Any, longest: int) -> str | None:
    return value[:longest] if type(value) is str and value else None
