"""Tasks that wait for tasks."""

import asyncio

import pytest

from core.errors import Invalid
from core.tasks import review
from core.tasks.task import Policy
from schemas.vocabulary import OnDependencyFailure, TaskState
from tests.core.tasks.stage import Stage, waits_for

CANCEL, RUN, WAIT = OnDependencyFailure.CANCEL, OnDependencyFailure.RUN, OnDependencyFailure.WAIT


async def end(stage: Stage, how: str) -> None:
    """The one ready task ends."""
    agent = await stage.agent()
    held = await stage.take(agent)
    match how:
        case "completed":
            await stage.complete(agent, held.task.id, held.lease_id)
        case "failed":
            await stage.fail(agent, held.task.id, held.lease_id)
        case "rejected":
            await stage.refuse(agent, held.task.id, held.lease_id)
        case "cancelled":
            await stage.cancel(held.task.id)


async def test_a_task_waits_for_all_its_dependencies(stage: Stage) -> None:
    first, second = await stage.submit("1"), await stage.submit("2")
    last = await stage.submit("3", **waits_for(first, second))
    assert last.state is TaskState.PENDING
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.PENDING
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.READY


async def test_a_dependency_that_is_done_already_holds_nothing_back(stage: Stage) -> None:
    first = await stage.submit()
    await end(stage, "completed")
    assert (await stage.submit(**waits_for(first))).state is TaskState.READY


async def test_naming_a_dependency_twice_waits_once(stage: Stage) -> None:
    first = await stage.submit()
    last = await stage.submit(depends_on=[first.id, first.id])
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.READY


@pytest.mark.parametrize("how", ["failed", "rejected", "cancelled"])
@pytest.mark.parametrize(
    ("wish", "then"),
    [(WAIT, TaskState.PENDING), (CANCEL, TaskState.CANCELLED), (RUN, TaskState.READY)],
)
async def test_a_failed_dependency_has_the_wished_effect(
    stage: Stage, how: str, wish: OnDependencyFailure, then: TaskState
) -> None:
    first = await stage.submit()
    last = await stage.submit(**waits_for(first, then=wish))
    await end(stage, how)
    assert await stage.state(last.id) is then


async def test_a_waiting_task_goes_on_when_its_dependency_succeeds_at_last(stage: Stage) -> None:
    first = await stage.submit()
    last = await stage.submit(**waits_for(first))
    await end(stage, "failed")
    await stage.platform.write(stage.admin, review.retry, review.RetryTask(first.id))
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.READY


async def test_a_dependency_that_is_done_again_is_counted_once(stage: Stage) -> None:
    first, second = await stage.submit(), await stage.submit()
    last = await stage.submit(**waits_for(first, second))
    await end(stage, "completed")
    await stage.platform.write(stage.admin, review.retry, review.RetryTask(first.id, force=True))
    await stage.cancel(second.id)
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.PENDING


async def test_a_cancelled_chain_is_cancelled_to_its_end(stage: Stage) -> None:
    first = await stage.submit("0")
    chain = [first]
    for n in range(300):
        chain.append(await stage.submit(str(n + 1), **waits_for(chain[-1], then=CANCEL)))
    await stage.cancel(first.id)
    assert await stage.state(chain[-1].id) is TaskState.CANCELLED
    assert await stage.moves(chain[-1].id) == ["cancel"]


async def test_a_failed_dependency_does_not_touch_a_task_that_has_ended(stage: Stage) -> None:
    first = await stage.submit()
    last = await stage.submit(**waits_for(first, then=CANCEL))
    await stage.cancel(last.id)
    version = (await stage.get(last.id)).version
    await end(stage, "failed")
    assert (await stage.get(last.id)).version == version


async def test_a_task_cannot_be_born_after_a_failure_that_would_cancel_it(stage: Stage) -> None:
    first = await stage.submit()
    await end(stage, "failed")
    with pytest.raises(Invalid):
        await stage.submit(**waits_for(first, then=CANCEL))
    assert (await stage.submit(**waits_for(first, then=RUN))).state is TaskState.READY
    assert (await stage.submit(**waits_for(first))).state is TaskState.PENDING


async def test_leave_to_start_is_asked_once_nothing_is_waited_for(stage: Stage) -> None:
    first = await stage.submit()
    last = await stage.submit(depends_on=[first.id], policy=Policy(requires_approval=True))
    assert last.state is TaskState.PENDING
    await end(stage, "completed")
    assert await stage.state(last.id) is TaskState.AWAITING_APPROVAL


async def test_dependencies_that_end_at_once_release_a_task_once(stage: Stage) -> None:
    agents = [await stage.agent(f"a{n}") for n in range(8)]
    tasks = [await stage.submit() for _ in agents]
    last = await stage.submit(**waits_for(*tasks))
    held = [await stage.take(agent) for agent in agents]
    pairs = zip(agents, held, strict=True)
    await asyncio.gather(*(stage.complete(a, h.task.id, h.lease_id) for a, h in pairs))
    assert await stage.moves(last.id) == ["release"]
    assert await stage.state(last.id) is TaskState.READY


async def test_a_dependency_that_ends_while_a_dependant_is_born_is_not_missed(stage: Stage) -> None:
    agent = await stage.agent()
    for _ in range(10):
        task = await stage.submit()
        held = await stage.take(agent)
        _, *born = await asyncio.gather(
            stage.complete(agent, task.id, held.lease_id),
            *(stage.submit(**waits_for(task)) for _ in range(4)),
        )
        for dependant in born:
            assert await stage.state(dependant.id) is TaskState.READY
            await stage.cancel(dependant.id)
