"""`Platform`: the one object that adapters get. It runs commands and queries; it knows none of them."""

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from core.caller import Caller
from core.errors import Unavailable
from core.hints import Hints
from core.store.engine import Call, Outcome, Store
from core.store.replay import Replay
from core.store.tx import Tx
from core.tail import Tail

A = TypeVar("A")
R = TypeVar("R")


class Platform:
    """The control plane over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tail = Tail(store)

    @property
    def hints(self) -> Hints:
        """Wake-ups: listen before you ask the database."""
        return self.store.hints

    async def start(self) -> None:
        """Open the store, and begin to read the log's end for whoever listens."""
        await self.store.start()
        await self.tail.start()

    async def stop(self) -> None:
        """Finish the commands that were handed over, and close."""
        await self.tail.stop(Unavailable("The hub is stopping."))
        await self.store.stop()

    async def write(
        self, caller: Caller, command: Callable[[Tx, A], Coroutine[Any, Any, R]], argument: A
    ) -> R:
        """Run a command in one transaction; returns after its commit was flushed.

        With a replay key on the caller a repeat returns the first result. A cancelled awaiter does not stop
        it.

        Raises:
            HubError: what the command refuses; nothing of it remains.
            Conflict: the replay key was used with another argument.
            Unavailable: the database is away or full, or the hub is stopping.
        """
        return (await self.write_once(caller, command, argument)).result

    async def write_once(
        self, caller: Caller, command: Callable[[Tx, A], Coroutine[Any, Any, R]], argument: A
    ) -> Outcome[R]:
        """As `write`, and tells whether the result is an earlier call's."""
        call = Call(caller, command, argument, Replay.of(caller, command, argument))
        return cast(Outcome[R], await self.store.write(call))

    async def read(self, caller: Caller, query: Callable[[Tx, A], Coroutine[Any, Any, R]], argument: A) -> R:
        """Run a query on one unchanging view that holds every write that has returned."""
        return cast(R, await self.store.read(Call(caller, query, argument)))

    def now(self) -> datetime:
        """The time that transactions see."""
        return self.store.now()

    def monotonic(self) -> float:
        """Seconds for measuring waits."""
        return self.store.clock.monotonic()

    def new_id(self) -> UUID:
        """A fresh UUIDv7."""
        return self.store.new_id()
