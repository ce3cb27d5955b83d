"""What the hub says, as frozen values. Each keeps the whole JSON object as `raw`.

Only the fields that workers and callers reach for every day are spelled out; the API has more, and `raw`
has all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from schemas.vocabulary import TaskState

T = TypeVar("T")

FINAL = frozenset(
    state.wire for state in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED, TaskState.REJECTED)
)
"""The states that a task does not leave by itself."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task as it stood when it was read."""

    id: str
    title: str
    state: str
    input: Any
    output: Any
    error: Mapping[str, Any] | None
    version: int
    """The number of the task's newest event in this snapshot."""
    context_id: str | None
    timeout_minutes: float | None
    raw: Mapping[str, Any]

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in FINAL

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read a task of the API."""
        return cls(**_task_fields(raw))


@dataclass(frozen=True, kw_only=True)
class Claim(Task):
    """A task that the caller executes, for as long as its lease lives."""

    lease_id: str
    lease_expires_at: datetime | None
    attempt: int

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read a claimed task of the API."""
        return cls(
            **_task_fields(raw),
            lease_id=str(raw["lease_id"]),
            lease_expires_at=_instant(raw.get("lease_expires_at")),
            attempt=int(raw.get("attempt") or 1),
        )


@dataclass(frozen=True, kw_only=True)
class Lease:
    """How long the caller may go on, and whether it was asked to stop."""

    expires_at: datetime | None
    cancel_requested: bool
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read the answer of the lease route."""
        return cls(
            expires_at=_instant(raw.get("lease_expires_at")),
            cancel_requested=bool(raw.get("cancel_requested")),
            raw=raw,
        )


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What the executor of a turn is told of its session."""

    session_id: str
    cwd: str
    additional_directories: Sequence[str]
    autonomy: str
    config: Mapping[str, Any]
    mcp_servers: Sequence[Mapping[str, Any]] = field(repr=False)
    agent_session_id: str | None
    forked_from: str | None
    turn: int

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read the answer of the session route."""
        return cls(
            session_id=str(raw["session_id"]),
            cwd=str(raw.get("cwd") or ""),
            additional_directories=tuple(raw.get("additional_directories") or ()),
            autonomy=str(raw.get("autonomy") or "ask"),
            config=raw.get("config") or {},
            mcp_servers=tuple(raw.get("mcp_servers") or ()),
            agent_session_id=raw.get("agent_session_id"),
            forked_from=raw.get("forked_from"),
            turn=int(raw.get("turn") or 0),
        )


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of a task's conversation."""

    id: str
    role: str
    parts: Sequence[Mapping[str, Any]]
    raw: Mapping[str, Any]

    @property
    def text(self) -> str:
        """Its text parts, in order."""
        return text_of(self.parts)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read a message of the API."""
        return cls(
            id=str(raw.get("message_id") or raw.get("id") or ""),
            role=str(raw.get("role") or ""),
            parts=tuple(raw.get("parts") or ()),
            raw=raw,
        )


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something that an executor made, as it stands after the call."""

    id: str
    name: str | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read an artifact of the API."""
        return cls(id=str(raw.get("artifact_id") or raw.get("id") or ""), name=raw.get("name"), raw=raw)


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent. `api_key` is there once, in the answer to its registration."""

    id: str
    name: str
    status: str | None
    api_key: str | None
    raw: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Agent(id={self.id!r}, name={self.name!r}, status={self.status!r})"  # never the key

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read an agent of the API."""
        return cls(
            id=str(raw["id"]),
            name=str(raw.get("name") or ""),
            status=raw.get("status"),
            api_key=raw.get("api_key"),
            raw=raw,
        )


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Something that somebody must allow."""

    id: str
    kind: str
    status: str
    task_id: str | None
    title: str | None
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """Read an approval of the API."""
        return cls(
            id=str(raw["id"]),
            kind=str(raw.get("kind") or ""),
            status=str(raw.get("status") or ""),
            task_id=raw.get("task_id"),
            title=raw.get("title"),
            raw=raw,
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of the log. `id` is the cursor to read on from."""

    id: str
    type: str
    entity_type: str | None
    entity_id: str | None
    version: int | None
    """For an event of a task: its number among that task's events, without a gap."""
    data: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any], *, cursor: str | None = None) -> Self:
        """Read an event of the API; `cursor` is the id under which a stream delivered it."""
        version = raw.get("version")
        return cls(
            id=cursor or str(raw["id"]),
            type=str(raw.get("type") or ""),
            entity_type=raw.get("entity_type"),
            entity_id=raw.get("entity_id"),
            version=int(version) if version is not None else None,
            data=raw.get("data") or {},
            raw=raw,
        )


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a list, and what the hub says about the rest."""

    items: Sequence[T]
    meta: Mapping[str, Any]

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return int(self.meta.get("pages") or 1)

    @property
    def next_after(self) -> str | None:
        """The cursor to go on from, for lists that are read by cursor."""
        cursor = self.meta.get("next_after")
        return None if cursor is None else str(cursor)

    @property
    def has_more(self) -> bool:
        """Whether a cursor list goes on."""
        return bool(self.meta.get("has_more"))


def text_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """The text parts among `parts`, joined as they stand."""
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _task_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(raw["id"]),
        "title": str(raw.get("title") or ""),
        "state": str(raw.get("state") or ""),
        "input": raw.get("input"),
        "output": raw.get("output"),
        "error": raw.get("error"),
        "version": int(raw.get("version") or 0),
        "context_id": raw.get("context_id"),
        "timeout_minutes": raw.get("timeout_minutes"),
        "raw": raw,
    }


def _instant(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
