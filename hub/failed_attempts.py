"""Counts wrong credentials per address, so that guessing becomes slow. It never holds up a right one."""

from collections import OrderedDict
from typing import Final

from hub.limits import network_of

PER_MINUTE: Final = 20
_WINDOW: Final = 60.0
_MOST_KEPT: Final = 10_000


class FailedAttempts:
    """How often each address was wrong in its present minute. Bounded: the oldest minutes go first."""

    def __init__(self, per_minute: int = PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str, now: float) -> float | None:
        """Count one more. None within the limit, else the seconds until the address starts afresh."""
        who = network_of(address)
        began, failures = self._windows.get(who, (now, 0))
        if now - began >= _WINDOW:
            began, failures = now, 0
            self._windows.pop(who, None)
        self._windows[who] = (began, failures + 1)
        if len(self._windows) > _MOST_KEPT:
            self._windows.popitem(last=False)
        return None if failures < self._per_minute else began + _WINDOW - now
