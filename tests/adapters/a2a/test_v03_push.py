"""Push notifications of A2A 0.3: their configurations, and what a webhook gets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb
from a2a.compat.v0_3 import types as old

from adapters.a2a import A2AConfig
from core.platform import Platform
from tests.adapters.a2a.post import Post
from tests.adapters.a2a.receiver import Receiver
from tests.adapters.a2a.support import PUBLIC, Client, Executor, official

ELSEWHERE = "https://93.184.216.34/hook"
METHOD = "tasks/pushNotificationConfig/"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that is there."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def post(platform: Platform, receiver: Receiver) -> AsyncIterator[Post]:
    """The engine, which may call the receiver and public addresses."""
    async with Post(platform, [f"127.0.0.1:{receiver.port}"]).open() as post:
        yield post


@pytest.fixture
def config(post: Post) -> A2AConfig:
    """Push notifications are on."""
    return A2AConfig(public_url=PUBLIC, version="9.9", receivers=post.sender)


@pytest.fixture
def bob(http: httpx.AsyncClient) -> Client:
    """Ann, with a client that names no version."""
    return Client(http, version=None)


def sending(**configuration: Any) -> dict[str, Any]:
    """The parameters of a send that does not wait."""
    parts = [{"kind": "text", "text": "hi"}]
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": parts}
    return {"message": message, "configuration": {"blocking": False, **configuration}}


async def test_a_webhook_gets_the_bare_task(bob: Client, executor: Executor, receiver: Receiver) -> None:
    config = {
        "url": receiver.url(),
        "token": "t0ken",
        "authentication": {"schemes": ["Bearer"], "credentials": "s3cret"},
    }
    task = await bob.result("message/send", sending(pushNotificationConfig=config))
    await executor.finish("done")
    await receiver.until(lambda: any(b["status"]["state"] == "completed" for b in receiver.bodies()))
    for request in receiver.requests:
        old.Task.model_validate(request.body)
        assert request.body["id"] == task["id"]
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["X-A2A-Notification-Token"] == "t0ken"
        assert request.headers["Authorization"] == "Bearer s3cret"
    last = receiver.bodies()[-1]
    assert last["artifacts"][0]["parts"] == [{"kind": "text", "text": "done"}]


async def test_configurations_are_set_read_listed_and_deleted(bob: Client) -> None:
    task = await bob.result("message/send", sending())
    id = task["id"]
    assert (await bob.error(METHOD + "get", {"id": id}))["code"] == -32001
    config = {"url": ELSEWHERE, "authentication": {"schemes": ["Basic"], "credentials": "x"}}
    made = await bob.result(METHOD + "set", {"taskId": id, "pushNotificationConfig": config})
    old.TaskPushNotificationConfig.model_validate(made)
    shown = {"id": id, "url": ELSEWHERE, "authentication": {"schemes": ["Basic"]}}
    assert made == {"taskId": id, "pushNotificationConfig": shown}
    assert await bob.result(METHOD + "set", {"taskId": id, "pushNotificationConfig": config}) == made
    assert await bob.result(METHOD + "get", {"id": id}) == made
    assert await bob.result(METHOD + "get", {"id": id, "pushNotificationConfigId": id}) == made
    assert await bob.result(METHOD + "list", {"id": id}) == [made]
    assert await bob.result(METHOD + "delete", {"id": id, "pushNotificationConfigId": id}) is None
    assert await bob.result(METHOD + "list", {"id": id}) == []


async def test_over_http_a_configuration_comes_alone_or_in_a_request(bob: Client) -> None:
    task = await bob.result("message/send", sending())
    path = f"/tasks/{task['id']}/pushNotificationConfigs"
    name = f"tasks/{task['id']}/pushNotificationConfigs/one"
    given = {"name": name, "pushNotificationConfig": {"id": "one", "url": ELSEWHERE}}
    alone = await bob.rest("POST", path, json=given)
    assert alone.json() == given
    config = {"push_notification_config": {"url": ELSEWHERE}}
    whole = await bob.rest("POST", path, json={"parent": "x", "config_id": "two", "config": config})
    assert whole.json()["pushNotificationConfig"]["id"] == "two"
    official(whole.json(), pb.TaskPushNotificationConfig)
    assert (await bob.rest("GET", path + "/one")).json() == given
    listed = (await bob.rest("GET", path)).json()
    official(listed, pb.ListTaskPushNotificationConfigResponse)
    assert [c["pushNotificationConfig"]["id"] for c in listed["configs"]] == ["one", "two"]
    assert (await bob.rest("DELETE", path + "/one")).json() == {}
    assert (await bob.rest("GET", path + "/one")).status_code == 404


@pytest.mark.parametrize("body", [{}, {"config": 5}, {"config": {}}, {"pushNotificationConfig": "x"}])
async def test_a_configuration_that_is_none_is_refused(bob: Client, body: Any) -> None:
    task = await bob.result("message/send", sending())
    answer = await bob.rest("POST", f"/tasks/{task['id']}/pushNotificationConfigs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, -32602)
