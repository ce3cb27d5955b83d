"""The worker's law: claims, keeps the lease, reports each outcome once, stops when told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.client import Claim, Unauthorized
from hub.worker import Handler, Note, Refused, Reporter, TaskFailed, WorkerConfig, run_worker
from hub.worker.notes import Kind
from tests.hub.client.fake_hub import KEY, FakeHub, fake_hub


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeHub]:
    async with fake_hub() as hub:
        yield hub


@asynccontextmanager
async def _working(
    fake: FakeHub, handler: Handler, notes: list[Note] | None = None, **options: Any
) -> AsyncIterator[asyncio.Event]:
    """A worker for as long as the block; afterwards it is drained, and must end by itself."""
    config = WorkerConfig(
        url=fake.url,
        api_key=KEY,
        handler=handler,
        listener=(notes if notes is not None else []).append,
        **options,
    )
    drain = asyncio.Event()
    working = asyncio.create_task(run_worker(config, drain=drain))
    try:
        yield drain
        drain.set()
        async with asyncio.timeout(20):
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _shout(claim: Claim, reporter: Reporter) -> Any:
    return str(claim.input["text"]).upper()


async def _ends(fake: FakeHub, task_id: str) -> dict[str, Any]:
    await fake.until(lambda: fake.tasks[task_id]["state"] in {"completed", "failed", "cancelled", "rejected"})
    return fake.tasks[task_id]


class _Hanging:
    """A handler that never ends by itself, and remembers that it was stopped."""

    def __init__(self, then: Callable[[Reporter], Awaitable[Any]] | None = None) -> None:
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()
        self._then = then

    async def __call__(self, claim: Claim, reporter: Reporter) -> Any:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped.set()
            if self._then is None:
                raise
            return await self._then(reporter)


class _Notes(list[Note]):
    """What a worker told, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def append(self, note: Note) -> None:
        super().append(note)
        self._more.set()

    async def has(self, kind: Kind) -> None:
        async with asyncio.timeout(20):
            while kind not in [note.kind for note in self]:
                self._more.clear()
                await self._more.wait()


async def _within(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def test_what_the_handler_returns_is_the_output(fake: FakeHub) -> None:
    task_id = await fake.submit(input={"text": "hi"})
    async with _working(fake, _shout, name="scout", tags=["a"]):
        task = await _ends(fake, task_id)
    assert (task["state"], task["output"]) == ("completed", "HI")
    assert fake.bodies("register")[0] == {"name": "scout", "routing_tags": ["a"], "max_concurrent": 1}
    (agent,) = fake.agents
    assert {body["agent_id"] for body in fake.bodies("claim")} == {agent}
    assert all(body["start"] for body in fake.bodies("claim"))


async def test_the_agents_own_key_works_not_the_registering_one(fake: FakeHub) -> None:
    task_id = await fake.submit(input={"text": "hi"})
    async with _working(fake, _shout):
        await _ends(fake, task_id)
    sent = {
        headers["Authorization"]
        for (_, path, _), headers in zip(fake.requests, fake.headers, strict=True)
        if path.startswith("tasks")
    }
    assert sent == {f"Bearer xd_agent_{next(iter(fake.agents))}"}


async def test_an_agent_with_its_own_key_registers_nothing(fake: FakeHub) -> None:
    fake.keys[KEY] = "agent"
    task_id = await fake.submit(input={"text": "hi"})
    async with _working(fake, _shout, agent_id="a1"):
        await _ends(fake, task_id)
    assert not fake.agents
    assert fake.bodies("claim")[0]["agent_id"] == "a1"


async def test_an_agents_key_alone_tells_which_agent_it_is(fake: FakeHub) -> None:
    fake.agents["a7"] = {"id": "a7"}
    fake.keys[KEY] = "agent"
    async with _working(fake, _shout):
        await fake.until(lambda: fake.bodies("claim"))
    assert fake.bodies("claim")[0]["agent_id"] == "a7"


async def test_an_unknown_key_ends_the_worker(fake: FakeHub) -> None:
    fake.keys.clear()
    with pytest.raises(Unauthorized):
        async with asyncio.timeout(20):
            await run_worker(WorkerConfig(url=fake.url, api_key=KEY, handler=_shout))


async def test_a_registration_whose_answer_was_lost_is_made_again(fake: FakeHub) -> None:
    fake.faults["register"] = ["mute"]
    task_id = await fake.submit(input={"text": "hi"})
    async with _working(fake, _shout):
        await _ends(fake, task_id)


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (
            TaskFailed("no such city", category="bad_input"),
            "failed",
            {"category": "bad_input", "message": "no such city", "recoverable": False},
        ),
        (
            RuntimeError("oh\0 no"),
            "failed",
            {"category": "execution_error", "message": "RuntimeError: oh\ufffd no", "recoverable": False},
        ),
        (Refused("not mine"), "rejected", None),
    ],
)
async def test_an_error_of_the_handler_is_the_outcome(
    fake: FakeHub, error: Exception, state: str, told: Any
) -> None:
    async def fail(claim: Claim, reporter: Reporter) -> Any:
        raise error

    task_id = await fake.submit()
    async with _working(fake, fail):
        task = await _ends(fake, task_id)
    assert (task["state"], task.get("error")) == (state, told)


async def test_an_output_that_is_no_json_fails_the_task(fake: FakeHub) -> None:
    async def odd(claim: Claim, reporter: Reporter) -> Any:
        return object()

    task_id = await fake.submit()
    async with _working(fake, odd):
        task = await _ends(fake, task_id)
    assert task["state"] == "failed"
    assert "not take the output" in task["error"]["message"]


@pytest.mark.parametrize("fault", ["unavailable", "deaf", "mute", "broken"])
async def test_reports_are_repeated_until_acknowledged_and_count_once(fake: FakeHub, fault: str) -> None:
    async def talk(claim: Claim, reporter: Reporter) -> Any:
        await reporter.say("one")
        return "two"

    if fault != "broken":  # a message that breaks the hub fails the task; an outcome is tried again
        fake.faults["messages"] = [fault]
    fake.faults["complete"] = [fault]
    task_id = await fake.submit()
    async with _working(fake, talk):
        task = await _ends(fake, task_id)
        await fake.until(lambda: len(fake.bodies("complete")) == 2)
    assert fake.said(task_id) == ["one"]
    assert (task["state"], task["output"]) == ("completed", "two")


async def test_work_goes_on_while_the_hub_is_away(fake: FakeHub) -> None:
    away = asyncio.Event()

    async def outlive(claim: Claim, reporter: Reporter) -> Any:
        await away.wait()
        await reporter.say("said to nobody, heard later")
        return "done"

    notes = _Notes()
    task_id = await fake.submit()
    async with _working(fake, outlive, notes):
        await notes.has(Kind.CLAIMED)
        await fake.stop()
        away.set()
        await notes.has(Kind.UNREACHABLE)
        await fake.start()
        task = await _ends(fake, task_id)
    assert (task["output"], task["attempt"]) == ("done", 1)
    assert fake.said(task_id) == ["said to nobody, heard later"]
    await notes.has(Kind.REACHABLE)


async def test_the_lease_is_renewed_with_a_waiting_call(fake: FakeHub) -> None:
    handler = _Hanging()
    task_id = await fake.submit()
    async with _working(fake, handler, lease_seconds=5):
        await fake.until(lambda: len(fake.bodies("lease")) >= 2)
        assert fake.bodies("lease")[0]["extend_seconds"] == 5
        assert fake.bodies("lease")[0]["wait_seconds"] == 1
        await fake.end(task_id, "cancelled", "task_already_cancelled")
        await _within(handler.stopped)


@pytest.mark.parametrize(
    ("reason", "kind"), [("task_already_cancelled", Kind.CANCELLED), ("task_ownership_moved", Kind.LOST)]
)
async def test_a_lost_lease_stops_the_handler_and_drops_its_result(
    fake: FakeHub, reason: str, kind: Kind
) -> None:
    async def late(reporter: Reporter) -> Any:
        return "too late"

    handler, notes = _Hanging(late), list[Note]()
    task_id = await fake.submit()
    async with _working(fake, handler, notes):
        await fake.until(lambda: fake.bodies("lease"))
        await fake.end(task_id, "cancelled", reason)
        await _within(handler.stopped)
    assert not fake.bodies("complete")
    assert kind in [note.kind for note in notes]


async def test_a_cancellation_with_grace_is_confirmed_after_the_last_words(fake: FakeHub) -> None:
    async def last_words(reporter: Reporter) -> Any:
        await reporter.say("stopping")
        raise asyncio.CancelledError

    handler = _Hanging(last_words)
    task_id = await fake.submit()
    async with _working(fake, handler):
        await fake.until(lambda: fake.bodies("lease"))
        await fake.ask_to_cancel(task_id)
        task = await _ends(fake, task_id)
    assert task["state"] == "cancelled"
    assert fake.said(task_id) == ["stopping"]
    assert fake.bodies("cancel")[0]["lease_id"] == fake.bodies("lease")[0]["lease_id"]


async def test_a_result_that_comes_within_the_grace_wins(fake: FakeHub) -> None:
    async def hurry(reporter: Reporter) -> Any:
        return "just in time"

    task_id = await fake.submit()
    async with _working(fake, _Hanging(hurry)):
        await fake.until(lambda: fake.bodies("lease"))
        await fake.ask_to_cancel(task_id)
        task = await _ends(fake, task_id)
    assert (task["state"], task["output"]) == ("completed", "just in time")


async def test_a_task_that_takes_too_long_fails_with_timeout(fake: FakeHub) -> None:
    handler = _Hanging()
    task_id = await fake.submit(timeout_minutes=0.001)
    async with _working(fake, handler):
        task = await _ends(fake, task_id)
    assert handler.stopped.is_set()
    assert (task["error"]["category"], task["error"]["recoverable"]) == ("timeout", True)


async def test_several_tasks_run_side_by_side_and_no_more_than_allowed(fake: FakeHub) -> None:
    together = asyncio.Barrier(2)
    now, most = 0, 0

    async def meet(claim: Claim, reporter: Reporter) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await together.wait()
        now -= 1
        return None

    ids = [await fake.submit() for _ in range(6)]
    async with _working(fake, meet, concurrency=2):
        for task_id in ids:
            await _ends(fake, task_id)
    assert most == 2
    assert max(body["limit"] for body in fake.bodies("claim")) == 2
    assert fake.bodies("register")[0]["max_concurrent"] == 2


async def test_draining_claims_nothing_more_and_finishes_what_runs(fake: FakeHub) -> None:
    go = asyncio.Event()

    async def slow(claim: Claim, reporter: Reporter) -> Any:
        await go.wait()
        return "finished"

    task_id = await fake.submit()
    async with _working(fake, slow) as drain:
        await fake.until(lambda: fake.tasks[task_id]["state"] == "in_progress")
        drain.set()
        later = await fake.submit()
        go.set()
    assert fake.tasks[task_id]["output"] == "finished"
    assert fake.tasks[later]["state"] == "ready"


async def test_an_idle_worker_drains_in_the_middle_of_its_poll(fake: FakeHub) -> None:
    async with _working(fake, _shout):
        await fake.until(lambda: fake.bodies("claim"))


async def test_a_worker_may_be_told_to_stop_before_it_found_a_hub(fake: FakeHub) -> None:
    await fake.stop()
    notes: list[Note] = []
    drain = asyncio.Event()

    def hear(note: Note) -> None:
        notes.append(note)
        drain.set()

    config = WorkerConfig(url=fake.url, api_key=KEY, handler=_shout, listener=hear)
    async with asyncio.timeout(20):
        await run_worker(config, drain=drain)
    assert notes[0].kind is Kind.UNREACHABLE


async def test_cancelling_the_worker_cancels_its_handlers(fake: FakeHub) -> None:
    handler = _Hanging()
    task_id = await fake.submit()
    config = WorkerConfig(url=fake.url, api_key=KEY, handler=handler)
    working = asyncio.create_task(run_worker(config))
    await _within(handler.started)
    working.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(working, return_exceptions=True)
    assert handler.stopped.is_set()
    assert fake.tasks[task_id]["state"] == "in_progress"  # its lease runs out; nothing was made up


def test_the_key_does_not_show_in_the_configuration() -> None:
    assert KEY not in repr(WorkerConfig(url="u", api_key=KEY, handler=_shout))
