"""Wake-ups reach whoever waits, in order, and none is lost between listening and waiting."""

import asyncio

from core.hints import Hints

LONG = 5.0


async def test_a_hint_between_listening_and_waiting_is_not_lost() -> None:
    hints = Hints()
    with hints.listen(["task:1"]) as woken:
        hints.publish("task:1")
        assert await woken.wait(LONG)


async def test_a_wait_ends_with_its_timeout() -> None:
    with Hints().listen(["task:1"]) as woken:
        assert not await woken.wait(0.01)
        assert not await woken.wait(0)


async def test_every_waiter_of_an_ordinary_topic_is_woken() -> None:
    hints = Hints()
    with hints.listen(["events"]) as first, hints.listen(["events"]) as second:
        assert hints.publish("events") == 2
        assert await first.wait(LONG)
        assert await second.wait(LONG)


async def test_a_route_wakes_as_many_as_it_has_work_for_first_come_first_served() -> None:
    hints = Hints()
    with hints.listen(["route:1"]) as a, hints.listen(["route:1"]) as b, hints.listen(["route:1"]) as c:
        assert hints.publish("route:1", 2) == 2
        assert await a.wait(LONG)
        assert await b.wait(LONG)
        assert not await c.wait(0)


async def test_a_waiter_counts_once_though_it_listens_to_many_routes() -> None:
    hints = Hints()
    with hints.listen(["route:1", "route:2"]) as both, hints.listen(["route:2"]) as one:
        hints.publish("route:1")
        assert hints.publish("route:2") == 1
        assert await both.wait(LONG)
        assert await one.wait(LONG)


async def test_an_unused_route_hint_goes_to_the_next_in_line() -> None:
    hints = Hints()
    with hints.listen(["route:1"]):
        with hints.listen(["route:1"]) as second:
            hints.publish("route:1", 2)
            hints.publish("route:1", 1)
            assert await second.wait(LONG)
        with hints.listen(["route:1"]) as third:
            assert not await third.wait(0)
    with hints.listen(["route:1"]) as late:
        with hints.listen(["route:1"]):
            hints.publish("route:1", 1)
        assert await late.wait(LONG)


async def test_a_cancelled_waiter_passes_its_hint_on() -> None:
    hints = Hints()

    async def wait() -> None:
        with hints.listen(["route:1"]) as woken:
            await woken.wait(LONG)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    with hints.listen(["route:1"]) as second:
        hints.publish("route:1")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await second.wait(LONG)


async def test_after_a_hint_one_may_wait_again() -> None:
    hints = Hints()
    with hints.listen(["events"]) as woken:
        hints.publish("events")
        assert await woken.wait(LONG)
        assert not await woken.wait(0)
        hints.publish("events")
        assert await woken.wait(LONG)


async def test_nobody_is_remembered_after_leaving() -> None:
    hints = Hints()
    with hints.listen(["events", "route:1"]):
        assert hints.waiting("events") == 1
    assert hints.waiting("events") == hints.waiting("route:1") == 0
    assert hints.publish("events") == 0
