"""Who numbers the log on PostgreSQL: one leader moves rows from `event_outbox` to `event` in one server-side
statement.

Writers insert into the outbox in any order of commit; the leader gives each row the next position once it is
committed. So positions are contiguous, and what is caused comes after its cause. The statement stays correct
though two leaders should run it at once: they serialise on `event_head`, and each row is deleted once.
"""

import asyncio
import random
import time

from core.hints import Hints
from core.store.postgres_connection import Connect, Connection
from core.store.relay import Relay, keep
from core.store.tables import event_outbox
from core.store.tx import EVENTS

SEQUENCE = "sequence"
"""The topic that wakes the leader: the outbox has rows."""
LIMIT = 2_000
"""Rows that one tick moves, at most."""
PAUSE = 0.003
"""Between two ticks while rows keep coming."""
BACKSTOP = 0.25
"""Between two ticks while nobody says that there are rows."""
FOLLOW = 0.5
"""Between two tries to become the leader."""
GOODBYE = 1.0
"""For the last tick."""

_columns = ", ".join(c.name for c in event_outbox.columns if c.name != "seq")

LEAD = "SELECT pg_try_advisory_lock(hashtextextended('crossdock sequencer ' || current_schema(), 0))"
BEGIN_LOG = """
INSERT INTO event_head (id, pos) SELECT 1, coalesce(max(pos), 0) FROM event ON CONFLICT DO NOTHING
"""
MOVE = f"""
WITH d AS (
  DELETE FROM event_outbox WHERE seq = ANY(ARRAY(SELECT seq FROM event_outbox ORDER BY seq LIMIT {LIMIT}))
    AND EXISTS (SELECT 1 FROM event_head)
  RETURNING *
), n AS (
  SELECT d.*, row_number() OVER (ORDER BY seq) AS r FROM d
), h AS (
  UPDATE event_head SET pos = pos + (SELECT count(*) FROM d) WHERE EXISTS (SELECT 1 FROM d)
  RETURNING pos - (SELECT count(*) FROM d) AS base
), i AS (
  INSERT INTO event (pos, {_columns}) SELECT h.base + n.r, {_columns} FROM n, h ORDER BY n.r RETURNING 1
)
SELECT count(*) FROM i
"""  # noqa: S608 - the columns are our own


class Sequencer:
    """This replica's candidate for the leadership."""

    def __init__(self, connect: Connect, hints: Hints, relay: Relay) -> None:
        self._connect = connect
        self._hints = hints
        self._relay = relay
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.leading = False

    async def start(self) -> None:
        """Begin to stand for leader."""
        self._task = asyncio.create_task(keep(self._connect, self._serve))

    async def stop(self) -> None:
        """Number what is there, and give the leadership up."""
        self._stopping = True
        if self._task is not None:
            if self.leading:
                self._hints.publish(SEQUENCE)
                await asyncio.wait({self._task}, timeout=GOODBYE)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self, connection: Connection) -> None:
        while not await connection.fetchval(LEAD):  # noqa: ASYNC110 - nobody tells us that the leader died
            await asyncio.sleep(random.uniform(0.8, 1.2) * FOLLOW)
        try:
            self.leading = True
            await connection.execute(BEGIN_LOG)
            while not self._stopping:
                await self._tick(connection)
        finally:
            self.leading = False

    async def _tick(self, connection: Connection) -> None:
        with self._hints.listen((SEQUENCE,)) as woken:
            began = time.monotonic()
            moved = await connection.fetchval(MOVE)
            if moved:
                self._hints.publish(EVENTS)
                self._relay.send({EVENTS: 1})
            if moved < LIMIT // 2:
                await woken.wait(BACKSTOP)
                await asyncio.sleep(max(0.0, began + PAUSE - time.monotonic()))
