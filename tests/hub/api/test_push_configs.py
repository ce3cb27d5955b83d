"""A2A push configurations over REST: how they fare, what was told, and telling again."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from core.bootstrap import DEFAULT_TENANT
from core.caller import Caller
from core.push import Notify, PutConfig, put_config
from core.store import open_store
from schemas.vocabulary import Scope
from tests.core.jobs.office import until
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Hub, running

INWARDS = "http://127.0.0.1:9/hook"
"""Nothing is sent there: the guard refuses it at once."""


@pytest.fixture
async def hub(database_url: str, clock: FakeClock) -> AsyncIterator[Hub]:
    """A hub that gives a notification up after one try."""
    async with running(open_store(database_url, clock=clock), delivery_retries=()) as hub:
        yield hub


async def told_about(hub: Hub, key: str) -> tuple[str, str]:
    """A task of that key's owner, about which somebody is told: its id, and the configuration's."""
    task = (await hub.post("/tasks", {"title": "x"}, key=key)).data
    owner = Caller(UUID(task["origin"]["principal_id"]), DEFAULT_TENANT, Scope.AGENT, "user", "ann")
    notify = Notify(INWARDS, "http://127.0.0.1:9", "mine", "Bearer", "c-secret", "t-secret")
    made = await hub.platform.write(owner, put_config, PutConfig(UUID(task["id"]), notify))
    return task["id"], str(made.id)


async def dead(hub: Hub, key: str, config: str) -> list[dict[str, object]]:
    """What was given up, once something was."""
    path = f"/push-configs/{config}/deliveries?status=dead"

    async def some() -> bool:
        return bool((await hub.get(path, key=key)).data)

    await until(some)
    return list((await hub.get(path, key=key)).data)


async def test_a_configuration_tells_how_it_fares_and_no_secret(hub: Hub) -> None:
    ann = await hub.key(Scope.AGENT)
    task, config = await told_about(hub, ann)
    read = await hub.get(f"/push-configs/{config}", key=ann)
    assert {name: read.data[name] for name in ("id", "task_id", "config_id", "url", "status")} == {
        "id": config,
        "task_id": task,
        "config_id": "mine",
        "url": INWARDS,
        "status": "live",
    }
    assert (read.data["scheme"], read.data["has_credentials"], read.data["has_token"]) == (
        "Bearer",
        True,
        True,
    )
    assert (read.data["waiting"], read.data["dead"], read.data["disabled"]) == (0, 0, None)
    assert b"secret" not in read.body
    for query in ("", f"?task_id={task}", "?limit=1"):
        assert [one["id"] for one in (await hub.get(f"/push-configs{query}", key=ann)).data] == [config]
    assert (await hub.get(f"/push-configs?task_id={UNLIKELY}", key=ann)).data == []
    assert [one["id"] for one in (await hub.get("/push-configs")).data] == [config], "an operator sees it"


async def test_what_was_given_up_is_listed_and_sent_again(hub: Hub) -> None:
    ann = await hub.key(Scope.AGENT)
    task, config = await told_about(hub, ann)
    await hub.post(f"/tasks/{task}/cancel", key=ann)
    (letter,) = await dead(hub, ann, config)
    assert (letter["status"], letter["error"], letter["attempt"]) == ("dead", "blocked", 1)
    assert (await hub.get(f"/push-configs/{config}", key=ann)).data["dead"] == 1
    path = f"/push-configs/{config}/deliveries/{letter['id']}/redeliver"
    again = await hub.post(path, key=ann)
    assert (again.status, again.data["id"], again.data["attempt"]) == (200, letter["id"], 0)
    (later,) = await dead(hub, ann, config)
    assert (later["id"], later["attempt"]) == (letter["id"], 1)


async def test_only_a_paused_one_is_resumed(hub: Hub) -> None:
    ann = await hub.key(Scope.AGENT)
    _, config = await told_about(hub, ann)
    answer = await hub.post(f"/push-configs/{config}/resume", key=ann)
    assert (answer.status, answer.reason) == (409, "not_paused")


async def test_foreign_configurations_look_missing(hub: Hub) -> None:
    ann, ben = await hub.key(Scope.AGENT), await hub.key(Scope.AGENT)
    task, config = await told_about(hub, ann)
    await hub.post(f"/tasks/{task}/cancel", key=ann)
    (letter,) = await dead(hub, ann, config)
    assert (await hub.get("/push-configs", key=ben)).data == []
    for method, path in (
        ("GET", "/push-configs/{}"),
        ("GET", "/push-configs/{}/deliveries"),
        ("POST", "/push-configs/{}/resume"),
        ("POST", f"/push-configs/{{}}/deliveries/{letter['id']}/redeliver"),
    ):
        body: dict[str, str] | None = {} if method == "POST" else None
        foreign, missing = [
            await hub.send(method, f"/api/v1{path.format(id)}", key=ben, json=body)
            for id in (config, UNLIKELY)
        ]
        assert (foreign.status, foreign.json["error"]) == (404, missing.json["error"])
    another = (await told_about(hub, ann))[1]
    wrong = await hub.post(f"/push-configs/{another}/deliveries/{letter['id']}/redeliver", key=ann)
    assert wrong.status == 404, "a delivery belongs to its configuration"
