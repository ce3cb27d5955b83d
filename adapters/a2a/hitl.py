"""The public extension hitl/v1 (https://kagent.dev/extensions/hitl/v1): a person in the loop, as data.

Its payloads travel in a message's metadata under the extension's URI, which the message also lists among
its `extensions`. Pure: what a task waits for is read from the status message that every client gets, and an
answer becomes a value that `reply.py` acts on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from adapters.a2a import wire
from adapters.a2a.errors import invalid
from adapters.a2a.extensions import HITL
from adapters.a2a.protojson import Params

_AT: Final = f"message.metadata[{HITL}]"
_ALLOWED: Final = frozenset({"true", "yes"})
_DENIED: Final = frozenset({"false", "no"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody decided about one request for leave."""

    id: str
    approved: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """A `tool_approval_response`."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class Answers:
    """An `ask_user_response`: the words for each question, in the order in which they were asked."""

    id: str
    words: Sequence[Sequence[str]]


Response: TypeAlias = Decisions | Answers


def shown(value: Mapping[str, Any]) -> dict[str, Any]:
    """A result or a frame with what its tasks wait for told as hitl/v1 has it."""
    if "status" in value:
        return {**value, "status": _status(value["status"])}
    if "tasks" in value:
        return {**value, "tasks": [shown(task) for task in value["tasks"]]}
    return {
        name: shown(inner) if name in ("task", "statusUpdate") else inner for name, inner in value.items()
    }


def _status(status: Mapping[str, Any]) -> Mapping[str, Any]:
    message = status.get("message")
    if status["state"] != wire.INPUT_REQUIRED or message is None:
        return status
    payload = _question(message) or _request(message)
    if payload is None:
        return status
    extended = {
        **message,
        "extensions": [*message.get("extensions", ()), HITL],
        "metadata": {**message.get("metadata", {}), HITL: payload},
    }
    return {**status, "message": extended}


def _question(message: Mapping[str, Any]) -> dict[str, Any] | None:
    about = message.get("metadata", {}).get("crossdock/input")
    if about is None:
        return None
    words = "\n".join(str(part["text"]) for part in message["parts"] if "text" in part)
    questions = [
        _asked(schema, str(schema.get("title") or schema.get("description") or name or words or "?"))
        for name, schema in _fields(about.get("schema"))
    ]
    return {"type": "ask_user_request", "id": about["id"], "questions": questions}


def _asked(schema: Mapping[str, Any], question: str) -> dict[str, Any]:
    multiple = schema.get("type") == "array"
    among = schema.get("items", {}) if multiple else schema
    choices = [_word(choice) for choice in _choices(among)]
    return {"question": question, "choices": choices, "multiple": multiple}


def _choices(schema: Any) -> Sequence[Any]:
    given = schema.get("enum") if isinstance(schema, Mapping) else None
    return given if isinstance(given, list) else ()


def _word(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _fields(schema: Any) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """What a schema asks for: its properties, those first that must be there, or the whole under no name."""
    if not isinstance(schema, Mapping):
        return [("", {})]
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return [("", schema)]
    required = schema.get("required")
    first = required if isinstance(required, list) else ()
    # By name: a database may keep the members of an object in an order of its own.
    names = sorted(properties, key=lambda name: (name not in first, name))
    return [(name, properties[name] if isinstance(properties[name], Mapping) else {}) for name in names]


def _request(message: Mapping[str, Any]) -> dict[str, Any] | None:
    for part in message["parts"]:
        data = part.get("data")
        if isinstance(data, Mapping) and isinstance(data.get("approval"), Mapping):
            return _tool(data["approval"])
    return None


def _tool(approval: Mapping[str, Any]) -> dict[str, Any]:
    subject = approval.get("subject")
    about = subject if isinstance(subject, Mapping) else {}
    arguments = about.get("arguments", about.get("rawInput", about))
    tool = {
        "id": approval["id"],
        "call_id": str(about.get("call_id") or about.get("toolCallId") or approval["id"]),
        "name": str(about.get("tool") or about.get("name") or approval["kind"]),
        "args": dict(arguments) if isinstance(arguments, Mapping) else {},
    }
    return {"type": "tool_approval_request", "hint": approval["title"], "tools": [tool]}


def response_in(metadata: Mapping[str, Any]) -> Response | None:
    """The answer that a message's metadata carries; None where the message does not list the extension.

    Raises:
        A2AError: InvalidParams, it is no answer.
    """
    carried = metadata.get(wire.CARRIED)
    if not isinstance(carried, Mapping) or HITL not in carried.get("extensions", ()):
        return None
    payload = metadata.get(HITL)
    if payload is None:
        return None
    if not isinstance(payload, Mapping):
        raise invalid(_AT, "must be an object")
    match payload.get("type"):
        case "tool_approval_response":
            return _decisions(payload)
        case "ask_user_response":
            return _answers(payload)
    raise invalid(f"{_AT}.type", "must be tool_approval_response or ask_user_response")


def _decisions(payload: Params) -> Decisions:
    given = payload.get("approvals")
    if not isinstance(given, list) or not given:
        raise invalid(f"{_AT}.approvals", "must hold at least one decision")
    verdicts: list[Verdict] = []
    for n, item in enumerate(given):
        at = f"{_AT}.approvals[{n}]"
        if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
            raise invalid(f"{at}.id", "is required")
        if type(item.get("approved")) is not bool:
            raise invalid(f"{at}.approved", "must be true or false")
        reason = item.get("rejection_reason")
        if reason is not None and not isinstance(reason, str):
            raise invalid(f"{at}.rejection_reason", "must be a string")
        if any(item["id"] == known.id for known in verdicts):
            raise invalid(f"{at}.id", "is decided twice")
        verdicts.append(Verdict(item["id"], item["approved"], reason))
    return Decisions(verdicts)


def _answers(payload: Params) -> Answers:
    id, given = payload.get("id"), payload.get("answers")
    if not isinstance(id, str):
        raise invalid(f"{_AT}.id", "is required")
    if not isinstance(given, list) or not given:
        raise invalid(f"{_AT}.answers", "must answer every question")
    words: list[Sequence[str]] = []
    for n, item in enumerate(given):
        said = item.get("answer") if isinstance(item, Mapping) else None
        if not isinstance(said, list) or not all(isinstance(word, str) for word in said):
            raise invalid(f"{_AT}.answers[{n}].answer", "must be an array of strings")
        words.append(said)
    return Answers(id, words)


def value_of(answers: Answers, schema: Mapping[str, Any] | None) -> Any:
    """The answer as the value that the question's schema describes; without a schema, its words.

    Raises:
        A2AError: InvalidParams, there are more or fewer answers than questions.
    """
    fields = _fields(schema)
    if len(answers.words) != len(fields):
        raise invalid(f"{_AT}.answers", f"must answer every question: there are {len(fields)}")
    if len(fields) == 1 and not fields[0][0]:
        return _value(answers.words[0], fields[0][1])
    return {
        name: _value(words, inner)
        for words, (name, inner) in zip(answers.words, fields, strict=True)
        if words
    }


def _value(words: Sequence[str], schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array":
        items = schema.get("items")
        return [_scalar(word, items if isinstance(items, Mapping) else {}) for word in words]
    return _scalar(words[0] if len(words) == 1 else ", ".join(words), schema)


def _scalar(word: str, schema: Mapping[str, Any]) -> Any:
    """A word as what it stands for; one that stands for nothing is left to be refused by the schema."""
    for choice in _choices(schema):
        if _word(choice) == word:
            return choice
    kind = schema.get("type")
    if kind == "boolean" and word.strip().lower() in _ALLOWED | _DENIED:
        return word.strip().lower() in _ALLOWED
    try:
        if kind == "integer":
            return int(word)
        if kind == "number" and math.isfinite(float(word)):
            return float(word)
    except ValueError:
        pass
    return word
