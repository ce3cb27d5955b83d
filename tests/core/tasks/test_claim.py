"""An agent takes work."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from core import agents
from core.caller import Caller
from core.errors import AgentBusy, Forbidden, NotFound
from core.platform import Platform
from core.tasks import claim
from core.tasks.task import Claims
from schemas.vocabulary import AgentStatus, ExecutionMode, Priority, Scope, TaskState
from tests.core.tasks.stage import SECONDS, Stage
from tests.core.workflows.theatre import Theatre
from tests.fakes import FakeClock


async def waiting(stage: Stage, agent: Caller, wait: float = SECONDS) -> Claims:
    command = claim.ClaimTasks(agent.principal_id)
    return await claim.claim_waiting(stage.platform, agent, command, wait)


async def until_waiting(stage: Stage, n: int) -> None:
    """Some claims wait on the topic that tells of new routes."""
    await stage.waiters(f"routes:{stage.tenant}", n)


async def test_a_claim_gives_a_lease_and_a_new_attempt(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    held = await stage.take(agent, start=False, lease_seconds=45)
    assert held.task.id == task.id
    assert (held.task.state, held.task.attempt, held.task.agent_id) == (
        TaskState.CLAIMED,
        1,
        agent.principal_id,
    )
    assert (held.lease_expires_at - stage.clock.now()).total_seconds() == 45
    kinds = [kind for kind, _ in await stage.told(task.id)]
    assert kinds == ["task.created", "task.state_changed", "task.assigned"]


async def test_a_claim_may_start_at_once(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    assert (await stage.take(agent)).task.state is TaskState.IN_PROGRESS
    assert await stage.moves(task.id) == ["claim", "start"]


async def test_two_claims_never_get_the_same_task(stage: Stage) -> None:
    agents = [await stage.agent(f"a{n}") for n in range(20)]
    tasks = {(await stage.submit()).id for _ in range(15)}
    claims = await asyncio.gather(*(stage.claim(agent) for agent in agents))
    got = [held.task.id for claimed in claims for held in claimed.items]
    assert len(got) == 15
    assert set(got) == tasks


@pytest.mark.parametrize(
    ("offered", "wanted", "taken"),
    [
        ([], [], True),
        (["gpu"], [], True),
        (["gpu", "eu"], ["gpu"], True),
        (["gpu"], ["gpu", "eu"], False),
        ([], ["gpu"], False),
    ],
)
async def test_an_agent_gets_what_its_tags_cover(
    stage: Stage, offered: list[str], wanted: list[str], taken: bool
) -> None:
    agent = await stage.agent(routing_tags=offered)
    await stage.submit(required_tags=wanted)
    assert bool((await stage.claim(agent)).items) is taken


async def test_tags_of_the_claim_add_to_those_of_the_agent(stage: Stage) -> None:
    agent = await stage.agent(routing_tags=["gpu"])
    await stage.submit(required_tags=["gpu", "eu"])
    assert not (await stage.claim(agent)).items
    assert (await stage.claim(agent, routing_tags=["eu"])).items


async def test_an_agent_gets_what_its_tools_cover(stage: Stage) -> None:
    plain, able = await stage.agent("plain"), await stage.agent("able", tools={"optional": ["browser"]})
    await stage.submit(required_tools=["browser"])
    assert not (await stage.claim(plain)).items
    assert (await stage.claim(able)).items


async def test_a_role_is_a_tag(stage: Stage) -> None:
    await stage.submit(role="reviewer")
    assert not (await stage.claim(await stage.agent())).items
    assert (await stage.claim(await stage.agent(routing_tags=["role:reviewer"]))).items


async def test_orchestration_goes_to_orchestrators_alone(stage: Stage) -> None:
    await stage.submit(orchestrator=True)
    assert not (await stage.claim(await stage.agent())).items
    assert (await stage.claim(await stage.agent(execution_mode=ExecutionMode.HYBRID))).items


async def test_work_of_one_workflow_can_be_asked_for(platform: Platform, clock: FakeClock) -> None:
    stage = Theatre(platform, clock)
    agent, flow = await stage.agent(max_concurrent=3), (await stage.workflow({})).id
    await stage.submit("elsewhere")
    inside = await stage.submit("inside", workflow_id=flow)
    assert (await stage.take(agent, workflow_id=flow)).task.id == inside.id
    assert not (await stage.claim(agent, workflow_id=flow)).items


async def test_the_more_urgent_comes_first_and_equals_in_order(stage: Stage) -> None:
    wishes = [Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.NORMAL, Priority.HIGH]
    tasks = [await stage.submit(priority=p) for p in wishes]
    agent = await stage.agent(max_concurrent=5)
    got = [held.task.id for held in (await stage.claim(agent, limit=5)).items]
    assert got == [tasks[n].id for n in (2, 4, 1, 3, 0)]


async def test_a_task_that_has_waited_overtakes_the_next_higher_class(stage: Stage) -> None:
    old = await stage.submit(priority=Priority.NORMAL)
    stage.clock.advance(9 * 60)
    young = await stage.submit(priority=Priority.HIGH)
    stage.clock.advance(2 * 60)
    youngest = await stage.submit(priority=Priority.HIGH)
    agent = await stage.agent(max_concurrent=3)
    got = [held.task.id for held in (await stage.claim(agent, limit=3)).items]
    assert got == [young.id, old.id, youngest.id]


async def test_urgency_is_weighed_across_routes(stage: Stage) -> None:
    slow = await stage.submit(required_tags=["a"], priority=Priority.LOW)
    fast = await stage.submit(required_tags=["b"], priority=Priority.HIGH)
    plain = await stage.submit()
    agent = await stage.agent(routing_tags=["a", "b"], max_concurrent=3)
    got = [held.task.id for held in (await stage.claim(agent, limit=3)).items]
    assert got == [fast.id, plain.id, slow.id]


async def test_more_routes_than_one_statement_holds_are_all_served(stage: Stage) -> None:
    tags = [f"t{n}" for n in range(70)]
    tasks = {(await stage.submit(required_tags=[tag])).id for tag in tags}
    agent = await stage.agent(routing_tags=tags, max_concurrent=70)
    got = {held.task.id for held in (await stage.claim(agent, limit=70)).items}
    assert got == tasks


async def test_urgency_is_weighed_across_more_routes_than_one_statement_holds(stage: Stage) -> None:
    tags = [f"t{n}" for n in range(70)]
    for tag in tags:
        await stage.submit(required_tags=[tag])
    urgent = await stage.submit(required_tags=[tags[-1]], priority=Priority.CRITICAL)
    agent = await stage.agent(routing_tags=tags)
    assert (await stage.take(agent)).task.id == urgent.id


async def test_a_preferred_agent_gets_its_task_and_others_do_not(stage: Stage) -> None:
    mine, other = await stage.agent("mine"), await stage.agent("other")
    task = await stage.submit(preferred_agent_id=mine.principal_id)
    assert not (await stage.claim(other)).items
    assert (await stage.take(mine)).task.id == task.id


async def test_a_preference_that_is_not_used_in_time_opens_the_task_to_all(stage: Stage) -> None:
    mine, other = await stage.agent("mine"), await stage.agent("other")
    task = await stage.submit(preferred_agent_id=mine.principal_id, preferred_seconds=30)
    waiter = asyncio.create_task(waiting(stage, other, wait=30 + SECONDS))
    await until_waiting(stage, 1)
    await stage.later(30)
    [held] = (await waiter).items
    assert held.task.id == task.id


async def test_an_agent_with_no_free_place_gets_its_own_tasks_again(stage: Stage) -> None:
    agent, task = await stage.agent(), await stage.submit()
    await stage.submit()
    first = await stage.take(agent, start=False)
    again = await stage.claim(agent)
    assert again.replayed
    assert [(held.task.id, held.lease_id) for held in again.items] == [(task.id, first.lease_id)]
    assert (await stage.get(task.id)).version == first.task.version


async def test_an_agent_holds_as_many_tasks_as_it_may(stage: Stage) -> None:
    agent = await stage.agent(max_concurrent=2)
    for _ in range(3):
        await stage.submit()
    assert len((await stage.claim(agent, limit=2)).items) == 2
    assert (await stage.claim(agent)).replayed


async def test_a_limit_beyond_the_free_places_is_refused_and_takes_nothing(stage: Stage) -> None:
    agent, task = await stage.agent(max_concurrent=2), await stage.submit()
    await stage.take(agent)
    second = await stage.submit()
    with pytest.raises(AgentBusy) as refused:
        await stage.claim(agent, limit=2)
    assert refused.value.details["free"] == 1
    assert await stage.state(second.id) is TaskState.READY
    assert (await stage.get(task.id)).attempt == 1


async def test_claims_of_one_agent_at_once_stay_within_its_places(stage: Stage) -> None:
    agent = await stage.agent(max_concurrent=3)
    for _ in range(10):
        await stage.submit()
    claims = await asyncio.gather(*(stage.claim(agent) for _ in range(10)))
    assert sum(len(c.items) for c in claims if not c.replayed) == 3


async def test_an_agent_is_busy_while_it_holds_work(stage: Stage) -> None:
    async def status() -> AgentStatus:
        query = agents.AgentId(agent.principal_id)
        return (await stage.platform.read(stage.admin, agents.get_agent, query)).status

    agent, task, lease = await stage.started()
    assert await status() is AgentStatus.BUSY
    await stage.complete(agent, task.id, lease)
    assert await status() is AgentStatus.IDLE


async def test_nobody_claims_for_an_agent_that_is_not_theirs(stage: Stage) -> None:
    worker, other = stage.caller(Scope.WORKER, "worker"), stage.caller(Scope.WORKER, "worker")
    agent = await stage.agent(by=worker)
    await stage.submit()
    for caller in (other, stage.user):
        with pytest.raises(Forbidden):
            await stage.claim(agent, by=caller)
    assert (await stage.claim(agent, by=worker)).items[0].task.worker_id == worker.principal_id
    with pytest.raises(NotFound):
        await stage.claim(replace(agent, principal_id=uuid4()))


async def test_tenants_never_see_each_others_work(stage: Stage) -> None:
    await stage.submit()
    elsewhere = Stage(stage.platform, stage.clock)
    assert not (await elsewhere.claim(await elsewhere.agent())).items
    with pytest.raises(NotFound):
        await elsewhere.claim(await stage.agent(), by=elsewhere.admin)


async def test_a_waiting_claim_is_woken_by_a_submit(stage: Stage) -> None:
    await stage.submit()
    agent, first = await stage.agent("ada"), await stage.agent("first")
    await stage.take(first)
    waiter = asyncio.create_task(waiting(stage, agent))
    await until_waiting(stage, 1)
    task = await stage.submit()
    [held] = (await waiter).items
    assert held.task.id == task.id


async def test_a_waiting_claim_hears_of_routes_that_are_made_later(stage: Stage) -> None:
    agent = await stage.agent(routing_tags=["new"])
    waiter = asyncio.create_task(waiting(stage, agent))
    await until_waiting(stage, 1)
    task = await stage.submit(required_tags=["new"])
    [held] = (await waiter).items
    assert held.task.id == task.id


async def test_as_many_waiting_claims_are_served_as_tasks_come(stage: Stage) -> None:
    await stage.submit()
    await stage.take(await stage.agent("first"))
    agents = [await stage.agent(f"a{n}") for n in range(6)]
    waiters = [asyncio.create_task(waiting(stage, agent, wait=1.0)) for agent in agents]
    await until_waiting(stage, 6)
    tasks = {(await stage.submit()).id for _ in range(4)}
    done = [await waiter for waiter in waiters]
    got = [held.task.id for claims in done for held in claims.items]
    assert sorted(got) == sorted(tasks)


async def test_a_waiting_claim_ends_empty_when_nothing_comes(stage: Stage) -> None:
    assert not (await waiting(stage, await stage.agent(), wait=0.05)).items


async def test_a_keyed_claim_that_waited_gets_the_work_that_came(stage: Stage) -> None:
    agent = replace(await stage.agent(), replay_key="claim-1")
    waiter = asyncio.create_task(waiting(stage, agent, wait=SECONDS))
    await until_waiting(stage, 1)
    task = await stage.submit()
    [held] = (await waiter).items
    assert held.task.id == task.id
    [again] = (await waiting(stage, agent, wait=SECONDS)).items
    assert (again.task.id, again.lease_id) == (task.id, held.lease_id)


async def test_a_claim_brings_the_conversation_when_asked(stage: Stage) -> None:
    await stage.submit(parts=[{"text": "hi"}])
    held = await stage.take(await stage.agent(), include_context=True)
    assert [m.parts for m in held.messages] == [[{"text": "hi"}]]


async def test_a_claim_whose_caller_is_gone_is_given_back_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, handed = await stage.submit(), asyncio.Event()
    write = stage.platform.write

    async def telling(*arguments: Any) -> Any:
        handed.set()
        return await write(*arguments)

    monkeypatch.setattr(stage.platform, "write", telling)
    gone = asyncio.create_task(waiting(stage, await stage.agent("gone"), wait=SECONDS))
    handed.clear()
    await handed.wait()
    gone.cancel()
    monkeypatch.undo()
    [held] = (await waiting(stage, await stage.agent("other"), wait=SECONDS)).items
    assert (held.task.id, held.task.attempt, held.task.retry_count) == (task.id, 2, 0)
