"""Time and identity, injected so that a test can own them."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

IdSource = Callable[[], UUID]


class Clock(Protocol):
    """Where the hub reads the time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()


_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_TAIL = 74
"""Random bits of a UUIDv7: 12 beside the version, 62 beside the variant."""


class UuidSource:
    """UUIDv7 (RFC 9562 §5.7), strictly growing within the process (§6.2, method 2), from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._pool = b""
        self._at = 0

    def __call__(self) -> UUID:
        """The next id."""
        with self._lock:
            if self._at >= len(self._pool):
                # Drawn in bulk: the system call gives up the interpreter's lock, and others queue for it.
                self._pool, self._at = os.urandom(10 * 512), 0
            random = int.from_bytes(self._pool[self._at : self._at + 10], "big")
            self._at += 10
            fresh = (time.time_ns() // 1_000_000 << _TAIL) | (random >> 6)
            if fresh >> _TAIL <= self._last >> _TAIL:
                # The same millisecond, or a clock that was set back: go on from the last one by a random
                # step.
                fresh = self._last + 1 + (random & 0xFFFF_FFFF)
            self._last = fresh
        high, tail = fresh >> _TAIL, fresh & ((1 << _TAIL) - 1)
        return UUID(int=high << 80 | (tail >> 62) << 64 | (tail & ((1 << 62) - 1)) | _VERSION_AND_VARIANT)
