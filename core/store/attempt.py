"""One try at a batch: its commands in one PostgreSQL transaction, one after another or in step."""

from collections.abc import Coroutine, Sequence
from typing import Any

from core.errors import HubError
from core.store.batch import Ask, Batch, take_step
from core.store.engine import Call, Outcome, Store, runs_in_step
from core.store.lanes import Job
from core.store.postgres_connection import Connection
from core.store.postgres_tx import PostgresTx
from core.store.replay import FIND, Replay
from core.store.statement import ProgramCache, Row
from core.store.tx import Tx

_KEY = ("tenant_id", "principal_id", "command", "target", "key")
FIND_MANY = """
SELECT k.n, i.body_hash, i.answer
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[])
  WITH ORDINALITY AS k(tenant_id, principal_id, command, target, key, n)
JOIN idem i USING (tenant_id, principal_id, command, target, key)
"""

Running = tuple[Job, PostgresTx, Coroutine[Any, Any, Outcome[Any]]]


async def attempt(store: Store, cache: ProgramCache, connection: Connection, jobs: Sequence[Job]) -> None:
    """Begin, run every job's command, commit. A clean refusal is a job's own affair.

    Raises:
        Exception: the transaction must be rolled back, and no job is to be believed.
    """
    shared = Batch()
    await connection.execute("BEGIN")
    known = await _recall_all(connection, jobs)
    in_step = len(jobs) > 1 and runs_in_step(jobs[0].call.command)
    running: list[Running] = []
    for job, found in zip(jobs, known, strict=True):
        tx = PostgresTx(job.call, store, cache, connection, shared, in_step=in_step)
        command = _perform(tx, job.call, found)
        if in_step:
            running.append((job, tx, command))
        else:
            await _finish(job, tx, command, shared)
    if in_step:
        await _run_in_step(connection, shared, running)
    await shared.flush(connection)
    await connection.execute("COMMIT")


def fail(jobs: Sequence[Job], error: Exception) -> None:
    """Let the jobs end with an error."""
    for job in jobs:
        job.result, job.error, job.wakes, job.after = None, error, {}, ()


async def _recall_all(connection: Connection, jobs: Sequence[Job]) -> list[Row | None]:
    """What earlier calls with the jobs' replay keys left, in one round trip."""
    known: list[Row | None] = [None] * len(jobs)
    keyed = [(index, job.call.replay) for index, job in enumerate(jobs) if job.call.replay is not None]
    if keyed:
        columns = [[replay.key[name] for _, replay in keyed] for name in _KEY]
        kind = FIND.program("postgresql").row_type
        for n, body_hash, answer in await connection.fetch(FIND_MANY, *columns):
            known[keyed[n - 1][0]] = tuple.__new__(kind, (body_hash, answer))
    return known


async def _perform(tx: Tx, call: Call, found: Row | None) -> Outcome[Any]:
    replay: Replay | None = call.replay
    if replay is not None and found is not None:
        return Outcome(replay.recall(found), True)
    result = await call.command(tx, call.argument)
    if replay is not None:
        replay.remember(tx, result)
    return Outcome(result, False)


async def _finish(
    job: Job, tx: PostgresTx, command: Coroutine[Any, Any, Outcome[Any]], shared: Batch
) -> None:
    """Run a command to its end. Raises when its transaction is spoilt."""
    try:
        _succeed(job, tx, await command, shared)
    except HubError as error:
        _refuse(job, tx, error)


async def _run_in_step(
    connection: Connection,
    shared: Batch,
    running: Sequence[Running],
) -> None:
    """Run commands to their end, statement by statement. Raises when their transaction is spoilt."""
    try:
        results: Sequence[Any] = [None] * len(running)
        while running:
            asking: list[tuple[Running, Ask]] = []
            for (job, tx, command), result in zip(running, results, strict=True):
                try:
                    ask = command.send(result)
                except StopIteration as done:
                    _succeed(job, tx, done.value, shared)
                except HubError as error:
                    _refuse(job, tx, error)
                else:
                    if type(ask) is not Ask:
                        raise RuntimeError(f"{job.call.name} suspended: a command awaits nothing but its tx")
                    asking.append(((job, tx, command), ask))
            running = [each for each, _ in asking]
            results = await take_step(connection, shared, [(tx.own, ask) for (_, tx, _), ask in asking])
    finally:
        for _, _, command in running:
            command.close()


def _succeed(job: Job, tx: PostgresTx, outcome: Outcome[Any], shared: Batch) -> None:
    if tx.broken:
        raise RuntimeError(f"{job.call.name} went on after a statement of its had failed")
    shared.absorb(tx.own)
    job.result, job.error, job.wakes, job.after = outcome, None, tx.wakes, tx.after


def _refuse(job: Job, tx: PostgresTx, error: HubError) -> None:
    """Drop what a command has added. Raises when it has left more than that."""
    if tx.broken or tx.wrote:
        raise error
    fail([job], error)
