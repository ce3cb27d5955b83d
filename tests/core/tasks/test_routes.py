"""What a process remembers of the routes never makes it deaf to a new one."""

import asyncio
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import pytest

from core.platform import Platform
from core.routing import Offer, Route, RouteTable
from core.store.statement import Row
from tests.conftest import OpenStore
from tests.core.tasks.stage import SECONDS, Stage
from tests.fakes import FakeClock

PLAIN = Route(frozenset(), frozenset(), "task")
ANYTHING = Offer(frozenset(), frozenset(), frozenset({"task"}))


def test_a_route_that_comes_while_the_routes_are_read_is_read_next_time() -> None:
    table, tenant = RouteTable(), uuid4()
    seen = table.changes(tenant)
    table.forget(tenant)  # the commit of a new route, which the reader's view does not hold
    table.learn(tenant, [], seen)
    assert not table.known(tenant)
    table.learn(tenant, [cast(Row, SimpleNamespace(id=7, key=PLAIN.key))], table.changes(tenant))
    assert table.known(tenant)
    assert table.covered(tenant, ANYTHING) == (7,)


async def test_an_agent_that_is_not_there_for_everybody_gets_what_asks_for_it(stage: Stage) -> None:
    tags = ["acp", "mine"]
    private = await stage.agent(routing_tags=tags, metadata={"only_tags": ["mine"]})
    for asked_for in ([], ["acp"]):
        await stage.submit(required_tags=asked_for)
    assert not (await stage.claim(private)).items
    asked = await stage.submit(required_tags=tags)
    assert (await stage.claim(private)).items[0].task.id == asked.id
    anybody = await stage.agent("anybody", routing_tags=tags)
    assert (await stage.claim(anybody)).items


async def test_a_route_made_by_another_replica_is_claimed_from_here(
    platform: Platform, stage: Stage, database_url: str, open_another: OpenStore, clock: FakeClock
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("one process serves one SQLite file")
    agent = await stage.agent(routing_tags=["red", "blue"])
    await stage.submit(required_tags=["red"])
    there = Stage(Platform(await open_another()), clock)
    there.tenant, there.user, there.admin = stage.tenant, stage.user, stage.admin
    held = await there.take(agent)
    await there.complete(agent, held.task.id, held.lease_id)
    await stage.submit(required_tags=["blue"])
    async with asyncio.timeout(SECONDS):
        while not (await there.claim(agent)).items:  # noqa: ASYNC110 - as a poll that nobody wakes
            await asyncio.sleep(0.05)
