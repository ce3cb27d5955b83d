"""What a request must look like: a small table of required members and their types, no models.

Whatever is not in it passes unread and unchanged, so that a newer client loses nothing here. `_meta` is read
by name where the hub knows a key, and never merged into anything. See the v1 schema at
https://agentclientprotocol.com/protocol/schema.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from adapters.acp.errors import invalid
from schemas.acp import AFTER as AFTER
from schemas.acp import AGENT as AGENT
from schemas.acp import APPROVAL as APPROVAL
from schemas.acp import CLIENT as CLIENT
from schemas.acp import IDEMPOTENCY_KEY as IDEMPOTENCY_KEY
from schemas.acp import INPUT as INPUT
from schemas.acp import META as META
from schemas.acp import PENDING as PENDING
from schemas.acp import SEQ as SEQ
from schemas.acp import SESSION as SESSION
from schemas.acp import TAGS as TAGS
from schemas.acp import TASK as TASK

LONGEST_KEY: Final = 255
MOST_BLOCKS: Final = 1_000
MOST_SERVERS: Final = 100
LONGEST_PATH: Final = 4096

Check = Callable[[str, Any], None]
Params = dict[str, Any]


def text(field: str, value: Any) -> None:
    """A string that is not empty."""
    if type(value) is not str or not value:
        raise invalid(field, "must be a string that is not empty")


def string(field: str, value: Any) -> None:
    """A string."""
    if type(value) is not str:
        raise invalid(field, "must be a string")


def absolute_path(field: str, value: Any) -> None:
    """An absolute path of any system."""
    text(field, value)
    if len(value) > LONGEST_PATH or not _ABSOLUTE.match(value):
        raise invalid(field, "must be an absolute path")


_ABSOLUTE: Final = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")


def listed(of: Check, most: int) -> Check:
    """An array whose items pass a check."""

    def check(field: str, value: Any) -> None:
        if type(value) is not list or len(value) > most:
            raise invalid(field, f"must be an array of at most {most}")
        for index, item in enumerate(value):
            of(f"{field}[{index}]", item)

    return check


def members(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these members; others pass."""

    def check(field: str, value: Any) -> None:
        if type(value) is not dict:
            raise invalid(field or "params", "must be an object")
        prefix = f"{field}." if field else ""
        for name, of in required.items():
            if name not in value:
                raise invalid(f"{prefix}{name}", "is missing")
            of(f"{prefix}{name}", value[name])
        for name, of in (optional or {}).items():
            if value.get(name) is not None:
                of(f"{prefix}{name}", value[name])

    return check


_PAIR: Final = members({"name": text, "value": string})
_STDIO: Final = members(
    {
        "name": text,
        "command": absolute_path,
        "args": listed(string, 1_000),
        "env": listed(_PAIR, 1_000),
    }
)
_REMOTE: Final = members({"name": text, "url": text, "headers": listed(_PAIR, 1_000)})


def mcp_server(field: str, value: Any) -> None:
    """How one of the client's MCP servers is reached."""
    kind = value.get("type", "stdio") if type(value) is dict else None
    if kind == "stdio":
        _STDIO(field, value)
    elif kind in ("http", "sse"):
        _REMOTE(field, value)
        if not value["url"].startswith(("http://", "https://")):
            raise invalid(f"{field}.url", "must be an http or https URL")
    else:
        raise invalid(f"{field}.type", "must be stdio, http or sse")


_BLOCKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "text": members({"text": string}),
        "image": members({"data": string, "mimeType": text}),
        "audio": members({"data": string, "mimeType": text}),
        "resource_link": members({"uri": text, "name": string}),
        "resource": members({"resource": members({"uri": text})}),
    }
)


def content_block(field: str, value: Any) -> None:
    """One block of a prompt."""
    if type(value) is not dict or type(value.get("type")) is not str:
        raise invalid(field, "must be a content block with a type")
    check = _BLOCKS.get(value["type"])
    if check is None:
        raise invalid(f"{field}.type", "is not one that this agent takes")
    check(field, value)
    if value["type"] == "resource":
        held = value["resource"]
        if type(held.get("text")) is not str and type(held.get("blob")) is not str:
            raise invalid(f"{field}.resource", "must have text or blob")


def _prompt(field: str, value: Any) -> None:
    listed(content_block, MOST_BLOCKS)(field, value)
    if not value:
        raise invalid(field, "must not be empty")


def _config_value(field: str, value: Any) -> None:
    if type(value) not in (str, bool):
        raise invalid(field, "must be a string or a boolean")


_SESSION: Final = members({"sessionId": text})
_DIRECTORIES: Final = listed(absolute_path, 1_000)
_SERVERS: Final = listed(mcp_server, MOST_SERVERS)
_PLACED: Final = members(
    {"sessionId": text, "cwd": absolute_path},
    {"mcpServers": _SERVERS, "additionalDirectories": _DIRECTORIES},
)

REQUESTS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "authenticate": members({"methodId": text}),
        "logout": members({}),
        "session/new": members(
            {"cwd": absolute_path, "mcpServers": _SERVERS}, {"additionalDirectories": _DIRECTORIES}
        ),
        "session/load": members(
            {"sessionId": text, "cwd": absolute_path, "mcpServers": _SERVERS},
            {"additionalDirectories": _DIRECTORIES},
        ),
        "session/resume": _PLACED,
        "session/fork": _PLACED,
        "session/list": members({}, {"cwd": absolute_path, "cursor": text}),
        "session/close": _SESSION,
        "session/delete": _SESSION,
        "session/cancel": _SESSION,
        "session/prompt": members({"sessionId": text, "prompt": _prompt}),
        "session/set_mode": members({"sessionId": text, "modeId": text}),
        "session/set_config_option": members({"sessionId": text, "configId": text, "value": _config_value}),
    }
)
"""Every method beside `initialize`, with what its parameters must have."""


def check(method: str, params: Params) -> None:
    """Refuse parameters that lack something.

    Raises:
        RpcError: -32602, naming the member.
    """
    REQUESTS[method]("", params)


def meta(params: Mapping[str, Any], key: str) -> Any:
    """A member of `_meta`; None where there is none."""
    found = params.get(META)
    return found.get(key) if type(found) is dict else None


def idempotency_key(params: Mapping[str, Any]) -> str | None:
    """The key under which this request happens once.

    Raises:
        RpcError: it is no text, or too long.
    """
    key = meta(params, IDEMPOTENCY_KEY)
    if key is None:
        return None
    if type(key) is not str or not 0 < len(key) <= LONGEST_KEY:
        raise invalid(f"{META}.{IDEMPOTENCY_KEY}", f"must be a string of at most {LONGEST_KEY} characters")
    return key


def texts(params: Mapping[str, Any], key: str) -> Sequence[str]:
    """A list of short texts in `_meta`, without what is none."""
    found = meta(params, key)
    return (
        [item for item in found if type(item) is str and 0 < len(item) <= 255][:16]
        if type(found) is list
        else []
    )


def cursor(params: Mapping[str, Any]) -> tuple[int, int] | None:
    """How far the client has read, as `position.index`: None where it does not say.

    Raises:
        RpcError: it is no such text.
    """
    found = meta(params, AFTER)
    if found is None:
        return None
    matched = _CURSOR.fullmatch(found) if type(found) is str else None
    if matched is None:
        raise invalid(f"{META}.{AFTER}", f"must be a value of {SEQ}")
    return int(matched[1]), int(matched[2])


def cursor_of(place: tuple[int, int]) -> str:
    """The cursor that says: told up to here."""
    return f"{place[0]}.{place[1]}"


_CURSOR: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")
