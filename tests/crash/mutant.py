"""The hub with one promise broken on purpose: `python -m tests.crash.mutant NAME serve --json`.

A crash test that does not notice these would notice nothing. They are for SQLite.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core import events, lifecycle
from core.store.sqlite import SqliteStore

EARLY = ("submit", "submit_view", "complete", "add_message")


class _EarlyCursor:
    """Answers the callers, rests, and commits only then."""

    def __init__(self, store: Any, batch: Sequence[Any]) -> None:
        self._store, self._batch, self._cursor = store, batch, store._write_cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "COMMIT":
            self._store._settle_soon(self._batch)
            time.sleep(0.05)
        return self._cursor.execute(sql, *arguments)


def acknowledges_early() -> None:
    """Writes are acknowledged before they are committed."""
    honest = SqliteStore._attempt

    def attempt(store: Any, batch: Any) -> None:
        cursor = store._write_cursor
        if any(job.call.command.__name__ in EARLY for job in batch):
            store._write_cursor = _EarlyCursor(store, batch)
        try:
            honest(store, batch)
        finally:
            store._write_cursor = cursor

    SqliteStore._attempt = attempt  # type: ignore[assignment, method-assign]


def does_not_fence() -> None:
    """No lease is compared."""
    lifecycle.fenced = lambda fence, *, presented: []  # type: ignore[attr-defined]


def _resumes(shift: int) -> Callable[[], None]:
    def broken() -> None:
        honest = events.follow

        def follow(platform: Any, caller: Any, wanted: Any, after: int | None = None, **more: Any) -> Any:
            return honest(platform, caller, wanted, after and max(0, after + shift), **more)

        events.follow = follow

    return broken


MUTANTS: Mapping[str, Callable[[], None]] = {
    "acknowledges early": acknowledges_early,
    "does not fence": does_not_fence,
    "skips an event on return": _resumes(1),
    "tells an event twice on return": _resumes(-1),
}


if __name__ == "__main__":
    name = sys.argv.pop(1)
    MUTANTS[name]()
    from hub.__main__ import main

    main()
