"""What the two stores promise alike. `core/platform.py` is the way in; nothing else calls a store."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from core.caller import Caller
from core.hints import Hints
from core.store.clock import Clock, IdSource
from core.store.replay import Replay
from core.store.tx import Tx

A = TypeVar("A")
R = TypeVar("R")
Command = Callable[[Tx, A], Coroutine[Any, Any, R]]


_IN_STEP: set[Any] = set()


def in_step(command: Command[A, R]) -> Command[A, R]:
    """Mark a hot command whose calls, when they are about different things, do not look at one another.

    PostgreSQL may then run several of them in one transaction, statement by statement. A command that counts
    rows under a lock must not be marked: within one transaction a lock keeps nobody out.
    """
    _IN_STEP.add(command)
    return command


def runs_in_step(command: Any) -> bool:
    """Whether a command is marked `in_step`."""
    return command in _IN_STEP


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """A command's result, and whether an earlier call made it."""

    result: R
    replayed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One command to run, with its argument, for its caller."""

    caller: Caller
    command: Callable[[Tx, Any], Coroutine[Any, Any, Any]]
    argument: Any
    replay: Replay | None = None

    @property
    def name(self) -> str:
        """The command's name, for messages."""
        return f"{self.command.__module__}.{self.command.__qualname__}"


class Store(ABC):
    """A database that runs commands and queries.

    A command that was handed over runs to its end though its awaiter is cancelled. `write` returns after the
    commit has been flushed.
    """

    dialect: str
    clock: Clock
    new_id: IdSource
    hints: Hints
    memory: dict[type[Any], Any]
    """What this process remembers of the database; see `Tx.memory`."""

    @abstractmethod
    async def start(self) -> None:
        """Open. May be called once."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what was handed over, then close."""

    @abstractmethod
    async def write(self, call: Call) -> Outcome[Any]:
        """Run a command in a transaction of its own.

        Raises:
            HubError: whatever the command refuses; nothing of it remains.
            Unavailable: the database is away or full, or the store is stopping.
        """

    @abstractmethod
    async def read(self, call: Call) -> Any:
        """Run a query on one unchanging view of the database that holds every finished write."""

    def now(self) -> datetime:
        """The time that transactions see."""
        return self.clock.now()
