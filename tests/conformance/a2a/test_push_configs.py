"""Push notification configurations over each binding. Specification §3.1.7 to §3.1.10, §13.2."""

from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.a2a.conftest import Speaker
from tests.conformance.a2a.wires import at_once, message

requirement = pytest.mark.requirement
HOOK = "https://93.184.216.34/hook"
SECRET = {"token": "t-secret", "authentication": {"scheme": "Bearer", "credentials": "c-secret"}}


async def listed(ann: Speaker, task_id: str) -> list[Any]:
    told = await ann.ask("ListTaskPushNotificationConfigs", {"taskId": task_id})
    configs: list[Any] = told.get("configs", [])
    return configs


@requirement("3.1.7-creates", "3.1.7-persists", "3.1.8-tells", "3.1.9-all", "13.2-secrets")
async def test_configurations_are_made_read_and_listed_without_their_secrets(ann: Speaker) -> None:
    task = await ann.send(at_once("wait"))
    id = task["id"]
    named = await ann.ask(
        "CreateTaskPushNotificationConfig", {"taskId": id, "id": "mine", "url": HOOK, **SECRET}
    )
    assigned = await ann.ask("CreateTaskPushNotificationConfig", {"taskId": id, "url": HOOK})
    assert (named["id"], named["taskId"], named["url"]) == ("mine", id, HOOK)
    assert assigned["id"]
    read = await ann.ask("GetTaskPushNotificationConfig", {"taskId": id, "id": "mine"})
    assert read == named
    assert sorted(await listed(ann, id), key=str) == sorted([named, assigned], key=str)
    assert "secret" not in str([named, read, await listed(ann, id)])
    await ann.ask("CancelTask", {"id": id})


@requirement("3.1.7-persists")
async def test_a_configuration_that_came_with_a_send_is_there(ann: Speaker) -> None:
    configuration = {"taskPushNotificationConfig": {"id": "inline", "url": HOOK}}
    task = await ann.send(at_once("wait", configuration=configuration))
    assert [config["id"] for config in await listed(ann, task["id"])] == ["inline"]
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement("3.1.10-removes", "3.1.10-again", "3.1.8-missing")
async def test_a_deleted_configuration_is_gone_however_often_it_is_deleted(ann: Speaker) -> None:
    task = await ann.send(at_once("wait"))
    one = {"taskId": task["id"], "id": "mine"}
    await ann.ask("CreateTaskPushNotificationConfig", {**one, "url": HOOK})
    for _ in range(2):
        assert await ann.ask("DeleteTaskPushNotificationConfig", one) == {}
        assert await listed(ann, task["id"]) == []
        assert (await ann.refused("GetTaskPushNotificationConfig", one)).reason == "TASK_NOT_FOUND"
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement("3.1.7-unknown", "3.1.8-missing", "3.1.9-unknown", "3.1.10-unknown")
@pytest.mark.parametrize("verb", ["Create", "Get", "List", "Delete"])
async def test_without_a_task_there_is_no_configuration(ann: Speaker, verb: str) -> None:
    operation = f"{verb}TaskPushNotificationConfig{'s' if verb == 'List' else ''}"
    params = {"taskId": str(uuid4()), **({} if verb == "List" else {"id": "mine"})}
    refusal = await ann.refused(operation, {**params, **({"url": HOOK} if verb == "Create" else {})})
    assert refusal.reason == "TASK_NOT_FOUND"


@requirement("13.2-addresses", "3.3.2-which")
@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34/plain",
        "https://127.0.0.1/hook",
        "https://10.0.0.1/hook",
        "https://172.16.0.1/hook",
        "https://192.168.0.1/hook",
        "https://169.254.169.254/latest",
        "https://[::1]/hook",
        "https://localhost/hook",
        "https://user:pass@93.184.216.34/hook",
        "not a url",
    ],
)
async def test_a_webhook_inwards_is_refused_and_nothing_is_kept(ann: Speaker, url: str) -> None:
    task = await ann.send(at_once("wait"))
    refusal = await ann.refused("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
    assert (refusal.reason, refusal.fields) == ("INVALID_PARAMS", ["url"])
    assert await listed(ann, task["id"]) == []
    await ann.ask("CancelTask", {"id": task["id"]})
    configuration = {"taskPushNotificationConfig": {"url": url}}
    context = uuid4().hex
    refusal = await ann.refused("SendMessage", message(contextId=context, configuration=configuration))
    assert refusal.fields == ["configuration.taskPushNotificationConfig.url"]
    assert (await ann.ask("ListTasks", {"contextId": context})).get("tasks", []) == []
