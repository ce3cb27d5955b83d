"""Push configurations: whose they are, how many, and that nobody reads their secrets."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from core import push, push_targets
from core.errors import Conflict, NotFound
from core.keyring import Keyring
from core.platform import Platform
from core.push import (
    MOST,
    ListConfigs,
    Notify,
    OneConfig,
    PutConfig,
    Seals,
    SubmitNotified,
    delete_config,
    get_config,
    list_configs,
    put_config,
    submit_notified,
)
from core.push_targets import open_target
from core.sealing import Unsealable
from core.store import tables as t
from core.store.tx import Tx
from core.tasks.submit import SubmitTask
from schemas.vocabulary import Scope
from tests.core.tasks.stage import Stage, on_face
from tests.fakes import FakeClock

SECRET, TOKEN = "correct horse battery staple", "a token of the client's"
NOTIFY = Notify("https://a.example/x", "https://a.example", scheme="Bearer", credentials=SECRET, token=TOKEN)


async def install(tx: Tx, secret: str) -> None:
    """Use the keys of a secret."""
    tx.memory(Seals).install(Keyring(secret))


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant with an operator and a submitter, on a platform that can seal."""
    stage = Stage(platform, clock)
    await platform.write(stage.admin, install, "s" * 32)
    return stage


async def stored(tx: Tx, _: None) -> str:
    """Everything that is kept about configurations and replays, as text."""
    rows = [*await tx.all(sa.select(*t.push_config.c)), *await tx.all(sa.select(*t.idem.c))]
    return repr([row.as_dict() for row in rows])


async def test_secrets_are_sealed_and_no_reader_gets_them(stage: Stage) -> None:
    task = await stage.submit()
    config = await stage.platform.write(stage.user, put_config, PutConfig(task.id, NOTIFY))
    assert (config.scheme, config.has_credentials, config.has_token) == ("Bearer", True, True)
    kept = await stage.platform.read(stage.admin, stored, None)
    for text in (kept, repr(config), repr(NOTIFY)):
        assert SECRET not in text
        assert TOKEN not in text
    target = await stage.platform.read(stage.admin, open_target, config.id)
    assert target is not None
    assert target.credentials is not None
    assert target.token is not None
    assert (target.credentials.reveal(), target.token.reveal()) == (SECRET, TOKEN)
    assert SECRET not in repr(target)
    assert (target.viewer.principal_id, target.viewer.scope) == (stage.user.principal_id, Scope.AGENT)
    assert not target.viewer.wide


async def test_secrets_of_a_lost_key_are_not_opened(stage: Stage) -> None:
    task = await stage.submit()
    config = await stage.platform.write(stage.user, put_config, PutConfig(task.id, NOTIFY))
    await stage.platform.write(stage.admin, install, "another secret of thirty-two bytes")
    with pytest.raises(Unsealable):
        await stage.platform.read(stage.admin, open_target, config.id)


async def test_the_same_id_replaces_and_another_adds(stage: Stage) -> None:
    task = await stage.submit()
    first = Notify("https://a.example/x", "https://a.example", config_id="one", token=TOKEN)
    one = await stage.platform.write(stage.user, put_config, PutConfig(task.id, first))
    second = Notify("https://b.example/y", "https://b.example", config_id="one")
    again = await stage.platform.write(stage.user, put_config, PutConfig(task.id, second))
    assert (again.id, again.url, again.has_token) == (one.id, "https://b.example/y", False)
    named = await stage.platform.write(stage.user, put_config, PutConfig(task.id, NOTIFY))
    assert named.config_id == str(named.id)
    listed = await stage.platform.read(stage.user, list_configs, ListConfigs(task.id))
    assert {config.id for config in listed} == {one.id, named.id}
    rest = ListConfigs(task.id, after=listed[0].config_id)
    assert await stage.platform.read(stage.user, list_configs, rest) == listed[1:]


async def test_a_task_has_at_most_ten(stage: Stage) -> None:
    task = await stage.submit()
    ten = [
        PutConfig(task.id, Notify("https://a.example/x", "https://a.example", config_id=f"c{n}"))
        for n in range(MOST)
    ]
    for wanted in ten:
        await stage.platform.write(stage.user, put_config, wanted)
    with pytest.raises(Conflict):
        await stage.platform.write(stage.user, put_config, PutConfig(task.id, NOTIFY))
    await stage.platform.write(stage.user, put_config, ten[0])  # replacing one is no new one


async def test_foreign_and_missing_tasks_look_alike(stage: Stage, clock: FakeClock) -> None:
    task = await stage.submit()
    config = await stage.platform.write(stage.user, put_config, PutConfig(task.id, NOTIFY))
    one = OneConfig(task.id, config.config_id)
    foreign = Stage(stage.platform, clock)
    strangers = (
        foreign.user,
        foreign.admin,
        stage.caller(Scope.AGENT, "user"),
        on_face(stage.admin, "a2a"),
    )
    for stranger in strangers:
        for command, argument in (
            (put_config, PutConfig(task.id, NOTIFY)),
            (get_config, one),
            (list_configs, ListConfigs(task.id)),
            (delete_config, one),
        ):
            with pytest.raises(NotFound):
                await stage.platform.write(stranger, command, argument)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await stage.platform.read(stage.user, get_config, OneConfig(task.id, "another"))
    await stage.platform.write(stage.user, delete_config, OneConfig(task.id, "another"))
    assert await stage.platform.read(stage.user, get_config, one) == config


async def test_a_repeated_submission_has_one_configuration(stage: Stage) -> None:
    user = replace(stage.user, replay_key="k")
    command = SubmitNotified(SubmitTask("work"), NOTIFY)
    first = await stage.platform.write(user, submit_notified, command)
    second = await stage.platform.write(user, submit_notified, command)
    assert first.task.id == second.task.id
    assert len(await stage.platform.read(stage.user, list_configs, ListConfigs(first.task.id))) == 1
    assert SECRET not in await stage.platform.read(stage.admin, stored, None)


async def test_a_task_that_is_over_for_good_is_not_listened_to(stage: Stage) -> None:
    user = on_face(stage.user, "a2a")
    task = await stage.submit(by=user)
    await stage.cancel(task.id, by=user)
    config = await stage.platform.write(user, put_config, PutConfig(task.id, NOTIFY))
    assert not config.live
    assert not await stage.platform.read(stage.admin, _anybody, None)


async def _anybody(tx: Tx, _: None) -> bool:
    return await push_targets.PUSH.any_live(tx)


def test_a_hub_without_a_keyring_says_so() -> None:
    with pytest.raises(RuntimeError, match="keyring"):
        _ = push.Seals().sealer
