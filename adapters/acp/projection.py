"""From the log to what a client is told: one event, its `session/update`s, in order. Pure.

What an ACP agent said comes out as it went in. What another executor said is put into the same words, so that
an editor needs not know who does its turns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters import jsonrpc
from adapters.acp import wire
from adapters.acp.commands import plan
from adapters.acp.content import blocks_of, output_blocks
from adapters.jsonrpc_peer import RpcError
from core.sessions.turns import Turn
from core.tail import Event
from core.tasks.task import Task
from core.transitions import ASKING, FINAL
from core.workflows.fronts import PLAN
from schemas.vocabulary import TaskState

Update = dict[str, Any]

STOP_REASONS: Final = frozenset({"end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"})
_MERGED: Final = frozenset({"user_message_chunk", "agent_message_chunk", "agent_thought_chunk"})
_STANDING: Final = frozenset(
    {
        "available_commands_update",
        "current_mode_update",
        "config_option_update",
        "session_info_update",
        "usage_update",
    }
)
"""Kinds of which a later one says all that the earlier said."""
_FINAL_WORDS: Final = frozenset(state.wire for state in FINAL)
_ASKING_WORDS: Final = frozenset(state.wire for state in ASKING)


@dataclass(frozen=True, slots=True)
class Said:
    """One update: with its place in the log, and what its agent put beside it."""

    update: Update
    position: int
    index: int
    task_id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    """The agent's name of a session below this one, where the update is about that."""

    @property
    def place(self) -> tuple[int, int]:
        """Comparable with a client's cursor."""
        return self.position, self.index

    @property
    def stands(self) -> bool:
        """Whether it says all that an earlier one of its kind said."""
        return self.update.get("sessionUpdate") in _STANDING

    def params(self, session_id: str) -> dict[str, Any]:
        """The parameters of `session/update`."""
        meta = {**self.meta, wire.SEQ: f"{self.position}.{self.index}"}
        if self.task_id is not None:
            meta[wire.TASK] = self.task_id
        if self.session_id is not None:
            meta[wire.SESSION] = session_id
        return {"sessionId": self.session_id or session_id, "update": self.update, wire.META: meta}


def chunk(role: str, block: Mapping[str, Any], message_id: str) -> Update:
    """One block of a message of `user` or `agent`."""
    return {"sessionUpdate": f"{role}_message_chunk", "content": dict(block), "messageId": message_id}


def chunks(role: str, blocks: Sequence[Mapping[str, Any]], message_id: str) -> list[Update]:
    """A message."""
    return [chunk(role, block, message_id) for block in blocks]


def prompt_of(task: Task) -> list[Update]:
    """What the user said that made this turn, as it was said."""
    given = task.input
    blocks = given.get("prompt") if isinstance(given, Mapping) else None
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        parts = given.get("parts") if isinstance(given, Mapping) else None
        blocks = blocks_of(parts) if isinstance(parts, Sequence) and not isinstance(parts, str) else None
    if blocks is None:
        blocks = [{"type": "text", "text": task.description or task.title}]
    return chunks("user", blocks, f"m_{task.id}_0")


def client_of(task: Task) -> str | None:
    """Who said it, by the name that clients give themselves."""
    said = task.extras.get("acp")
    client = said.get("client") if isinstance(said, Mapping) else None
    return client if isinstance(client, str) else None


def begins(event: Event) -> bool:
    """Whether the turn's prompt is to be told before this: it leaves the queue for the first time."""
    if event.kind != "task.state_changed":
        return False
    data = event.data
    if data["move"] == "claim":
        return bool(data["attempt"] == 1)
    return data["to_state"] in _FINAL_WORDS and data["attempt"] == 0


def ends(event: Event) -> bool:
    """Whether the turn is over."""
    return event.kind == "task.state_changed" and event.data["to_state"] in _FINAL_WORDS


def asks(event: Event) -> bool:
    """Whether it asks for input."""
    if event.kind == "task.input_requested":
        return True
    return event.kind == "task.state_changed" and event.data["to_state"] in _ASKING_WORDS


def posted(event: Event) -> Iterator[tuple[int, Update, Mapping[str, Any], str | None]]:
    """What an ACP agent said: index, update, `_meta` and, for a session below, that session's name."""
    for index, raw in enumerate(event.data["updates"]):
        if isinstance(raw.get("update"), dict):
            meta, below = raw.get(wire.META), raw.get("childSessionId")
            yield (
                index,
                raw["update"],
                meta if isinstance(meta, dict) else {},
                below if isinstance(below, str) else None,
            )
        elif isinstance(raw.get("sessionUpdate"), str):
            yield index, raw, {}, None


def message_of(event: Event, parts: Sequence[Mapping[str, Any]]) -> list[Update]:
    """What somebody said in a task."""
    data = event.data
    stages = data["metadata"].get(PLAN)
    if isinstance(stages, list):
        return [plan(stages)]
    role = "agent" if data["role"] == "agent" else "user"
    return chunks(role, blocks_of(parts), data["message_id"])


def artifact_of(event: Event, parts: Sequence[Mapping[str, Any]]) -> list[Update]:
    """What an executor brought."""
    return chunks("agent", blocks_of(parts), f"a_{event.task_id}_{event.data['artifact_id']}")


def last_words(turn: Turn) -> list[Update]:
    """What the end of a turn tells by itself, when its executor told nothing on the way."""
    task = turn.task
    if task.state is TaskState.COMPLETED and not turn.spoke:
        return chunks("agent", output_blocks(task.output), f"m_{task.id}_1")
    if task.state is TaskState.REJECTED and task.status_message:
        return chunks("agent", blocks_of(task.status_message), f"m_{task.id}_1")
    return []


def outcome(task: Task) -> dict[str, Any] | RpcError:
    """How `session/prompt` is answered when its turn is over."""
    meta = {wire.META: {wire.TASK: str(task.id)}}
    if task.state is TaskState.CANCELLED or task.cancel_requested_at is not None:
        return {"stopReason": "cancelled", **meta}
    if task.state is TaskState.FAILED:
        error = task.error or {}
        data = {"taskId": str(task.id), "category": error.get("category")}
        return RpcError(jsonrpc.INTERNAL_ERROR, str(error.get("message") or "The turn failed."), data)
    if task.state is TaskState.REJECTED:
        return {"stopReason": "refusal", **meta}
    output = task.output if isinstance(task.output, Mapping) else {}
    reason = output.get("stopReason")
    result = {"stopReason": reason if reason in STOP_REASONS else "end_turn", **meta}
    if isinstance(output.get("usage"), Mapping):
        result["usage"] = dict(output["usage"])
    return result


def pauses(task: Task) -> dict[str, Any]:
    """How `session/prompt` is answered when its turn waits for what the user says next."""
    return {"stopReason": "end_turn", wire.META: {wire.TASK: str(task.id), "crossdock/asks": True}}


class Merger:
    """Makes a past short: chunks of one message become one, and of what stands the last comes at the end."""

    def __init__(self) -> None:
        self._open: Said | None = None
        self._standing: dict[str, Said] = {}

    def add(self, said: Said) -> Iterator[Said]:
        """Take one more; what is complete comes out."""
        kind = said.update.get("sessionUpdate")
        if kind in _STANDING:
            self._standing[str(kind)] = said
            return
        if self._open is not None and _one_message(self._open, said):
            merged = {
                **said.update,
                "content": {
                    **said.update["content"],
                    "text": self._open.update["content"]["text"] + said.update["content"]["text"],
                },
            }
            self._open = Said(merged, said.position, said.index, said.task_id, said.meta)
            return
        if self._open is not None:
            yield self._open
        self._open = said if _is_text(said) else None
        if self._open is None:
            yield said

    def end(self) -> Iterator[Said]:
        """What is left."""
        if self._open is not None:
            yield self._open
        yield from sorted(self._standing.values(), key=lambda said: said.place)


def _is_text(said: Said) -> bool:
    update = said.update
    content = update.get("content")
    return (
        update.get("sessionUpdate") in _MERGED
        and not said.meta
        and said.session_id is None
        and wire.META not in update
        and isinstance(content, dict)
        and content.keys() == {"type", "text"}
        and isinstance(content["text"], str)
    )


def _one_message(first: Said, second: Said) -> bool:
    return (
        _is_text(second)
        and first.task_id == second.task_id
        and first.update["sessionUpdate"] == second.update["sessionUpdate"]
        and first.update.get("messageId") == second.update.get("messageId")
    )
