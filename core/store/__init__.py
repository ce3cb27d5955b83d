"""The database: two engines, one way to use them. Read `tx.py` first, then `sqlite.py`."""

from core.store.clock import Clock, IdSource, SystemClock, UuidSource
from core.store.engine import Outcome, Store
from core.store.statement import Row, Statement, insert
from core.store.tx import EVENTS, Tx

__all__ = [
    "EVENTS",
    "Clock",
    "IdSource",
    "Outcome",
    "Row",
    "Statement",
    "Store",
    "SystemClock",
    "Tx",
    "UuidSource",
    "insert",
    "open_store",
]


def open_store(
    url: str, *, clock: Clock | None = None, new_id: IdSource | None = None, beside: bool = False
) -> Store:
    """The store that a database URL names; `start` opens it.

    With `beside` a SQLite file may be served by another process at the same time: for a command of a moment
    that does not depend on its wake-ups and caches.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://…` and `postgres://…` are understood.

    Raises:
        ValueError: any other URL.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from core.store.sqlite import SqliteStore

        return SqliteStore(
            rest[1:], clock=clock or SystemClock(), new_id=new_id or UuidSource(), beside=beside
        )
    if separator and scheme in ("postgres", "postgresql"):
        from core.store.postgres import PostgresStore

        return PostgresStore(url, clock=clock, new_id=new_id or UuidSource())
    raise ValueError("the database URL must begin with sqlite:/// or postgresql://")
