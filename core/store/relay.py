"""Hints between replicas, by LISTEN and NOTIFY on connections of their own.

NOTIFY never runs in a transaction that works: its lock would serialise all commits. What a process commits
within a few milliseconds goes out together. A hint that is lost costs its waiter the polling backstop,
nothing else.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from pydantic_core import from_json, to_json

from core.hints import ONE_EACH, Hints
from core.store.postgres_connection import Connect, Connection, is_away
from core.store.tx import EVENTS

PAUSE = 0.003
"""Between two NOTIFYs of this process."""
JITTER = 0.005
"""So that replicas that hear of one ready task do not all ask for it at once."""
PAYLOAD = 7_500
"""PostgreSQL takes 8,000 bytes."""

logger = logging.getLogger(__name__)


class Relay:
    """Carries this process's hints to the others, and theirs to its waiters."""

    def __init__(self, connect: Connect, hints: Hints) -> None:
        self._connect = connect
        self._hints = hints
        self._name = uuid4().hex[:12]
        self._pending: dict[str, int] = {}
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to listen; returns once the first LISTEN stands."""
        listening = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen(listening)), asyncio.create_task(self._notify())]
        await listening.wait()

    async def stop(self) -> None:
        """Close both connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, wakes: Mapping[str, int]) -> None:
        """Tell the other replicas, soon."""
        for topic, count in wakes.items():
            self._pending[topic] = self._pending.get(topic, 0) + count
        if wakes:
            self._work.set()

    async def _notify(self) -> None:
        async def serve(connection: Connection) -> None:
            channel = await channel_of(connection)
            while True:
                await self._work.wait()
                self._work.clear()
                wakes, self._pending = self._pending, {}
                for payload in payloads(self._name, wakes):
                    await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
                await asyncio.sleep(PAUSE)

        await keep(self._connect, serve)

    async def _listen(self, listening: asyncio.Event) -> None:
        async def serve(connection: Connection) -> None:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(await channel_of(connection), self._heard)
            listening.set()
            # What was said while nobody listened is unknown: let the readers of the log look once.
            self._hints.publish(EVENTS)
            await lost.wait()
            raise ConnectionResetError("nobody listens any more")

        await keep(self._connect, serve)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        try:
            message = from_json(payload)
            sender, wakes = message["from"], dict(message["wake"])
        except (ValueError, KeyError, TypeError):
            logger.warning("a hint could not be read: %.200r", payload)
            return
        if sender == self._name:
            return
        loop = asyncio.get_running_loop()
        for topic, count in wakes.items():
            if topic.startswith(ONE_EACH) and self._hints.waiting(topic):
                loop.call_later(random.uniform(0, JITTER), self._hints.publish, topic, count)
            else:
                self._hints.publish(topic, count)


async def channel_of(connection: Connection) -> str:
    """The channel of the schema that the connection works in."""
    schema = await connection.fetchval("SELECT current_schema()")
    return f"crossdock_{schema}"[:63]


def payloads(sender: str, wakes: Mapping[str, int]) -> Iterator[str]:
    """Messages that carry the wakes, each short enough for NOTIFY."""
    part: dict[str, int] = {}
    size = 0
    for topic, count in wakes.items():
        length = len(topic.encode()) + 16
        if part and size + length > PAYLOAD:
            yield to_json({"from": sender, "wake": part}).decode()
            part, size = {}, 0
        part[topic] = count
        size += length
    if part:
        yield to_json({"from": sender, "wake": part}).decode()


async def keep(connect: Connect, serve: Callable[[Connection], Awaitable[None]]) -> None:
    """Serve on a connection of one's own, on a new one whenever it breaks, until it returns."""
    while True:
        try:
            connection = await connect()
            try:
                return await serve(connection)
            finally:
                connection.terminate()
        except Exception as error:  # this service must outlive whatever happens to one connection
            logger.warning("lost a connection to the database: %s", error, exc_info=not is_away(error))
        await asyncio.sleep(random.uniform(0.2, 0.6))
