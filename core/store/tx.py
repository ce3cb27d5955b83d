"""What a command sees of the database: one transaction. The engines subclass `Tx`; no I/O is here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from core.caller import Caller
from core.store.clock import IdSource
from core.store.statement import Query, Row, Statement

M = TypeVar("M")

EVENTS = "events"
"""The topic that is woken when the log has grown."""


class Tx(ABC):
    """One transaction of one caller.

    A command awaits nothing but its `tx` and other commands. What it did commits as a whole or not at all. A
    statement that fails ends the transaction: the error may be translated, but nothing more can be done in
    it.
    """

    __slots__ = ("_ids", "_implicit", "_memory", "after", "caller", "now", "wakes")

    caller: Caller
    now: datetime
    """Aware, UTC, and the same from the transaction's first statement to its last."""
    wakes: dict[str, int]
    """What to publish after COMMIT, by topic."""
    after: list[Callable[[], None]]
    """What the engine calls after COMMIT, in order; never after a rollback."""

    def __init__(
        self, caller: Caller, now: datetime, ids: IdSource, memory: dict[type[Any], Any] | None = None
    ) -> None:
        self.caller = caller
        self.now = now
        self.wakes = {}
        self.after = []
        self._memory = {} if memory is None else memory
        self._ids = ids
        self._implicit: Mapping[str, Any] | None = None

    @property
    def implicit(self) -> Mapping[str, Any]:
        """The values of the bind names that every statement may use."""
        if self._implicit is None:
            self._implicit = {
                "caller_tenant": self.caller.tenant_id,
                "caller_principal": self.caller.principal_id,
                "caller_operator": self.caller.operator,
                "caller_wide": self.caller.wide,
                "caller_exposure": self.caller.exposure_id,
                "caller_scope": f"scope:{self.caller.scope.value}",
            }
        return self._implicit

    def new_id(self) -> UUID:
        """A fresh UUIDv7, greater than every one before it in this process."""
        return self._ids()

    @abstractmethod
    async def one(self, statement: Query, /, **params: Any) -> Row | None:
        """The first row, or None.

        Raises:
            Conflict: a uniqueness rule was broken.
            Unavailable: the database is away or full.
        """

    @abstractmethod
    async def all(self, statement: Query, /, **params: Any) -> list[Row]:
        """Every row. Raises as `one`."""

    @abstractmethod
    async def run(self, statement: Query, /, **params: Any) -> int:
        """Execute, and tell how many rows were touched. Raises as `one`."""

    @abstractmethod
    def add(self, statement: Statement, /, **params: Any) -> None:
        """A write whose result nobody needs in this transaction.

        It keeps its place among this command's other `add`s, but may happen as late as COMMIT: call `flush`
        before a statement that must see it.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Make what was added visible to the next statement."""

    @abstractmethod
    def event(
        self,
        kind: str,
        *,
        data: Mapping[str, Any],
        task_id: UUID | None = None,
        version: int | None = None,
        entity_type: str = "task",
        entity_id: UUID | None = None,
        workflow_id: UUID | None = None,
        context_id: str | None = None,
        submitter_id: UUID | None = None,
    ) -> None:
        """Write one row of the log. Tenant, actor and time come from the caller and `now`."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back once this transaction is committed. The callback does no I/O and does not raise."""
        self.after.append(callback)

    def memory(self, kind: type[M]) -> M:
        """What this process remembers of the database, one object of each kind for a store.

        Only what can be rebuilt from the database at any time belongs there.
        """
        found = self._memory.get(kind)
        if found is None:
            found = self._memory[kind] = kind()
        return cast(M, found)

    def wake(self, topic: str, count: int = 1) -> None:
        """Wake waiters on a topic after COMMIT: all, or of a `route:` topic at most `count`."""
        self.wakes[topic] = self.wakes.get(topic, 0) + count

    def event_values(
        self,
        kind: str,
        data: Mapping[str, Any],
        task_id: UUID | None,
        version: int | None,
        entity_type: str,
        entity_id: UUID | None,
        workflow_id: UUID | None,
        context_id: str | None,
        submitter_id: UUID | None,
    ) -> dict[str, Any]:
        """The columns of an event row, for the engines."""
        caller = self.caller
        return {
            "tenant_id": caller.tenant_id,
            "kind": kind,
            "entity_type": entity_type,
            "entity_id": task_id if entity_id is None else entity_id,
            "task_id": task_id,
            "version": version,
            "workflow_id": workflow_id,
            "context_id": context_id,
            "submitter_id": submitter_id,
            "actor_type": caller.owner_type,
            "actor_id": caller.owner_id,
            "at": self.now,
            "data": data,
        }
