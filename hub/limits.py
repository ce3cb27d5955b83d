"""Token buckets: how often somebody may do something.

Buckets live in this process alone. They protect it from being overrun; they are no quota that replicas share.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic

from core.errors import TooMany


class RateLimited(TooMany):
    """A rate was exceeded. Carries what the answer's headers say about it."""

    def __init__(self, rate: "Rate", wait: float) -> None:
        super().__init__(f"more than {rate}; try again in {ceil(wait)} s", retry_after=wait)
        self.headers: list[tuple[bytes, bytes]] = [
            (b"retry-after", b"%d" % max(1, ceil(wait))),
            (b"x-ratelimit-limit", b"%d" % rate.count),
            (b"x-ratelimit-remaining", b"0"),
            (b"x-ratelimit-reset", b"%d" % max(1, ceil(wait))),
        ]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds, all at once if need be."""

    count: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds:g} s"


class Buckets:
    """One bucket per key, full at first, refilled steadily.

    Memory is bounded: beyond `capacity` keys, the one that took longest ago is forgotten and so full again.
    """

    def __init__(self, rate: Rate, *, capacity: int = 50_000, clock: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._capacity = capacity
        self._step = rate.seconds / rate.count
        # Per key the moment at which the bucket will be full again: all that a bucket is.
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, key: Hashable) -> None:
        """Take one.

        Raises:
            RateLimited: the bucket is empty; nothing was taken.
        """
        now = self._clock()
        known = self._full_at.get(key)
        full_at = (now if known is None or known < now else known) + self._step
        wait = full_at - now - self.rate.seconds
        if wait > 1e-9:  # less is rounding
            raise RateLimited(self.rate, wait)
        self._full_at[key] = full_at
        if known is None:
            if len(self._full_at) > self._capacity:
                self._full_at.popitem(last=False)
        else:
            self._full_at.move_to_end(key)


def network_of(address: str) -> str:
    """What counts as one caller among addresses: an IPv4 address, or a whole IPv6 /64, which one line has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
