"""Stand-ins that more than one room's tests need."""

import time
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Stands still until it is told to go on. Waits still end: `monotonic` runs, and jumps along."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
        self._ahead = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Go on by so many seconds."""
        self._now += timedelta(seconds=seconds)
        self._ahead += seconds
