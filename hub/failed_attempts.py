"""Counts wrong credentials per address, so that guessing becomes slow. It never holds up a right one."""

import ipaddress
from collections import OrderedDict
from typing import Final

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
        who = _who(address)
        began, failures = self._windows.get(who, (now, 0))
        if now - began >= _WINDOW:
            began, failures = now, 0
            self._windows.pop(who, None)
        self._windows[who] = (began, failures + 1)
        if len(self._windows) > _MOST_KEPT:
            self._windows.popitem(last=False)
        return None if failures < self._per_minute else began + _WINDOW - now


def _who(address: str) -> str:
    """Whoever has one IPv6 address has its whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed), 64), strict=False))
