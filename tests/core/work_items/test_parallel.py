"""One active task for each role of an item, and no more tasks at once than the playbook allows."""

import asyncio
from typing import Any

import pytest

from core.errors import Conflict, Invalid
from schemas.vocabulary import TaskState
from tests.core.tasks.stage import reason
from tests.core.work_items.bench import PLAIN, Bench


def capped(**orchestrator: Any) -> dict[str, Any]:
    return {**PLAIN, "lifecycle": "ongoing", "orchestrator": orchestrator}


async def ready(bench: Bench, tasks: list[Any]) -> list[bool]:
    await bench.sweep()
    return [await bench.state(task.id) is TaskState.READY for task in tasks]


async def test_while_a_task_of_an_item_and_role_is_active_it_is_returned_instead(bench: Bench) -> None:
    workflow, item = await bench.begun(capped())
    made = await asyncio.gather(*(bench.task(item, role="maker") for _ in range(8)))
    assert len({task.id for task in made}) == 1
    assert {(task.workflow_id, task.stage_name) for task in made} == {(workflow.id, "work")}
    assert (await bench.task(item, role="critic")).id != made[0].id
    assert (await bench.task(item)).id != (await bench.task(item)).id
    await bench.done(made[0])
    assert (await bench.task(item, role="maker")).id != made[0].id


async def test_a_task_joins_only_an_item_that_is_there_and_open(bench: Bench) -> None:
    _, item = await bench.begun(capped())
    other = await bench.workflow(PLAIN)
    with pytest.raises(Invalid):
        await bench.submit(by=bench.admin, workflow_id=other.id, work_item_id=item.id)
    with pytest.raises(Invalid):
        await bench.submit(by=bench.admin, work_item_id=other.id)
    await bench.finish(item)
    with pytest.raises(Conflict) as late:
        await bench.task(item)
    assert reason(late.value) == "work_item_over"


async def test_no_more_tasks_of_a_workflow_are_ready_than_may_be(bench: Bench) -> None:
    _, item = await bench.begun(capped(max_active_tasks=2))
    tasks = await asyncio.gather(*(bench.task(item, str(n)) for n in range(5)))
    tasks = sorted(tasks, key=lambda task: task.id)
    assert await ready(bench, tasks) == [True, True, False, False, False]
    await bench.perform(most=1)
    assert sum(await ready(bench, tasks)) == 2
    await bench.perform()
    assert {await bench.state(task.id) for task in tasks} == {TaskState.COMPLETED}


async def test_an_item_has_no_more_tasks_at_once_than_it_may(bench: Bench) -> None:
    workflow, item = await bench.begun(capped(max_active_tasks_per_work_item=1))
    other = await bench.item(workflow)
    tasks = [await bench.task(i, str(n)) for n, i in enumerate((item, item, other))]
    assert await ready(bench, tasks) == [True, False, True]
    await bench.cancel(tasks[0].id, by=bench.admin)
    assert await ready(bench, tasks[1:]) == [True, True]


async def test_items_wait_for_one_another_where_they_may_not_be_parallel(bench: Bench) -> None:
    workflow, item = await bench.begun(capped(allow_parallel_work_items=False))
    other = await bench.item(workflow)
    tasks = [await bench.task(i, str(n)) for n, i in enumerate((item, other, item))]
    assert await ready(bench, tasks) == [True, False, True]
    await bench.hold(item)
    assert await ready(bench, tasks) == [False, True, False]
    await bench.let_go(item)
    assert await ready(bench, tasks) == [False, True, False]
    await bench.perform()
    assert {await bench.state(task.id) for task in tasks} == {TaskState.COMPLETED}


async def test_a_backoff_is_not_shortened_by_a_place_that_comes_free(bench: Bench) -> None:
    """The reference released such a task with the next free place, whatever its retry time."""
    _, item = await bench.begun(capped(max_active_tasks=1))
    first, second = await bench.task(item, "a"), await bench.task(item, "b")
    await bench.sweep()
    agent = await bench.agent()
    held = await bench.take(agent)
    assert held.task.id == first.id
    await bench.refuse(agent, first.id, held.lease_id, requeue=True)
    assert await ready(bench, [first, second]) == [False, True]
    await bench.later(5)
    assert await ready(bench, [first, second]) == [False, True]
    await bench.perform()
    assert {await bench.state(task.id) for task in (first, second)} == {TaskState.COMPLETED}
