"""Push notifications: the operations on configurations, and what arrives at a receiver."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from a2a.types import a2a_pb2
from aiohttp.abc import AbstractResolver, ResolveResult
from starlette.applications import Starlette
from starlette.types import ASGIApp

from adapters.a2a import A2AConfig, routes
from adapters.a2a.notify import FORMATS, Format, PushComposer
from core.caller import SYSTEM
from core.platform import Platform
from core.ports import Due
from core.push import PushConfig
from core.store import tables as t
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.input import RequestInput, request_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.report import CompleteTask, complete
from tests.adapters.a2a.post import Post, settled
from tests.adapters.a2a.receiver import Receiver
from tests.adapters.a2a.support import (
    PUBLIC,
    TENANT,
    Client,
    Executor,
    Keys,
    at_once,
    listen,
    official,
    official_card,
)

PUBLIC_URL = "https://93.184.216.34/hook"
"""Judged, and never called: where it is used nothing happens that is to be told."""
LARGE = "x" * 200_000


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
    return A2AConfig(public_url=PUBLIC, version="9.9", heartbeat_seconds=0.05, receivers=post.sender)


def wanting(url: str, **more: Any) -> dict[str, Any]:
    """Parameters of a send that does not wait, and wants somebody told."""
    return at_once(configuration={"taskPushNotificationConfig": {"url": url, **more}})


def state(body: Mapping[str, Any]) -> str:
    """The state that a notification tells."""
    told: str = (body.get("statusUpdate") or body["task"])["status"]["state"].removeprefix("TASK_STATE_")
    return told


async def works(executor: Executor) -> None:
    """A task is done with everything that a stream would tell."""
    held = await executor.take()
    task, lease = held.task.id, held.lease_id
    await executor.do(add_message, AddMessage(task, [{"text": "reading"}], lease_id=lease))
    for n in range(2):
        chunk = PutArtifact(
            task, [{"text": f"{n}"}], artifact_id="a", append=n > 0, last_chunk=n == 1, lease_id=lease
        )
        await executor.do(put_artifact, chunk)
    await executor.do(put_artifact, PutArtifact(task, [{"text": LARGE}], artifact_id="b", lease_id=lease))
    await executor.do(complete, CompleteTask(task, output="done", lease_id=lease))


def is_final(receiver: Receiver) -> bool:
    """Whether the end of a task has arrived."""
    return any("statusUpdate" in b and state(b) in ("COMPLETED", "CANCELED") for b in receiver.bodies())


async def test_the_card_says_that_there_are_push_notifications(http: httpx.AsyncClient) -> None:
    card = official_card((await http.get("/.well-known/agent-card.json")).json())
    assert card.capabilities.push_notifications


@pytest.mark.requirement("4.3.3-payload", "4.3.3-at-least-once", "4.3.3-authorization", on="webhook")
async def test_a_receiver_is_told_what_a_stream_tells_in_the_same_order(
    ann: Client, app: ASGIApp, executor: Executor, receiver: Receiver
) -> None:
    sent = wanting(
        receiver.url(), token="t0ken", authentication={"scheme": "Bearer", "credentials": "s3cret"}
    )
    task = (await ann.result("SendMessage", sent))["task"]
    stream = listen(app, "SubscribeToTask", {"id": task["id"]})
    snapshot = await stream.frame()
    await works(executor)
    frames = await stream.rest()
    await receiver.until(lambda: is_final(receiver))
    first, *later = receiver.bodies()
    assert later == frames
    assert first == snapshot
    assert state(first) == "SUBMITTED"
    for body in receiver.bodies():
        official(body, a2a_pb2.StreamResponse)
        assert len(body) == 1
    for request in receiver.requests:
        assert request.headers["Content-Type"] == "application/a2a+json"
        assert request.headers["Authorization"] == "Bearer s3cret"
        assert request.headers["X-A2A-Notification-Token"] == "t0ken"


async def test_a_late_notification_tells_its_own_event_however_it_is_made(
    ann: Client, executor: Executor, receiver: Receiver, post: Post
) -> None:
    """By a hub that followed the task, and by one that has just started."""
    task = (await ann.result("SendMessage", wanting(receiver.url())))["task"]
    await works(executor)
    await receiver.until(lambda: is_final(receiver))
    told = []
    for d in await post.until(settled):
        due = Due(d.id, TENANT, d.channel, d.target_id, UUID(task["id"]), d.pos, 0, d.id)
        fresh = PushComposer(post.platform)
        once = await fresh.compose(due)
        again = await fresh.compose(due)
        assert [o.body for o in once] == [o.body for o in again]
        assert once == await post.composer.compose(due)
        told += [o.body for o in once]
    assert [official(_json(body), a2a_pb2.StreamResponse) for body in told] == [
        official(body, a2a_pb2.StreamResponse) for body in receiver.bodies()
    ]


def _json(body: bytes) -> Any:
    return json.loads(body)


async def test_a_question_and_its_answer_are_told_and_the_telling_goes_on(
    ann: Client, executor: Executor, receiver: Receiver
) -> None:
    task = (await ann.result("SendMessage", wanting(receiver.url())))["task"]
    held = await executor.take()
    asked = RequestInput(held.task.id, held.lease_id, [{"text": "which one?"}], hold=True)
    await executor.do(request_input, asked)
    await receiver.until(lambda: "INPUT_REQUIRED" in map(state, receiver.bodies()))
    await ann.result("SendMessage", at_once("that one", taskId=task["id"], messageId="m2"))
    await executor.do(complete, CompleteTask(held.task.id, output="x", lease_id=held.lease_id))
    await receiver.until(lambda: is_final(receiver))
    states = [state(b) for b in receiver.bodies() if "artifactUpdate" not in b]
    assert states == ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "WORKING", "COMPLETED"]
    question = receiver.bodies()[2]["statusUpdate"]["status"]["message"]
    assert question["parts"] == [{"text": "which one?"}]


async def test_a_configuration_may_come_with_a_message_to_a_task_that_exists(
    ann: Client, executor: Executor, receiver: Receiver
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    config = {"url": receiver.url(), "id": "mine", "taskId": task["id"]}
    more = at_once(
        "more", taskId=task["id"], messageId="m2", configuration={"taskPushNotificationConfig": config}
    )
    await ann.result("SendMessage", more)
    await executor.finish()
    await receiver.until(lambda: is_final(receiver))
    assert [state(b) for b in receiver.bodies() if "statusUpdate" in b] == ["WORKING", "COMPLETED"]
    assert (await ann.result("ListTaskPushNotificationConfigs", {"taskId": task["id"]}))["configs"] == [
        {"id": "mine", "taskId": task["id"], "url": receiver.url()}
    ]


async def test_a_stream_may_bring_a_configuration_too(
    app: ASGIApp, executor: Executor, receiver: Receiver
) -> None:
    stream = listen(app, "SendStreamingMessage", wanting(receiver.url()))
    snapshot = await stream.frame()
    await executor.finish()
    frames = await stream.rest()
    await receiver.until(lambda: is_final(receiver))
    assert receiver.bodies() == [snapshot, *frames]


async def test_a_send_that_is_repeated_is_told_once(
    ann: Client, executor: Executor, receiver: Receiver
) -> None:
    sent = wanting(receiver.url())
    first = await ann.result("SendMessage", sent, Idempotency_Key="k")
    assert await ann.result("SendMessage", sent, Idempotency_Key="k") == first
    await executor.finish()
    await receiver.until(lambda: is_final(receiver))
    assert sum("task" in body for body in receiver.bodies()) == 1


async def test_a_key_stands_for_one_request_whoever_is_to_be_told(ann: Client, receiver: Receiver) -> None:
    await ann.result("SendMessage", wanting(receiver.url()), Idempotency_Key="k")
    for other in (at_once(), wanting(receiver.url("else")), at_once(messageId="m2")):
        error = await ann.error("SendMessage", other, Idempotency_Key="k")
        assert error["data"][0]["metadata"]["reason_code"] == "request_id_reused"
    assert (await ann.result("ListTasks"))["totalSize"] == 1


async def test_configurations_are_made_read_listed_and_deleted_over_both_bindings(ann: Client) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    given = {
        "url": PUBLIC_URL,
        "token": "t0ken",
        "authentication": {"scheme": "Bearer", "credentials": "s3cret"},
    }
    shown = {"taskId": task["id"], "url": PUBLIC_URL, "authentication": {"scheme": "Bearer"}}
    made = await ann.result("CreateTaskPushNotificationConfig", {"taskId": task["id"], **given, "id": "a"})
    assert made == {**shown, "id": "a"}
    official(made, a2a_pb2.TaskPushNotificationConfig)
    path = f"/tasks/{task['id']}/pushNotificationConfigs"
    other = (await ann.rest("POST", path, json=given)).json()
    assert other == {**shown, "id": other["id"]}
    assert len(other["id"]) == 36
    key = {"taskId": task["id"], "id": "a"}
    assert await ann.result("GetTaskPushNotificationConfig", key) == made
    assert (await ann.rest("GET", f"{path}/a")).json() == made
    listed = await ann.result("ListTaskPushNotificationConfigs", {"taskId": task["id"]})
    official(listed, a2a_pb2.ListTaskPushNotificationConfigsResponse)
    assert sorted(c["id"] for c in listed["configs"]) == sorted(["a", other["id"]])
    assert (await ann.rest("GET", path)).json() == listed
    for _ in range(2):
        assert await ann.result("DeleteTaskPushNotificationConfig", key) == {}
    assert (await ann.rest("DELETE", f"{path}/{other['id']}")).json() == {}
    assert (await ann.error("GetTaskPushNotificationConfig", key))["code"] == -32001
    assert (await ann.rest("GET", f"{path}/a")).status_code == 404
    assert (await ann.result("ListTaskPushNotificationConfigs", {"taskId": task["id"]}))["configs"] == []


async def test_a_list_comes_in_pages_when_asked_to(ann: Client) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    for id in ("a", "b", "c"):
        await ann.result(
            "CreateTaskPushNotificationConfig", {"taskId": task["id"], "id": id, "url": PUBLIC_URL}
        )
    query = {"taskId": task["id"], "pageSize": 2}
    first = await ann.result("ListTaskPushNotificationConfigs", query)
    assert [c["id"] for c in first["configs"]] == ["a", "b"]
    rest = await ann.result("ListTaskPushNotificationConfigs", {**query, "pageToken": first["nextPageToken"]})
    assert ([c["id"] for c in rest["configs"]], rest["nextPageToken"]) == (["c"], "")
    for wrong in ({"pageSize": -1}, {"pageToken": "?"}):
        error = await ann.error("ListTaskPushNotificationConfigs", {**query, **wrong})
        assert error["code"] == -32602


async def test_an_eleventh_configuration_is_refused(ann: Client) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    wanted = {"taskId": task["id"], "url": PUBLIC_URL}
    for _ in range(10):
        await ann.result("CreateTaskPushNotificationConfig", wanted)
    error = await ann.error("CreateTaskPushNotificationConfig", wanted)
    assert "at most 10" in error["message"]


async def test_foreign_tasks_are_missing_to_every_operation(ann: Client, http: httpx.AsyncClient) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    wanted = {"taskId": task["id"], "id": "a", "url": PUBLIC_URL}
    await ann.result("CreateTaskPushNotificationConfig", wanted)
    missing = {**wanted, "taskId": "00000000-0000-7000-8000-000000000000"}
    for name in ("ben", "root", "eve"):
        stranger = Client(http, name)
        for verb in ("Create", "Get", "Delete", "List"):
            operation = f"{verb}TaskPushNotificationConfig" + ("s" if verb == "List" else "")
            refused = await stranger.error(operation, wanted)
            assert refused == await stranger.error(operation, missing)
            assert refused["code"] == -32001
    assert (await ann.result("GetTaskPushNotificationConfig", wanted))["url"] == PUBLIC_URL


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "url"),
        ({"url": "http://93.184.216.34/plain"}, "url"),
        ({"url": "https://10.0.0.1/private"}, "url"),
        ({"url": "https://127.0.0.1/loopback"}, "url"),
        ({"url": "https://[::1]/loopback"}, "url"),
        ({"url": "https://169.254.169.254/metadata"}, "url"),
        ({"url": "https://0x7f000001/disguised"}, "url"),
        ({"url": "https://localhost/local"}, "url"),
        ({"url": "https://u:p@93.184.216.34/"}, "url"),
        ({"url": "ftp://93.184.216.34/"}, "url"),
        ({"url": PUBLIC_URL, "token": "a\r\nb: c"}, "token"),
        ({"url": PUBLIC_URL, "token": "x" * 5000}, "token"),
        ({"url": PUBLIC_URL, "id": "x" * 256}, "id"),
        ({"url": PUBLIC_URL, "authentication": {}}, "authentication.scheme"),
        ({"url": PUBLIC_URL, "authentication": {"scheme": "Bearer x"}}, "authentication.scheme"),
        (
            {"url": PUBLIC_URL, "authentication": {"scheme": "Bearer", "credentials": "a\nb"}},
            "authentication.credentials",
        ),
    ],
)
async def test_a_wrong_configuration_is_refused_by_its_field_and_starts_nothing(
    ann: Client, given: dict[str, Any], field: str
) -> None:
    config = {"taskPushNotificationConfig": given}
    error = await ann.error("SendMessage", at_once(configuration=config))
    named = f"configuration.taskPushNotificationConfig.{field}"
    assert (error["code"], error["data"][1]["fieldViolations"][0]["field"]) == (-32602, named)
    assert (await ann.result("ListTasks"))["totalSize"] == 0


async def test_an_inline_configuration_names_no_other_task(ann: Client) -> None:
    error = await ann.error("SendMessage", wanting(PUBLIC_URL, taskId="another"))
    assert error["code"] == -32602


class Turning(AbstractResolver):
    """A name whose address is another at each look-up."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The next address; the last one stays."""
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_the_address_is_judged_when_it_is_named_and_again_when_it_is_called(
    platform: Platform, keys: Keys
) -> None:
    resolver = Turning("10.0.0.7", "93.184.216.34", "127.0.0.1")
    async with Post(platform, resolver=resolver).open() as post:
        config = A2AConfig(public_url=PUBLIC, version="9.9", receivers=post.sender)
        app = Starlette(routes=list(routes(platform, config, keys)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as http:
            ann = Client(http)
            refused = await ann.error("SendMessage", wanting("https://hook.example.com/x"))
            assert (refused["code"], "10.0.0.7" in str(refused)) == (-32602, False)
            await ann.result("SendMessage", wanting("https://hook.example.com/x"))
            told = await post.until(lambda deliveries: any(d.error for d in deliveries))
            assert [d.error for d in told] == ["blocked"]


async def test_a_redirect_is_a_failure_and_is_not_followed(
    ann: Client, receiver: Receiver, post: Post
) -> None:
    receiver.answer = lambda n: (0.0, 302 if n == 0 else 200)
    await ann.result("SendMessage", wanting(receiver.url()))
    await receiver.until(lambda: len(receiver.accepted()) == 1)
    assert {request.path for request in receiver.requests} == {"hook"}


@pytest.mark.requirement("13.2-retries", on="webhook")
async def test_a_repeat_has_the_same_body_and_the_same_number(ann: Client, receiver: Receiver) -> None:
    receiver.answer = lambda n: (0.0, 500 if n < 2 else 200)
    await ann.result("SendMessage", wanting(receiver.url()))
    await receiver.until(lambda: len(receiver.accepted()) == 1)
    assert len({(str(r.body), r.headers["X-Crossdock-Delivery"]) for r in receiver.requests}) == 1


async def test_a_configuration_of_another_version_is_told_in_its_words(
    ann: Client, receiver: Receiver, post: Post, config: A2AConfig
) -> None:
    async def bare(platform: Any, viewer: Any, event: Any, said: Any) -> Any:
        return [{"kind": "task", "frames": len(said)}]

    composer = PushComposer(post.platform, {**FORMATS, "0.3": Format("application/json", bare)})
    task = (await ann.result("SendMessage", wanting(receiver.url())))["task"]
    told = await post.until(bool)
    await post.platform.write(SYSTEM(TENANT), _make_old, None)
    d = told[0]
    due = Due(d.id, TENANT, d.channel, d.target_id, UUID(task["id"]), d.pos, 0, d.id)
    (outgoing,) = await composer.compose(due)
    assert (outgoing.headers["Content-Type"], _json(outgoing.body)) == (
        "application/json",
        {"kind": "task", "frames": 1},
    )


async def _make_old(tx: Any, _: None) -> None:
    await tx.run(sa.update(t.push_config).values(protocol_version="0.3"))


def test_a_configuration_never_shows_a_secret() -> None:
    assert {"credentials", "token"}.isdisjoint(PushConfig.__dataclass_fields__)
