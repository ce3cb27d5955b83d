"""Server-sent events as a pure parser: bytes in, frames out. It opens nothing.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Frame:
    """One dispatched event. `id` is None unless this very frame carried one."""

    id: str | None
    event: str
    data: str

    def json(self) -> Mapping[str, Any]:
        """Its data as a JSON object.

        Raises:
            ValueError: it is none.
        """
        value = json.loads(self.data)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value


class SseReader:
    """Gathers bytes into frames; a frame that the connection cut off is never given out."""

    def __init__(self) -> None:
        self._rest = b""
        self._id: str | None = None
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes."""
        # A chunk may end between CR and LF; keeping a last CR back makes the pair one line end.
        buffer = self._rest + chunk
        held = b"\r" if buffer.endswith(b"\r") else b""
        *lines, rest = _lines(buffer[: len(buffer) - len(held)])
        self._rest = rest + held
        for line in lines:
            frame = self._line(line.decode(errors="replace"))
            if frame is not None:
                yield frame

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Frame | None:
        frame = Frame(self._id, self._event or "message", "\n".join(self._data)) if self._data else None
        self._id, self._event, self._data = None, "", []
        return frame


def _lines(buffer: bytes) -> list[bytes]:
    return buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
