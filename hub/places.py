"""Bounded places: how many long polls or streams a principal, and the whole process, may keep open.

The counts live in this process alone: they guard its memory, and a restart begins at nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from core.errors import TooMany


class Places:
    """So many at a time for one principal, and so many for all together."""

    def __init__(self, what: str, each: int, together: int) -> None:
        self._what = what
        self._each = each
        self._together = together
        self._taken: dict[UUID, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """How many are taken now."""
        return self._total

    def take(self, principal_id: UUID) -> None:
        """Take a place; give it back with `free`.

        Raises:
            TooMany: there is none.
        """
        mine = self._taken.get(principal_id, 0)
        if mine >= self._each:
            raise TooMany(f"you have {mine} open {self._what}, and that is the limit", retry_after=1)
        if self._total >= self._together:
            raise TooMany(f"the hub has no place for further {self._what} now", retry_after=5)
        self._taken[principal_id] = mine + 1
        self._total += 1

    def free(self, principal_id: UUID) -> None:
        """Give a place back."""
        self._total -= 1
        left = self._taken[principal_id] - 1
        if left:
            self._taken[principal_id] = left
        else:
            del self._taken[principal_id]

    @contextmanager
    def taken_by(self, principal_id: UUID) -> Iterator[None]:
        """A place for as long as the block runs. Raises as `take`."""
        self.take(principal_id)
        try:
            yield
        finally:
            self.free(principal_id)
