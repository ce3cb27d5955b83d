"""Which calls share a batch, and which wait for one another."""

import asyncio
from collections.abc import Hashable
from uuid import uuid4

from core.caller import SYSTEM
from core.store import Tx
from core.store.engine import Call
from core.store.lanes import Job, Lanes, keys_of
from tests.core.store.ledger import Count, Nothing, Open

SECONDS = 5.0


async def one(tx: Tx, argument: object) -> None:
    raise NotImplementedError  # never run: lanes only tell commands apart


async def other(tx: Tx, argument: object) -> None:
    raise NotImplementedError  # never run: lanes only tell commands apart


class Recorder:
    """Runs batches when told to."""

    def __init__(self) -> None:
        self.batches: list[list[Job]] = []
        self.gate = asyncio.Semaphore(0)

    async def run(self, lane: int, batch: list[Job]) -> None:
        self.batches.append(batch)
        await self.gate.acquire()
        for job in batch:
            job.result = job.call.argument


def job(argument: object, *keys: Hashable, command: object = one) -> Job:
    assert callable(command)
    call = Call(SYSTEM(uuid4()), command, argument)
    return Job(call, asyncio.get_running_loop().create_future(), frozenset(keys))


async def settle(lanes: Lanes, recorder: Recorder) -> None:
    for _ in range(100):
        recorder.gate.release()
    await asyncio.wait_for(lanes.drain(), SECONDS)


def arguments(recorder: Recorder) -> list[list[object]]:
    return [[job.call.argument for job in batch] for batch in recorder.batches]


async def test_calls_gather_while_the_lane_is_busy() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=1, batch=3)
    jobs = [job(n) for n in range(6)]
    lanes.submit(jobs[0])
    await asyncio.sleep(0)
    for each in jobs[1:]:
        lanes.submit(each)
    await settle(lanes, recorder)
    assert arguments(recorder) == [[0], [1, 2, 3], [4, 5]]
    assert [each.future.result() for each in jobs] == list(range(6))


async def test_many_calls_are_shared_among_the_lanes_that_are_free() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=3, batch=100)
    for n in range(90):
        lanes.submit(job(n))
    await asyncio.sleep(0)
    await settle(lanes, recorder)
    assert [len(batch) for batch in recorder.batches] == [30, 30, 30]


async def test_calls_with_a_common_key_never_run_at_once_and_keep_their_order() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=3, batch=10)
    for n, key in enumerate(["a", "a", "b", "a", "b"]):
        lanes.submit(job(n, key))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert arguments(recorder) == [[0, 2]]
    await settle(lanes, recorder)
    assert arguments(recorder) == [[0, 2], [1, 4], [3]]


async def test_a_call_with_two_keys_waits_for_both_and_is_not_overtaken() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=1, batch=10)
    for n, keys in enumerate([("a",), ("a", "b"), ("b",), ("c",)]):
        lanes.submit(job(n, *keys))
    await settle(lanes, recorder)
    assert arguments(recorder) == [[0, 3], [1], [2]]


async def test_a_batch_is_of_one_command_unless_it_may_be_mixed() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=1, batch=10)
    for n, command in enumerate([one, other, one, other]):
        lanes.submit(job(n, command=command))
    await settle(lanes, recorder)
    assert arguments(recorder) == [[0, 2], [1, 3]]
    recorder = Recorder()
    lanes = Lanes(recorder.run, width=1, batch=10, mixed=True)
    for n, command in enumerate([one, other, one]):
        lanes.submit(job(n, command=command))
    await settle(lanes, recorder)
    assert arguments(recorder) == [[0, 1, 2]]


async def test_whoever_waits_hears_of_a_fault_of_the_runner() -> None:
    async def fail(lane: int, batch: list[Job]) -> None:
        raise ZeroDivisionError

    lanes = Lanes(fail, width=1, batch=10)
    first, second = job(1, "a"), job(2, "a")
    lanes.submit(first)
    lanes.submit(second)
    await asyncio.wait_for(lanes.drain(), SECONDS)
    assert [type(each.future.exception()) for each in (first, second)] == [ZeroDivisionError] * 2


def test_a_call_is_known_by_the_ids_that_it_names() -> None:
    task = uuid4()
    caller = SYSTEM(uuid4())
    assert keys_of(Call(caller, one, Count("a", task))) == {task}
    assert keys_of(Call(caller, one, Open("a"))) == frozenset()
    assert keys_of(Call(caller, one, Nothing())) == frozenset()
