"""Tasks as they were last shown, so that a client that polls an unchanged task costs one small read.

A task's version grows with everything that changes its view, and the database is asked for it each time,
under the owner predicate; so nothing stale and nothing foreign is shown. What is kept can be made anew.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

from schemas.strict_json import Rendered

ENTRIES: Final = 4096
LARGEST: Final = 32 * 1024
"""Bytes of one task; a larger one is made anew each time."""
TOGETHER: Final = 32 * 1024 * 1024


class Shown:
    """The least recently asked for go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[int, Rendered]] = OrderedDict()
        self._bytes = 0

    def find(self, key: Hashable) -> tuple[int, Rendered] | None:
        """The version and the view that were shown last under a key."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, version: int, view: dict[str, Any]) -> dict[str, Any]:
        """Remember a view, unless it is large; returns it."""
        rendered = Rendered(view)
        self._drop(key)
        if len(rendered.json) > LARGEST:
            return view
        self._kept[key] = (version, rendered)
        self._bytes += len(rendered.json)
        while len(self._kept) > ENTRIES or self._bytes > TOGETHER:
            self._drop(next(iter(self._kept)))
        return rendered

    def _drop(self, key: Hashable) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone[1].json)
