"""Page tokens of ListTasks: a place in the order (status time, id), opaque to clients.

A token gives no right: the owner predicate holds on every page, whatever place a caller names.
"""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from adapters.a2a.errors import invalid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT: Final = struct.Struct(">Q16s")
_LAST: Final = 253_402_300_799_000_000
"""Microseconds until the year 10000."""


def page_token(position: tuple[datetime, UUID]) -> str:
    """The token of the page after the task at this place."""
    moment, task_id = position
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_LAYOUT.pack(micros, task_id.bytes)).decode().rstrip("=")


def position_of(token: str | None) -> tuple[datetime, UUID] | None:
    """The place that a token names, or None for the first page.

    Raises:
        A2AError: InvalidParams, it is no token of ours.
    """
    if token is None:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        micros, task_id = _LAYOUT.unpack(raw)
        if micros > _LAST:
            raise ValueError(micros)
    except (binascii.Error, struct.error, ValueError):
        raise invalid("pageToken", "is not a token that ListTasks gave out") from None
    return _EPOCH + timedelta(microseconds=micros), UUID(bytes=task_id)
