"""What arrives, checked: A2A requests as ProtoJSON (specification §5.5 to §5.7), read into frozen values.

Unknown fields are ignored, `null` and empty strings are absent, enumerations are names. Everything that is
wrong with a request is gathered and told at once. Nothing here knows a binding or asks the platform.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from adapters.a2a.errors import INVALID_PARAMS, A2AError, Violation
from adapters.a2a.protojson import Params, Reader, base64_of

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
    request = Reader(params, wrong)
    given = request.object("message", required=True)
    message = Reader(given or {}, wrong if given is not None else [], "message.")
    chosen = request.object("configuration") or {}
    configuration = Reader(chosen, wrong, "configuration.")
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
    request = Reader(params, [])
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
    request = Reader(params, [])
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
        status_after=request.moment("statusTimestampAfter"),
        include_artifacts=request.flag("includeArtifacts"),
    )
    request.finish()
    return read


def tenant_of(params: Params) -> str | None:
    """The tenant of a request that has no other member.

    Raises:
        A2AError: InvalidParams, it is no string.
    """
    request = Reader(params, [])
    tenant = request.text("tenant")
    request.finish()
    return tenant


def accepts(modes: Sequence[str], media_type: str) -> bool:
    """Whether a media type is one of `modes`; a mode may end in `/*`, and parameters do not count."""
    bare = media_type.partition(";")[0].strip().lower()
    family = bare.partition("/")[0] + "/*"
    return any(mode in (bare, family, "*/*") for mode in modes)


def _parts(message: Reader) -> Sequence[dict[str, Any]]:
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


def _part(message: Reader, part: Any, at: str) -> dict[str, Any]:
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


_CHECKED: Final[Mapping[str, Callable[[Any], str | None]]] = {"text": _text, "url": _url, "raw": base64_of}
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


def _message_metadata(message: Reader) -> Mapping[str, Any]:
    metadata = message.object("metadata") or {}
    carried: dict[str, Any] = {}
    for name in ("extensions", "referenceTaskIds"):
        said = message.texts(name)
        if said:
            carried[name] = said
    return {**metadata, CARRIED: carried} if carried else metadata
