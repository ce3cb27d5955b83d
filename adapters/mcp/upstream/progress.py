"""Requests of many callers on one session: each progress token is replaced by one of the session's own."""

from collections.abc import Mapping
from typing import Any, Final

from adapters.mcp import wire
from adapters.mcp.upstream.interface import Message, OnMessage

PROGRESS: Final = "notifications/progress"
_ENVELOPE: Final = (wire.PROTOCOL_VERSION, wire.CLIENT_CAPABILITIES, wire.CLIENT_INFO)


def plain(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters without what only the modern era says in them."""
    given = dict(params or {})
    meta = given.get("_meta")
    if type(meta) is dict and any(key in meta for key in _ENVELOPE):
        given["_meta"] = {key: value for key, value in meta.items() if key not in _ENVELOPE}
    return given


def with_token(
    params: Mapping[str, Any] | None, own: int, on_message: OnMessage | None
) -> tuple[dict[str, Any], OnMessage | None]:
    """Parameters as they are sent, and a listener that hears of progress by the caller's token.

    Progress under a token that this request does not have is dropped.
    """
    given = plain(params)
    meta = given.get("_meta")
    token = meta.get("progressToken") if type(meta) is dict else None
    if token is not None:
        given["_meta"] = {**meta, "progressToken": own}  # type: ignore[dict-item]  # a dict, or no token
    if on_message is None:
        return given, None
    listener = on_message

    async def told(message: Message) -> Mapping[str, Any] | None:
        if message.method != PROGRESS or message.id is not None:
            return await listener(message)
        if token is not None and message.params.get("progressToken") == own:
            return await listener(Message(PROGRESS, {**message.params, "progressToken": token}))
        return None

    return given, told
