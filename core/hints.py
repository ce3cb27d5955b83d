"""Wake-ups inside one process: who waits for a topic, and whom a commit wakes.

A hint is never the truth: whoever is woken asks the database again, and whoever is not has a polling
backstop. All of it runs on the event loop's thread. Other replicas' hints arrive through the store.
"""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

ONE_EACH = "route:"
"""Topics that begin so stand for work that one waiter takes; every other topic wakes all of its waiters."""


class Listener:
    """One waiter on some topics, armed while its `with` block runs.

    What is published after entry is not lost: `wait` returns at once if it happened before. A hint for one
    waiter that this one leaves unused when the block ends goes to the next in line.
    """

    __slots__ = ("_future", "_hint", "_hints", "_topics")

    def __init__(self, hints: "Hints", topics: Iterable[str]) -> None:
        self._hints = hints
        self._topics = tuple(dict.fromkeys(topics))
        self._hint: str | None = None
        self._future: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._hints._arm(self, self._topics)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hints._disarm(self, self._topics)
        if self._hint is not None and self._hint.startswith(ONE_EACH):
            self._hints.publish(self._hint, 1)

    async def wait(self, timeout: float) -> bool:
        """Wait for a hint, at most `timeout` seconds; tell whether one came. May be called again."""
        if self._hint is None and timeout > 0:
            loop = asyncio.get_running_loop()
            self._future = future = loop.create_future()
            timer = loop.call_later(timeout, _finish, future)
            try:
                await future
            finally:
                timer.cancel()
                self._future = None
        woken = self._hint is not None
        self._hint = None
        if woken:
            self._hints._arm(self, self._topics)
        return woken

    def _wake(self, topic: str) -> None:
        self._hint = topic
        self._hints._disarm(self, self._topics)
        if self._future is not None:
            _finish(self._future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Hints:
    """The waiters of this process, in the order in which they came."""

    def __init__(self) -> None:
        self._waiters: dict[str, dict[Listener, None]] = {}

    def listen(self, topics: Iterable[str]) -> Listener:
        """A listener to be entered before the database is asked, so that nothing is missed in between."""
        return Listener(self, topics)

    def publish(self, topic: str, count: int = 1) -> int:
        """Wake the waiters of a topic: all, or of a `route:` topic the first `count`. Tells how many."""
        waiters = self._waiters.get(topic)
        if not waiters:
            return 0
        chosen = list(waiters)
        if topic.startswith(ONE_EACH):
            chosen = chosen[:count]
        for listener in chosen:
            listener._wake(topic)
        return len(chosen)

    def waiting(self, topic: str) -> int:
        """How many wait for a topic now."""
        return len(self._waiters.get(topic, ()))

    def _arm(self, listener: Listener, topics: tuple[str, ...]) -> None:
        for topic in topics:
            self._waiters.setdefault(topic, {})[listener] = None

    def _disarm(self, listener: Listener, topics: tuple[str, ...]) -> None:
        for topic in topics:
            waiters = self._waiters.get(topic)
            if waiters is not None:
                waiters.pop(listener, None)
                if not waiters:
                    del self._waiters[topic]
