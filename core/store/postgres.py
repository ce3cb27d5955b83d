"""The PostgreSQL store: calls gather into batches, and a batch is one transaction on one connection.

A batch whose calls only add costs a handful of round trips whatever its size. When anything but a clean
refusal happens in it, it is rolled back and its calls run one by one, so that no call suffers for another.
"""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from core.errors import HubError, Unavailable
from core.hints import Hints
from core.store.attempt import attempt, fail
from core.store.batch import Batch
from core.store.clock import Clock, IdSource, SystemClock
from core.store.engine import Call, Outcome, Store
from core.store.lanes import Job, Lanes, keys_of
from core.store.postgres_connection import Connection, close, connect, is_away
from core.store.postgres_tx import PostgresTx, duplicate
from core.store.relay import Relay
from core.store.sequencer import SEQUENCE, Sequencer
from core.store.statement import ProgramCache
from core.store.tables import idem

WRITE_LANES = 5
READ_LANES = 3
BATCH = 64
ATTEMPTS = 6
"""How often a call is tried whose transaction lost a race."""

LOST_RACE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,  # the schema was migrated under a prepared statement
)


class PostgresStore(Store):
    """One database, shared by any number of replicas."""

    dialect = "postgresql"

    def __init__(self, url: str, *, clock: Clock | None, new_id: IdSource) -> None:
        """With a clock of one's own, time is that clock's; without, it follows the database's."""
        self.clock = clock or SystemClock()
        self.new_id = new_id
        self.hints = Hints()
        self.memory = {}
        self.cache = ProgramCache("postgresql")
        self._follow_clock = clock is None
        self._offset = timedelta(0)
        self._url = url
        self._connections: dict[tuple[str, int], Connection] = {}
        self._writes = Lanes(self._write_batch, width=WRITE_LANES, batch=BATCH)
        self._reads = Lanes(self._read_batch, width=READ_LANES, batch=BATCH, mixed=True)
        self._relay = Relay(lambda: connect(url, statement_timeout="0"), self.hints)
        self._sequencer = Sequencer(lambda: connect(url), self.hints, self._relay)
        self._accepting = False
        self._clock_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and begin to serve.

        Raises:
            Unavailable: the server cannot be reached.
        """
        await self._measure_clock()
        await self._relay.start()
        await self._sequencer.start()
        self._accepting = True
        if self._follow_clock:
            self._clock_task = asyncio.create_task(self._watch_clock())

    async def stop(self) -> None:
        if not self._accepting:
            return
        self._accepting = False
        if self._clock_task is not None:
            self._clock_task.cancel()
            await asyncio.gather(self._clock_task, return_exceptions=True)
        await self._writes.drain()
        await self._reads.drain()
        await self._sequencer.stop()
        await self._relay.stop()
        for connection in self._connections.values():
            await close(connection)
        self._connections.clear()

    def now(self) -> datetime:
        return self.clock.now() + self._offset

    async def write(self, call: Call) -> Outcome[Any]:
        outcome: Outcome[Any] = await self._submit(self._writes, call, keys_of(call))
        return outcome

    async def read(self, call: Call) -> Any:
        return await self._submit(self._reads, call, frozenset())

    async def _submit(self, lanes: Lanes, call: Call, keys: "frozenset[Any]") -> Any:
        if not self._accepting:
            raise Unavailable("The hub is stopping.")
        job = Job(call, asyncio.get_running_loop().create_future(), keys)
        lanes.submit(job)
        return await job.future

    async def _connection(self, kind: str, lane: int) -> Connection:
        connection = self._connections.get((kind, lane))
        if connection is None or connection.is_closed():
            self._abandon(lane, kind)
            connection = self._connections[kind, lane] = await connect(self._url)
        return connection

    async def _write_batch(self, lane: int, jobs: list[Job]) -> None:
        if len(jobs) == 1 or not await self._tried(lane, jobs):
            for job in jobs:
                await self._write_one(lane, job)
        wakes: dict[str, int] = {}
        for job in jobs:
            for callback in job.after:
                callback()
            for topic, count in job.wakes.items():
                wakes[topic] = wakes.get(topic, 0) + count
        for topic, count in wakes.items():
            self.hints.publish(topic, count)
        if self._sequencer.leading:
            wakes.pop(SEQUENCE, None)
        self._relay.send(wakes)

    async def _tried(self, lane: int, jobs: list[Job]) -> bool:
        """Run the batch as a whole; false when its calls must run one by one."""
        try:
            connection = await self._connection("write", lane)
        except Unavailable as error:
            fail(jobs, error)
            return True
        try:
            await attempt(self, self.cache, connection, jobs)
        except Exception as error:
            if is_away(error):
                self._abandon(lane, "write")
                fail(jobs, _refusal(error))
                return True
            await self._roll_back(lane, "write")
            return False
        return True

    async def _write_one(self, lane: int, job: Job) -> None:
        for n in range(1, ATTEMPTS + 1):
            if await self._tried_alone(lane, job, last=n == ATTEMPTS):
                return
            await asyncio.sleep(random.uniform(0, 0.005 * 2**n))

    async def _tried_alone(self, lane: int, job: Job, *, last: bool) -> bool:
        try:
            connection = await self._connection("write", lane)
        except Unavailable as error:
            fail([job], error)
            return True
        try:
            await attempt(self, self.cache, connection, [job])
        except Exception as error:
            if is_away(error):
                self._abandon(lane, "write")
            else:
                await self._roll_back(lane, "write")
                if _lost_race(error) and not last:
                    return False
            fail([job], _refusal(error))
        return True

    async def _read_batch(self, lane: int, jobs: list[Job]) -> None:
        left = list(jobs)
        while left:
            try:
                connection = await self._connection("read", lane)
            except Unavailable as error:
                fail(left, error)
                return
            try:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                sound = True
                while left and sound:
                    sound = await self._read_one(connection, left[0])
                    left.pop(0)
                await connection.execute("ROLLBACK")
            except Exception as error:
                self._abandon(lane, "read")
                fail(left, _refusal(error))
                return

    async def _read_one(self, connection: Connection, job: Job) -> bool:
        """Run a query; tell whether the transaction is still sound.

        Raises:
            Exception: the server is away.
        """
        tx = PostgresTx(job.call, self, self.cache, connection, Batch(), reads_only=True)
        try:
            job.result = await job.call.command(tx, job.call.argument)
        except Exception as error:
            if is_away(error):
                raise
            job.error = _refusal(error)
        return not tx.broken

    async def _roll_back(self, lane: int, kind: str) -> None:
        try:
            await self._connections[kind, lane].execute("ROLLBACK")
        except Exception:  # whatever it was, this connection is not to be used again
            self._abandon(lane, kind)

    def _abandon(self, lane: int, kind: str) -> None:
        connection = self._connections.pop((kind, lane), None)
        if connection is not None:
            connection.terminate()

    async def _measure_clock(self) -> None:
        connection = await connect(self._url)
        try:
            best = timedelta.max
            for _ in range(3):
                before = self.clock.now()
                there = await connection.fetchval("SELECT clock_timestamp()")
                after = self.clock.now()
                if self._follow_clock and after - before < best:
                    best, self._offset = after - before, there - (before + (after - before) / 2)
        finally:
            await close(connection)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(60)
            try:
                await self._measure_clock()
            except Exception as error:
                if not is_away(error):
                    raise


def _lost_race(error: Exception) -> bool:
    if isinstance(error, asyncpg.UniqueViolationError):
        # Another replica remembered the same replay key first: run again, and find it.
        return bool(error.table_name == idem.name)
    return isinstance(error, LOST_RACE)


def _refusal(error: Exception) -> Exception:
    if isinstance(error, HubError):
        return error
    if is_away(error):
        refusal: Exception = Unavailable("The database does not answer now.")
    elif isinstance(error, LOST_RACE):
        refusal = Unavailable("Too many calls change the same thing now.")
    elif isinstance(error, asyncpg.UniqueViolationError):
        refusal = duplicate(error)
    else:
        return error
    refusal.__cause__ = error
    return refusal
