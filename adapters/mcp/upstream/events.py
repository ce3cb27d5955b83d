"""Server-sent events as they arrive, from pieces of a response.

See https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end with LF, CR LF or CR, and what
the stream ends in the middle of is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.mcp.upstream.failures import TooLarge

MAX_EVENT: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    data: bytes
    kind: str
    id: str | None


class Events:
    """Gathers pieces into events, and remembers what a reconnection needs."""

    def __init__(self, max_bytes: int = MAX_EVENT) -> None:
        self.last_id: str | None = None
        self.retry: float | None = None
        """Seconds to wait before coming back, where the server has said so."""
        self._max = max_bytes
        self._left = bytearray()
        self._data: list[bytes] = []
        self._kind = ""
        self._size = 0
        self._after_cr = False

    def feed(self, piece: bytes) -> Sequence[Event]:
        """The events that this piece completes.

        Raises:
            TooLarge: an event is longer than `max_bytes`.
        """
        done: list[Event] = []
        if self._after_cr and piece[:1] == b"\n":
            piece = piece[1:]
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        if b"\n" not in piece and b"\r" not in piece:
            self._left += piece
        else:
            text = bytes(self._left + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, rest = text.split(b"\n")
            self._left = bytearray(rest)
            for line in lines:
                if line:
                    self._take(line)
                    continue
                if self._data:
                    done.append(Event(b"\n".join(self._data), self._kind or "message", self.last_id))
                self._data, self._kind, self._size = [], "", 0
        if self._size + len(self._left) > self._max:
            raise TooLarge("an event of the stream is too large")
        return done

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value)
            if self._size > self._max:
                raise TooLarge("an event of the stream is too large")
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value and len(value) <= 1024:
            self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 9:
            self.retry = int(value) / 1000
