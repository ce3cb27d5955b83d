"""What arrives, checked: A2A requests as ProtoJSON (specification §5.5 to §5.7), read into frozen values.

Unknown fields are ignored, `null` and empty strings are absent, enumerations are names. Everything that is
wrong with a request is gathered and told at once. Nothing here knows a binding or asks the platform.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from adapters.a2a.errors import INVALID_PARAMS, A2AError, Violation

Params = Mapping[str, Any]

STATES: Final = (
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
)
SUBMITTED, WORKING, COMPLETED, FAILED, CANCELED, INPUT_REQUIRED, REJECTED, AUTH_REQUIRED = STATES
UNSPECIFIED: Final = "TASK_STATE_UNSPECIFIED"
TERMINAL: Final = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
INTERRUPTED: Final = frozenset({INPUT_REQUIRED, AUTH_REQUIRED})

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 100
MAX_PARTS: Final = 1_000
MAX_ID: Final = 255
MAX_URL: Final = 8192
CARRIED: Final = "a2a:message"
"""Under this key a message's metadata carry what core has no member for: extensions and references."""

_CONTENTS: Final = ("text", "raw", "url", "data")
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
_INTEGER: Final = re.compile(r"-?\d{1,10}")
_URL_SAFE: Final = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class SendMessage:
    """`SendMessageRequest`. Parts are the platform's, ready for core."""

    tenant: str | None
    message_id: str
    task_id: str | None
    context_id: str | None
    parts: Sequence[dict[str, Any]]
    message_metadata: Mapping[str, Any]
    metadata: Mapping[str, Any]
    accepted_output_modes: Sequence[str]
    history_length: int | None
    return_immediately: bool
    push: Params | None


@dataclass(frozen=True, slots=True)
class OneTask:
    """A request about one task: get, cancel, subscribe, and the push configurations of a task."""

    tenant: str | None
    id: str
    history_length: int | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ListTasks:
    """`ListTasksRequest`."""

    tenant: str | None
    context_id: str | None
    state: str | None
    page_size: int
    page_token: str | None
    history_length: int | None
    status_after: datetime | None
    include_artifacts: bool


class _Reader:
    """Reads members of one object and gathers what is wrong, so that a caller hears it all at once."""

    __slots__ = ("at", "source", "wrong")

    def __init__(self, source: Params, wrong: list[Violation], at: str = "") -> None:
        self.source = source
        self.wrong = wrong
        self.at = at

    def refuse(self, name: str, why: str) -> None:
        self.wrong.append(Violation(self.at + name, why))

    def text(self, name: str, *, required: bool = False, longest: int | None = None) -> str | None:
        value = self.source.get(name)
        if type(value) is str and value:
            if longest is not None and len(value) > longest:
                self.refuse(name, f"at most {longest} characters")
            return value
        if value is not None and value != "":
            self.refuse(name, "must be a string")
        elif required:
            self.refuse(name, "is required")
        return None

    def flag(self, name: str) -> bool:
        value = self.source.get(name)
        if value is True or value == "true":
            return True
        if value is None or value is False or value == "false":
            return False
        self.refuse(name, "must be true or false")
        return False

    def number(self, name: str, *, least: int, most: int | None = None) -> int | None:
        """An int32; a string of digits too, as ProtoJSON and query strings write it."""
        value = self.source.get(name)
        if value is None:
            return None
        digits = type(value) is str and _INTEGER.fullmatch(value) is not None
        if digits or (type(value) is float and value.is_integer()):
            value = int(value)
        if type(value) is not int or not -(2**31) <= value < 2**31:
            self.refuse(name, "must be a 32-bit integer")
        elif value < least or (most is not None and value > most):
            self.refuse(name, f"must be at least {least}" if most is None else f"must be {least} to {most}")
        else:
            return value
        return None

    def object(self, name: str, *, required: bool = False) -> Params | None:
        value = self.source.get(name)
        if type(value) is dict:
            return value
        if value is not None:
            self.refuse(name, "must be an object")
        elif required:
            self.refuse(name, "is required")
        return None

    def texts(self, name: str) -> Sequence[str]:
        value = self.source.get(name)
        if value is None:
            return ()
        if type(value) is list and all(type(item) is str for item in value):
            return value
        self.refuse(name, "must be an array of strings")
        return ()

    def finish(self) -> None:
        if self.wrong:
            first = self.wrong[0]
            more = f" (and {len(self.wrong) - 1} more)" if len(self.wrong) > 1 else ""
            raise A2AError(
                INVALID_PARAMS, f"{first.field}: {first.description}{more}", violations=tuple(self.wrong)
            )


def params_of(value: Any) -> Params:
    """The parameters of a call: an object, or nothing.

    Raises:
        A2AError: InvalidParams, they are something else.
    """
    if value is None:
        return {}
    if type(value) is not dict:
        raise A2AError(INVALID_PARAMS, "params must be an object")
    return value


def send_message(params: Params) -> SendMessage:
    """Read a `SendMessageRequest`.

    Raises:
        A2AError: InvalidParams, with every field that is wrong.
    """
    wrong: list[Violation] = []
    request = _Reader(params, wrong)
    given = request.object("message", required=True)
    message = _Reader(given or {}, wrong if given is not None else [], "message.")
    chosen = request.object("configuration") or {}
    configuration = _Reader(chosen, wrong, "configuration.")
    role = message.source.get("role")
    if role is None or role == "ROLE_UNSPECIFIED":
        message.refuse("role", "is required")
    elif role != "ROLE_USER":
        message.refuse("role", "must be ROLE_USER: a client speaks as the user")
    read = SendMessage(
        tenant=request.text("tenant"),
        message_id=message.text("messageId", required=True, longest=MAX_ID) or "",
        task_id=message.text("taskId"),
        context_id=message.text("contextId", longest=MAX_ID),
        parts=_parts(message),
        message_metadata=_message_metadata(message),
        metadata=request.object("metadata") or {},
        accepted_output_modes=configuration.texts("acceptedOutputModes"),
        history_length=configuration.number("historyLength", least=0),
        return_immediately=configuration.flag("returnImmediately"),
        push=configuration.object("taskPushNotificationConfig"),
    )
    request.finish()
    return read


def one_task(params: Params, *, id_field: str = "id") -> OneTask:
    """Read a request about one task.

    Raises:
        A2AError: InvalidParams, with every field that is wrong.
    """
    request = _Reader(params, [])
    read = OneTask(
        tenant=request.text("tenant"),
        id=request.text(id_field, required=True) or "",
        history_length=request.number("historyLength", least=0),
        metadata=request.object("metadata"),
    )
    request.finish()
    return read


def list_tasks(params: Params) -> ListTasks:
    """Read a `ListTasksRequest`.

    Raises:
        A2AError: InvalidParams, with every field that is wrong.
    """
    request = _Reader(params, [])
    state = request.text("status")
    if state == UNSPECIFIED:
        state = None
    elif state is not None and state not in STATES:
        request.refuse("status", f"must be one of {', '.join(STATES)}")
    page_size = request.number("pageSize", least=1, most=MAX_PAGE_SIZE)
    read = ListTasks(
        tenant=request.text("tenant"),
        context_id=request.text("contextId"),
        state=state,
        page_size=PAGE_SIZE if page_size is None else page_size,
        page_token=request.text("pageToken"),
        history_length=request.number("historyLength", least=0),
        status_after=_timestamp(request, "statusTimestampAfter"),
        include_artifacts=request.flag("includeArtifacts"),
    )
    request.finish()
    return read


def tenant_of(params: Params) -> str | None:
    """The tenant of a request that has no other member.

    Raises:
        A2AError: InvalidParams, it is no string.
    """
    request = _Reader(params, [])
    tenant = request.text("tenant")
    request.finish()
    return tenant


def accepts(modes: Sequence[str], media_type: str) -> bool:
    """Whether a media type is one of `modes`; a mode may end in `/*`, and parameters do not count."""
    bare = media_type.partition(";")[0].strip().lower()
    family = bare.partition("/")[0] + "/*"
    return any(mode in (bare, family, "*/*") for mode in modes)


def _parts(message: _Reader) -> Sequence[dict[str, Any]]:
    parts = message.source.get("parts")
    if parts is None or parts == []:
        message.refuse("parts", "must hold at least one part")
    elif type(parts) is not list:
        message.refuse("parts", "must be an array")
    elif len(parts) > MAX_PARTS:
        message.refuse("parts", f"at most {MAX_PARTS} parts")
    else:
        return [_part(message, part, f"parts[{index}]") for index, part in enumerate(parts)]
    return []


def _part(message: _Reader, part: Any, at: str) -> dict[str, Any]:
    if type(part) is not dict:
        message.refuse(at, "must be an object")
        return {}
    # A null `data` is a value (google.protobuf.Value); of the others null means absent.
    held = [name for name in _CONTENTS if name in part and (name == "data" or part[name] is not None)]
    if len(held) != 1:
        said = f"this one holds {' and '.join(held)}" if held else "this one holds none"
        message.refuse(at, f"a part holds exactly one of text, raw, url and data; {said}")
        return {}
    name = held[0]
    value = part[name]
    if name != "data":
        value = _CHECKED[name](value)
        if value is None:
            message.refuse(f"{at}.{name}", _WANTED[name])
    made = {name: value}
    for theirs, ours, wanted, longest in _PART_EXTRAS:
        extra = part.get(theirs)
        if extra is None or extra == "":
            continue
        if type(extra) is not wanted:
            message.refuse(f"{at}.{theirs}", "must be an object" if wanted is dict else "must be a string")
        elif longest is not None and len(extra) > longest:
            message.refuse(f"{at}.{theirs}", f"at most {longest} characters")
        made[ours] = extra
    return made


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _url(value: Any) -> str | None:
    return value if type(value) is str and 0 < len(value) <= MAX_URL else None


def _base64(value: Any) -> str | None:
    """Standard base64 with padding, from any form that ProtoJSON takes (URL-safe, unpadded)."""
    if type(value) is not str:
        return None
    standard = value.translate(_URL_SAFE).rstrip("=")
    standard += "=" * (-len(standard) % 4)
    try:
        base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        return None
    return standard


_CHECKED: Final[Mapping[str, Callable[[Any], str | None]]] = {"text": _text, "url": _url, "raw": _base64}
_WANTED: Final = {
    "text": "must be a string",
    "url": "must be a URL of at most 8192 characters",
    "raw": "must be base64",
}
_PART_EXTRAS: Final = (
    ("mediaType", "media_type", str, 255),
    ("filename", "filename", str, 1024),
    ("metadata", "metadata", dict, None),
)


def _message_metadata(message: _Reader) -> Mapping[str, Any]:
    metadata = message.object("metadata") or {}
    carried: dict[str, Any] = {}
    for name in ("extensions", "referenceTaskIds"):
        said = message.texts(name)
        if said:
            carried[name] = said
    return {**metadata, CARRIED: carried} if carried else metadata


def _timestamp(request: _Reader, name: str) -> datetime | None:
    value = request.text(name)
    if value is None:
        return None
    if _TIMESTAMP.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            pass
    request.refuse(name, "must be a time in UTC like 2026-01-31T12:00:00.000Z")
    return None
