"""A trigger starts what it declares once for each event that it is about, and chains of triggers end."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from core import triggers
from core.errors import Invalid, NotFound
from core.jobs import triggers as jobs
from core.jobs.runner import SWEEPS, Clockwork
from core.platform import Platform
from core.store import open_store
from core.trigger_records import Occasion, OneTrigger, Trigger
from schemas.occasions import RunStatus, TriggerKind
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock

ASK: Mapping[str, Any] = {"task": {"title": "look at {{ event.task_id }}", "input": "{{ event.data.title }}"}}


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant whose triggers were made before anything happens."""
    return Stage(platform, clock)


async def triggered(
    stage: Stage, *types: str, match: Mapping[str, Any] | None = None, **more: Any
) -> Trigger:
    command = triggers.CreateTrigger(
        "rule",
        TriggerKind.EVENT,
        more.pop("action", ASK),
        event_types=types or ("task.created",),
        filters={"match": match or {}, **more},
    )
    made = await stage.platform.write(stage.admin, triggers.create_trigger, command)
    stage.clock.advance(1)
    return made


async def occasions(stage: Stage, trigger: Trigger) -> Sequence[Occasion]:
    """Oldest first."""
    query = triggers.ListOccasions(trigger.id, per_page=100)
    return (await stage.platform.read(stage.admin, triggers.list_occasions, query)).items[::-1]


async def settle(stage: Stage) -> None:
    """Everything has its place in the log, and what follows from it is done."""
    for _ in range(8):
        await stage.numbered()
        await stage.sweep()


async def test_an_event_starts_a_task_with_what_it_says_in_its_makers_name(stage: Stage) -> None:
    rule = await triggered(stage, match={"data.title": "broken"})
    task = await stage.submit("broken")
    await stage.submit("fine")
    await settle(stage)
    (occasion,) = await occasions(stage, rule)
    assert (occasion.status, occasion.depth) == (RunStatus.STARTED, 1)
    assert occasion.task_id is not None
    made = await stage.get(occasion.task_id)
    assert (made.title, made.input) == (f"look at {task.id}", "broken")
    assert made.origin.principal_id == stage.admin.principal_id


async def test_what_happened_before_it_was_made_or_while_it_was_paused_it_never_hears(stage: Stage) -> None:
    await stage.submit("before")
    stage.clock.advance(1)
    rule = await triggered(stage, match={"data.face": "rest"})
    pause = triggers.ChangeTrigger(rule.id, (("is_active", False),))
    await stage.platform.write(stage.admin, triggers.change_trigger, pause)
    await stage.submit("meanwhile")
    stage.clock.advance(1)
    resume = triggers.ChangeTrigger(rule.id, (("is_active", True),))
    await stage.platform.write(stage.admin, triggers.change_trigger, resume)
    stage.clock.advance(1)
    await stage.submit("now")
    await settle(stage)
    (occasion,) = await occasions(stage, rule)
    assert occasion.task_id is not None
    assert (await stage.get(occasion.task_id)).input == "now"


async def test_replicas_that_look_at_once_start_once(
    stage: Stage, database_url: str, clock: FakeClock
) -> None:
    rule = await triggered(stage, match={"data.face": "rest"})
    for n in range(12):
        await stage.submit(str(n))
    await stage.numbered()
    platforms = [stage.platform]
    other = None
    if not database_url.startswith("sqlite"):
        other = Platform(open_store(database_url, clock=clock))
        await other.start()
        platforms.append(other)
    try:
        for name in ("triggered", "occasions"):
            sweep = next(sweep for sweep in SWEEPS if sweep.name == name)
            await asyncio.gather(*(Clockwork(p).sweep(sweep) for p in platforms * 2))
    finally:
        if other is not None:
            await other.stop()
    found = await occasions(stage, rule)
    assert len(found) == len({occasion.key for occasion in found}) == 12
    assert {occasion.status for occasion in found} == {RunStatus.STARTED}


async def test_a_trigger_that_leads_to_itself_ends(stage: Stage) -> None:
    rule = await triggered(stage)
    await stage.submit("first")
    await settle(stage)
    found = await occasions(stage, rule)
    assert [occasion.depth for occasion in found] == [1, 2, 3, 4, 5, 6]
    assert [occasion.status for occasion in found[-2:]] == [RunStatus.STARTED, RunStatus.SKIPPED]
    assert found[-1].reason == "depth"


async def test_a_sub_task_is_as_deep_as_its_parent(stage: Stage) -> None:
    rule = await triggered(stage, match={"data.title": "child"})
    first = await triggered(stage, match={"data.title": "root"}, action={"task": {"title": "step"}})
    await stage.submit("root")
    await settle(stage)
    (step,) = await occasions(stage, first)
    await stage.submit("child", by=stage.admin, parent_id=step.task_id)
    await settle(stage)
    assert [occasion.depth for occasion in await occasions(stage, rule)] == [2]


async def test_what_cannot_be_started_is_told_and_the_rest_goes_on(stage: Stage) -> None:
    action = {"task": {"title": "{{ event.data.nothing }}"}}
    rule = await triggered(stage, match={"data.face": "rest"}, action=action)
    await stage.submit("one")
    await stage.submit("two")
    await settle(stage)
    found = await occasions(stage, rule)
    assert [occasion.status for occasion in found] == [RunStatus.FAILED] * 2
    assert found[0].error is not None
    assert found[0].error["details"]["reason_code"] == "template_unfilled"


async def test_a_template_may_name_only_what_will_be_there(stage: Stage) -> None:
    for path in ("payload.x", "tasks.a.output", "event id"):
        with pytest.raises(Invalid):
            await triggered(stage, action={"task": {"title": f"{{{{ {path} }}}}"}})


async def test_nobody_elses_trigger_exists_or_hears(stage: Stage) -> None:
    rule = await triggered(stage)
    other = Stage(stage.platform, stage.clock)
    with pytest.raises(NotFound):
        await stage.platform.read(other.admin, triggers.get_trigger, OneTrigger(rule.id))
    await other.submit("elsewhere")
    await settle(stage)
    assert await occasions(stage, rule) == []


async def test_while_no_trigger_is_there_the_cursor_stays_near(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LAG", 3)
    for n in range(5):
        await stage.submit(str(n))
    await settle(stage)
    assert await stage.platform.read(stage.admin, jobs.unread, None) == []
