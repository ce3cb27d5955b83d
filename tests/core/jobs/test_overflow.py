"""Too much waits for one endpoint: who would add to it is paused, says so, and goes on where it stood."""

import pytest

from core.errors import Conflict, NotFound
from core.push_upkeep import ListKept, OneKept, get_kept, list_kept, resume_config
from schemas.vocabulary import DeliveryState, Scope
from tests.core.jobs.office import Office, until
from tests.core.jobs.test_delivery import URL, is_done, told_about, work
from tests.core.tasks.stage import Stage

OTHER = "https://b.example/x"


@pytest.fixture
def full(office: Office) -> Office:
    """An office where three deliveries may wait for one endpoint."""
    office.fanout._waiting = 3
    return office


async def kept(office: Office, stage: Stage, id: object) -> tuple[str | None, int, bool]:
    """Why a configuration is told nothing new, how much waits for it, and whether it hears at all."""
    found = await office.platform.read(stage.user, get_kept, OneKept(id))  # type: ignore[arg-type]
    return found.config.disabled, found.waiting, found.config.live


async def test_an_endpoint_that_is_full_pauses_whoever_would_add_to_it_and_nobody_else(
    full: Office, stage: Stage
) -> None:
    gate = full.receivers.close(URL)
    first, its = await told_about(full, stage)
    await work(stage, first)
    await until(lambda: _has(full, 3))
    second, its_own = await told_about(full, stage)
    elsewhere, open_one = await told_about(full, stage, OTHER)
    await stage.cancel(second.id)
    await stage.cancel(elsewhere.id)
    await until(lambda: _is_paused(full, stage, its_own.id))
    await until(lambda: bool(full.receivers.of(OTHER)))
    assert await kept(full, stage, its_own.id) == ("overflow", 0, False)
    assert (await kept(full, stage, its.id))[:2] == (None, 3)
    assert (await kept(full, stage, open_one.id))[0] is None
    gate.set()
    await until(lambda: is_done(full))
    assert len(full.receivers.of(URL)) == 3, "what waited is sent"
    resumed = await full.platform.write(stage.user, resume_config, OneKept(its_own.id))
    assert (resumed.config.disabled, resumed.waiting) == (None, 1)
    await until(lambda: len(full.receivers.of(URL)) == 4)
    await until(lambda: is_done(full))
    assert {d.state for d in await full.deliveries()} == {DeliveryState.DELIVERED}
    told = full.receivers.of(URL)
    assert told == sorted(set(told)), "each once, in order"


async def _has(office: Office, many: int) -> bool:
    return len(await office.deliveries()) == many


async def _is_paused(office: Office, stage: Stage, id: object) -> bool:
    return (await kept(office, stage, id))[0] == "overflow"


async def test_a_paused_one_goes_on_with_what_it_missed_and_what_comes(full: Office, stage: Stage) -> None:
    gate = full.receivers.close(URL)
    first, _ = await told_about(full, stage)
    await work(stage, first)
    await until(lambda: _has(full, 3))
    second, config = await told_about(full, stage)
    agent = await stage.agent()
    held = await stage.take(agent)
    await until(lambda: _is_paused(full, stage, config.id))
    gate.set()
    await until(lambda: is_done(full))
    before = len(full.receivers.of(URL))
    await full.platform.write(stage.user, resume_config, OneKept(config.id))
    await stage.complete(agent, second.id, held.lease_id)
    await until(lambda: len(full.receivers.of(URL)) == before + 3)  # claimed, started, completed
    assert (await kept(full, stage, config.id))[0] is None


async def test_only_what_is_paused_is_resumed_by_those_who_see_it(full: Office, stage: Stage) -> None:
    task, config = await told_about(full, stage)
    with pytest.raises(Conflict):
        await full.platform.write(stage.user, resume_config, OneKept(config.id))
    stranger = stage.caller(Scope.AGENT, "user")
    for command in (get_kept, resume_config):
        with pytest.raises(NotFound):
            await full.platform.write(stranger, command, OneKept(config.id))
    assert await full.platform.read(stranger, list_kept, ListKept()) == []
    (listed,) = await full.platform.read(stage.user, list_kept, ListKept(task.id))
    assert listed.config.id == config.id
    assert await full.platform.read(stage.user, list_kept, ListKept(before=config.id)) == []
