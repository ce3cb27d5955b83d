"""The answers of batch routes: one item for each of the request's, in its order."""

from collections.abc import Sequence
from typing import Any

from core.errors import HubError
from hub.api.call import Call, Reply
from schemas.v1.envelope import error_body


def accepted(data: Any) -> dict[str, Any]:
    """An item that was done."""
    return {"data": data}


def refused(error: HubError) -> dict[str, Any]:
    """An item that was not done; the others stand."""
    return {"error": error_body(error.code, error.message, error.details, error.hint)}


def settled(call: Call, items: Sequence[tuple[Any, bool]]) -> Reply:
    """The whole answer. It is a replay when every item is one."""
    call.replayed = bool(items) and all(replayed for _, replayed in items)
    return Reply([item for item, _ in items])
