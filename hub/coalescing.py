"""A transport that sends what is written in one turn of the loop with one system call.

A response's head and body are two writes, and two system calls cost as much as parsing the request.
Everything but `write` is the transport's own; whatever ends the connection sends first what was held.
"""

import asyncio
from collections.abc import Iterable
from typing import Any


class CoalescingTransport(asyncio.Transport):
    """Wraps a transport for a protocol that writes small pieces one after another."""

    __slots__ = ("_held", "_later", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._later: asyncio.Handle | None = None

    def write(self, data: Any) -> None:
        """Send at the end of this turn, in order."""
        self._held.append(data)
        if self._later is None:
            self._later = self._loop.call_soon(self.flush)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """As `write`, piece by piece."""
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """Send what is held now."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._held:
            held, self._held = self._held, []
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was held is dropped, like everything unsent."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._held = []
        self._transport.abort()

    def write_eof(self) -> None:
        """Send what is held, then the end."""
        self.flush()
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """As the transport says."""
        return self._transport.can_write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that are not on their way yet, those held among them."""
        return self._transport.get_write_buffer_size() + sum(len(piece) for piece in self._held)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the transport does."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """As the transport says."""
        return self._transport.get_write_buffer_limits()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Send what is held, then give the connection to another protocol."""
        self.flush()
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """As the transport says."""
        return self._transport.get_protocol()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport says."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """As the transport does."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the transport does."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """As the transport says."""
        return self._transport.is_reading()
