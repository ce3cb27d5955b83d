"""Server-sent events as they arrive: what is in the pieces of a response, in the order in which it came.

See https://html.spec.whatwg.org/multipage/server-sent-events.html. Only `data` means something here.
"""

from collections.abc import Sequence

from adapters.a2a.remote.failures import BadAnswer


class Events:
    """Gathers pieces into events. No event is longer than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._left = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Sequence[bytes]:
        """The data of the events that this piece completes.

        Raises:
            BadAnswer: an event is too long.
        """
        self._left += piece
        done = []
        if b"\n" in piece:
            *lines, rest = bytes(self._left).split(b"\n")
            self._left = bytearray(rest)
            for line in lines:
                if line not in (b"", b"\r"):
                    self._take(line.removesuffix(b"\r"))
                elif self._data:
                    done.append(b"\n".join(self._data))
                    self._data, self._size = [], 0
        if self._size + len(self._left) > self._max:
            raise BadAnswer("an event of the stream is too large")
        return done

    def _take(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
            if self._size > self._max:
                raise BadAnswer("an event of the stream is too large")
