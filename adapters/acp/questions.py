"""What a session's owner is asked, as a client is asked it: permissions and elicitations. Pure.

An executor that drives an ACP agent hands on what the agent asked: a permission's subject holds `toolCall`,
and the first part of a question holds the elicitation under `acp/elicitation` in its metadata. What another
executor asks is put into the same words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from adapters.acp import wire
from adapters.acp.capabilities import ClientCapabilities
from adapters.acp.content import as_text
from core.approvals import Approval
from core.tail import Event
from core.tasks.task import InputRequest

RAW: Final = "acp/elicitation"
_ANSWER: Final = "answer"
_FLAT: Final = frozenset({"string", "number", "integer", "boolean", "array"})
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What could make a text look like another one."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A pending approval."""

    id: UUID
    task_id: UUID
    title: str
    subject: Any
    options: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, approval: Approval) -> "Permission":
        """From the approval."""
        assert approval.task_id is not None, "a session's approvals are about its turns"
        return cls(approval.id, approval.task_id, approval.title, approval.subject, approval.options)

    @classmethod
    def in_event(cls, event: Event) -> "Permission":
        """From the event that told of it."""
        data = event.data
        return cls(
            UUID(data["approval_id"]), UUID(data["task_id"]), data["title"], data["subject"], data["options"]
        )

    def params(self, session_id: str) -> dict[str, Any]:
        """The parameters of `session/request_permission`."""
        subject = self.subject if isinstance(self.subject, Mapping) else {}
        call = subject.get("toolCall")
        if not isinstance(call, Mapping) or not isinstance(call.get("toolCallId"), str):
            call = {"toolCallId": f"approval_{self.id}", "kind": "other", "status": "pending"}
            if self.subject is not None:
                call["rawInput"] = self.subject
        meta = subject.get(wire.META)
        return {
            "sessionId": session_id,
            "toolCall": {**call, "title": visible(str(call.get("title") or self.title))},
            "options": [
                {
                    **{name: value for name, value in option.items() if name != "id"},
                    "optionId": str(option["id"]),
                    "name": visible(str(option.get("name") or option["id"])),
                    "kind": option.get("kind") or "allow_once",
                }
                for option in self.options
            ],
            wire.META: {
                **(meta if isinstance(meta, Mapping) else {}),
                wire.APPROVAL: str(self.id),
                wire.TASK: str(self.task_id),
            },
        }


def chosen_option(answer: Any) -> str | None:
    """The option that an answer names; None when it was cancelled, or says nothing that can be read."""
    outcome = answer.get("outcome") if isinstance(answer, Mapping) else None
    if isinstance(outcome, Mapping) and outcome.get("outcome") == "selected":
        option = outcome.get("optionId")
        return option if isinstance(option, str) else None
    return None


def was_cancelled(answer: Any) -> bool:
    """Whether the user put the question away together with the turn."""
    outcome = answer.get("outcome") if isinstance(answer, Mapping) else None
    return isinstance(outcome, Mapping) and outcome.get("outcome") == "cancelled"


@dataclass(frozen=True, slots=True)
class Question:
    """An open input request."""

    id: UUID
    task_id: UUID
    kind: str
    parts: Sequence[Mapping[str, Any]]
    schema: Mapping[str, Any] | None

    @classmethod
    def of(cls, request: InputRequest) -> "Question":
        """From the request."""
        return cls(request.id, request.task_id, request.kind.value, request.parts, request.schema)

    @classmethod
    def in_event(cls, event: Event) -> "Question":
        """From the event that told of it."""
        data = event.data
        return cls(
            UUID(data["input_id"]), UUID(data["task_id"]), data["kind"], data["message"] or (), data["schema"]
        )

    @property
    def raw(self) -> Mapping[str, Any] | None:
        """What an ACP agent asked, word by word."""
        metadata = self.parts[0].get("metadata") if self.parts else None
        raw = metadata.get(RAW) if isinstance(metadata, Mapping) else None
        return raw if isinstance(raw, Mapping) else None

    @property
    def text(self) -> str:
        """The question in words."""
        said = [
            part["text"] if "text" in part else as_text(part.get("url", part.get("data")))
            for part in self.parts
        ]
        return "\n".join(said)

    @property
    def url(self) -> str | None:
        """Where the user is to go, when that is what is asked."""
        found = (self.raw or {}).get("url") if self.raw else None
        found = found or next((part["url"] for part in self.parts if "url" in part), None)
        return found if isinstance(found, str) and found.startswith(("https://", "http://")) else None

    def params(self, session_id: str, client: ClientCapabilities) -> dict[str, Any] | None:
        """The parameters of `elicitation/create`; None where this client cannot show the question."""
        raw = self.raw
        about = {"sessionId": session_id, wire.META: {wire.INPUT: str(self.id), wire.TASK: str(self.task_id)}}
        if raw is not None:
            shown = client.elicitation_url if raw.get("mode") == "url" else client.elicitation_form
            kept = {name: value for name, value in raw.items() if name != "requestId"}
            return {**kept, **about} if shown else None
        if self.kind == "auth" and self.url is not None:
            if not client.elicitation_url:
                return None
            where = {"mode": "url", "elicitationId": str(self.id), "url": self.url}
            return {**about, **where, "message": visible(self.text)}
        schema = _ONE_TEXT if self.schema is None else self.schema
        if not client.elicitation_form or not _flat(schema):
            return None
        return {**about, "mode": "form", "message": visible(self.text), "requestedSchema": dict(schema)}

    def answer(self, result: Any) -> dict[str, Any] | None:
        """`data` or `parts` of the answer that a client gave; None when it gave none that could be taken."""
        action = result.get("action") if isinstance(result, Mapping) else None
        content = result.get("content") if isinstance(result, Mapping) else None
        if action not in ("accept", "decline", "cancel"):
            return None
        if self.raw is not None:
            said = {"action": action}
            return {
                "data": {**said, "content": content} if action == "accept" and content is not None else said
            }
        if action != "accept":
            return None
        if self.kind == "auth" and self.url is not None:
            return {"data": {"action": action}}
        if not isinstance(content, Mapping):
            return None
        if self.schema is not None:
            return {"data": dict(content)}
        given = content.get(_ANSWER)
        return {"parts": [{"text": given}]} if isinstance(given, str) else None


_ONE_TEXT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {_ANSWER: {"type": "string", "title": "Answer"}},
    "required": [_ANSWER],
}


def _flat(schema: Mapping[str, Any]) -> bool:
    """Whether a form can show it: an object of plain members."""
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, Mapping) or not properties:
        return False
    return all(
        isinstance(member, Mapping)
        and (member.get("type") in _FLAT or "enum" in member or "oneOf" in member)
        and (member.get("type") != "array" or _choices(member.get("items")))
        for member in properties.values()
    )


def _choices(items: Any) -> bool:
    return isinstance(items, Mapping) and ("enum" in items or "anyOf" in items or "oneOf" in items)


def visible(text: str) -> str:
    """The text with everything invisible written out, since a human decides by it."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
