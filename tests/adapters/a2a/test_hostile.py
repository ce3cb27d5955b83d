"""Hostile input on every binding of both versions: it gets its error, learns nothing, and changes nothing.

What a caller could have changed is compared row by row. Foreign ids and missing ones are compared to the
byte: status, headers and body, over gRPC status, text and trailers.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
import sqlalchemy as sa
from a2a.compat.v0_3 import a2a_v0_3_pb2 as old_pb
from a2a.types import a2a_pb2 as pb
from google.protobuf import json_format, message_factory  # type: ignore[import-untyped]
from starlette.applications import Starlette

from adapters.a2a import A2AConfig, routes
from adapters.a2a.agent import HUB
from adapters.a2a.grpc_binding import GrpcServer
from core.caller import SYSTEM
from core.platform import Platform
from core.store.tables import METADATA
from core.store.tx import Tx
from tests.adapters.a2a.post import Post
from tests.adapters.a2a.support import PUBLIC, TENANT, Client, Executor, Keys, at_once, message

HOOK = "https://93.184.216.34/hook"
NEEDED = "https://example.com/needed/v1"
_LOG = ("event", "event_outbox", "event_head")
_BACKGROUND = frozenset({"consumer"})


async def rows_of(tx: Tx, _: None) -> Mapping[str, Any]:
    """Every row of every table; of the log what was told, wherever it stands by now."""
    found: dict[str, Any] = {}
    for table in METADATA.sorted_tables:
        if table.name not in _LOG and table.name not in _BACKGROUND:
            found[table.name] = sorted(str(tuple(row)) for row in await tx.all(sa.select(*table.c)))
    told = set()
    for name in _LOG[:2]:
        c = METADATA.tables[name].c
        told |= {str(tuple(row)) for row in await tx.all(sa.select(c.task_id, c.version, c.kind))}
    return {**found, "told": sorted(told)}


async def everything(platform: Platform) -> Mapping[str, Any]:
    """The whole database."""
    return await platform.read(SYSTEM(TENANT), rows_of, None)


@dataclass(frozen=True)
class Attempt:
    """One request: over HTTP a method, a path and a body, over gRPC a service, a method and a message."""

    binding: str
    name: str
    path: str
    body: Any = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Hostile:
    """A client that sends anything, as somebody."""

    http: httpx.AsyncClient
    channel: Any
    name: str = "ben"

    async def make(self, attempt: Attempt) -> tuple[Any, ...]:
        """Everything that the answer tells."""
        if attempt.binding == "GRPC":
            return await self._call(attempt)
        headers = {"Authorization": f"Bearer {self.name}", **(attempt.headers or {})}
        content = None if attempt.body is None else json.dumps(attempt.body).encode()
        if content is not None:
            headers.setdefault("Content-Type", "application/json")
        answer = await self.http.request(attempt.name, attempt.path, content=content, headers=headers)
        return answer.status_code, sorted(answer.headers.items()), answer.content

    async def _call(self, attempt: Attempt) -> tuple[Any, ...]:
        module = pb if attempt.path.startswith("lf.") else old_pb
        method = module.DESCRIPTOR.services_by_name["A2AService"].methods_by_name[attempt.name]
        request = json_format.ParseDict(
            attempt.body, message_factory.GetMessageClass(method.input_type)(), ignore_unknown_fields=True
        )
        kind = "unary_stream" if method.server_streaming else "unary_unary"
        metadata = {"authorization": f"Bearer {self.name}", **(attempt.headers or {})}
        call = getattr(self.channel, kind)(
            f"/{attempt.path}/{attempt.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )(request, metadata=tuple(metadata.items()), timeout=20)
        code = await call.code()
        if code is grpc.StatusCode.OK:
            return (code.name,)
        trailers = sorted(
            (str(n), bytes(v) if isinstance(v, bytes) else v) for n, v in await call.trailing_metadata()
        )
        return code.name, await call.details(), trailers


@pytest.fixture
async def post(platform: Platform) -> AsyncIterator[Post]:
    """Push notifications are on, and nothing is sent."""
    post = Post(platform)
    yield post
    await post.outbound.close()


@pytest.fixture
def config(post: Post) -> A2AConfig:
    """Every operation is there."""
    return A2AConfig(public_url=PUBLIC, version="9.9", receivers=post.sender, max_body_bytes=200_000)


@pytest.fixture
async def ben(
    platform: Platform, config: A2AConfig, keys: Keys, http: httpx.AsyncClient
) -> AsyncIterator[Hostile]:
    """Somebody without good intentions."""
    server = GrpcServer(platform, config, keys, host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Hostile(http, channel)
    await server.stop()


V1, V03 = {"A2A-Version": "1.0"}, {"A2A-Version": "0.3"}
NEW, OLD = "lf.a2a.v1.A2AService", "a2a.v1.A2AService"


def said(id: str, old: bool = False) -> dict[str, Any]:
    """A message to a task, as JSON-RPC of a version has it."""
    parts = [{"kind": "text", "text": "x"}] if old else [{"text": "x"}]
    role = "user" if old else "ROLE_USER"
    return {"messageId": "m", "role": role, "parts": parts, "taskId": id}


def about(id: str) -> Sequence[Attempt]:
    """Every operation on a task, on every binding of both versions."""
    config = {"taskId": id, "id": "mine"}
    calls: dict[str, dict[str, Any]] = {
        "GetTask": {"id": id},
        "CancelTask": {"id": id},
        "SubscribeToTask": {"id": id},
        "SendMessage": {"message": said(id)},
        "SendStreamingMessage": {"message": said(id)},
        "CreateTaskPushNotificationConfig": {**config, "url": HOOK},
        "GetTaskPushNotificationConfig": config,
        "ListTaskPushNotificationConfigs": {"taskId": id},
        "DeleteTaskPushNotificationConfig": config,
    }
    push = {"id": id, "pushNotificationConfigId": "mine"}
    old_calls: dict[str, dict[str, Any]] = {
        "tasks/get": {"id": id},
        "tasks/cancel": {"id": id},
        "tasks/resubscribe": {"id": id},
        "message/send": {"message": said(id, old=True)},
        "message/stream": {"message": said(id, old=True)},
        "tasks/pushNotificationConfig/set": {
            "taskId": id,
            "pushNotificationConfig": {"id": "mine", "url": HOOK},
        },
        "tasks/pushNotificationConfig/get": push,
        "tasks/pushNotificationConfig/list": {"id": id},
        "tasks/pushNotificationConfig/delete": push,
    }
    content = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "x"}], "taskId": id}
    told = {"configId": "mine", "config": {"pushNotificationConfig": {"id": "mine", "url": HOOK}}}
    configs = f"/a2a/v1/tasks/{id}/pushNotificationConfigs"

    def paths(send: Any, create: Any) -> Sequence[tuple[str, str, Any]]:
        return [
            ("GET", f"/a2a/v1/tasks/{id}", None),
            ("POST", f"/a2a/v1/tasks/{id}:cancel", {}),
            ("GET", f"/a2a/v1/tasks/{id}:subscribe", None),
            ("POST", f"/a2a/v1/tasks/{id}:subscribe", None),
            ("POST", "/a2a/v1/message:send", send),
            ("POST", "/a2a/v1/message:stream", send),
            ("POST", configs, create),
            ("GET", configs, None),
            ("GET", f"{configs}/mine", None),
            ("DELETE", f"{configs}/mine", None),
        ]

    named = {"name": f"tasks/{id}"}
    one = {"name": f"tasks/{id}/pushNotificationConfigs/mine"}
    old_rpcs: dict[str, dict[str, Any]] = {
        "GetTask": named,
        "CancelTask": named,
        "TaskSubscription": named,
        "SendMessage": {"request": content},
        "SendStreamingMessage": {"request": content},
        "CreateTaskPushNotificationConfig": {"parent": f"tasks/{id}", **told},
        "GetTaskPushNotificationConfig": one,
        "ListTaskPushNotificationConfig": {"parent": f"tasks/{id}"},
        "DeleteTaskPushNotificationConfig": one,
    }
    return [
        *(rpc(name, params, V1) for name, params in calls.items()),
        *(rpc(name, params, V03) for name, params in old_calls.items()),
        *(
            Attempt("HTTP+JSON", method, path, body, V1)
            for method, path, body in paths({"message": said(id)}, {"id": "mine", "url": HOOK})
        ),
        *(
            Attempt("HTTP+JSON", method, path, body, V03)
            for method, path, body in paths({"request": content}, {"parent": f"tasks/{id}", **told})
        ),
        *(Attempt("GRPC", name, NEW, params) for name, params in calls.items()),
        *(Attempt("GRPC", name, OLD, params) for name, params in old_rpcs.items()),
    ]


def rpc(method: str, params: Any, headers: Mapping[str, str]) -> Attempt:
    """A JSON-RPC request."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Attempt("JSONRPC", "POST", "/a2a", body, headers)


async def test_a_foreign_task_is_a_missing_one_to_the_byte_on_every_operation_and_binding(
    platform: Platform, ann: Client, executor: Executor, ben: Hostile
) -> None:
    task = (await ann.result("SendMessage", at_once()))["task"]
    config = {"taskId": task["id"], "id": "mine", "url": HOOK}
    await ann.result("CreateTaskPushNotificationConfig", config)
    missing = str(uuid4())
    for to_be_done in (None, executor.finish):  # while it waits, and when it is over
        if to_be_done is not None:
            await to_be_done()
        before = await everything(platform)
        theirs, nobodys = about(task["id"]), about(missing)
        assert len(theirs) == 9 * 4 + 10 * 2
        for foreign, absent in zip(theirs, nobodys, strict=True):
            told = await ben.make(foreign)
            assert told == await ben.make(absent), foreign
            assert "404" in str(told) or "NOT_FOUND" in str(told) or b"-32001" in told[2], (foreign, told)
            assert task["id"] not in str(told)
        assert await everything(platform) == before
    mine = replace(ben, name="ann")
    assert "404" not in str(
        (await mine.make(Attempt("HTTP+JSON", "GET", f"/a2a/v1/tasks/{task['id']}", None, V1)))[0]
    )


IDS = [
    "x",
    "0" * 36,
    "../../etc/passwd",
    "%2e%2e",
    "é" * 36,
    "a" * 5000,
    "00000000-0000-0000-0000-00000000000g",
]


@pytest.mark.parametrize("id", IDS)
async def test_what_is_no_id_is_no_task_and_no_fault(platform: Platform, ben: Hostile, id: str) -> None:
    before = await everything(platform)
    for attempt in about(id):
        if attempt.binding == "HTTP+JSON" and ("/" in id or not id.isascii()):
            continue  # another path
        told = await ben.make(attempt)
        faults = (500, 501, 502, 503, "INTERNAL", "UNKNOWN", "OK")
        assert told[0] not in faults, (attempt, told)
        assert b"-32603" not in told[-1] if isinstance(told[-1], bytes) else True
    assert await everything(platform) == before


def wrong_sends() -> Sequence[dict[str, Any]]:
    """Sends of 1.0 that are wrong in one thing each."""
    part = {"text": "x"}
    return [
        {},
        {"message": None},
        {"message": []},
        {"message": {}},
        message(role="ROLE_BOSS"),
        message(role="user"),
        message(role=99),
        message(role="ROLE_AGENT"),
        message(messageId=""),
        message(messageId="m" * 256),
        message(messageId=5),
        message(contextId="c" * 256),
        message(taskId=5),
        message(parts=[]),
        message(parts={}),
        message(parts=[{}]),
        message(parts=[None]),
        message(parts=[{**part, "url": "https://x.example"}]),
        message(parts=[{"raw": "not base64!"}]),
        message(parts=[{"url": "u" * 8193}]),
        message(parts=[{"text": 5}]),
        message(parts=[{**part, "mediaType": "m" * 256}]),
        message(parts=[{**part, "mediaType": "image/png"}]),
        message(parts=[{**part, "filename": "f" * 1025}]),
        message(parts=[{**part, "metadata": []}]),
        message(parts=[part] * 1001),
        message(parts=[{"text": "x" * 200_001}]),
        message(metadata=[]),
        message(extensions="urn:x"),
        message(referenceTaskIds=[5]),
        message(configuration=[]),
        message(configuration={"historyLength": -1}),
        message(configuration={"historyLength": 2**31}),
        message(configuration={"historyLength": "many"}),
        message(configuration={"returnImmediately": "yes"}),
        message(configuration={"acceptedOutputModes": "text/plain"}),
        message(configuration={"taskPushNotificationConfig": {}}),
        message(configuration={"taskPushNotificationConfig": {"url": "https://10.0.0.1/"}}),
        message(configuration={"taskPushNotificationConfig": {"url": HOOK, "taskId": "other"}}),
        message(configuration={"taskPushNotificationConfig": {"url": HOOK, "token": "a\nb"}}),
        {**message(), "tenant": str(uuid4())},
        {**message(), "metadata": "x"},
    ]


def wrong_lists() -> Sequence[dict[str, Any]]:
    """Lists that are wrong in one thing each."""
    return [
        {"status": "TASK_STATE_RUNNING"},
        {"status": "working"},
        {"pageSize": 0},
        {"pageSize": -1},
        {"pageSize": 101},
        {"pageSize": "x"},
        {"pageToken": "nonsense"},
        {"pageToken": "é"},
        {"pageToken": "_" * 32},
        {"historyLength": -1},
        {"historyLength": 1.5},
        {"includeArtifacts": "perhaps"},
        {"statusTimestampAfter": "2026-01-01T00:00:00+01:00"},
        {"statusTimestampAfter": "0000-00-00T00:00:00Z"},
        {"tenant": "other"},
    ]


async def test_wrong_sends_and_lists_have_their_error_and_change_nothing(
    platform: Platform, ann: Client, ben: Hostile
) -> None:
    await ann.result("SendMessage", at_once())
    before = await everything(platform)
    for params in wrong_sends():
        for operation, verb in (("SendMessage", "send"), ("SendStreamingMessage", "stream")):
            status, _, body = await ben.make(rpc(operation, params, V1))
            assert json.loads(body)["error"]["code"] in (-32602, -32600, -32005, -31403), (params, body)
            attempt = Attempt("HTTP+JSON", "POST", f"/a2a/v1/message:{verb}", params, V1)
            status, _, body = await ben.make(attempt)
            assert (status in (400, 403, 413), "details" in json.loads(body)["error"]) == (True, True), params
    for query in wrong_lists():
        status, _, body = await ben.make(rpc("ListTasks", query, V1))
        assert json.loads(body)["error"]["code"] in (-32602, -31403), (query, body)
        words = httpx.QueryParams({name: str(value) for name, value in query.items()})
        status, _, body = await ben.make(Attempt("HTTP+JSON", "GET", f"/a2a/v1/tasks?{words}", None, V1))
        assert status in (400, 403), (query, body)
    assert await everything(platform) == before


async def test_the_same_over_grpc_as_far_as_a_message_can_say_it(platform: Platform, ben: Hostile) -> None:
    before = await everything(platform)
    for params in wrong_sends():
        if any(said in str(params) for said in ("not base64", "'configuration': []", "'metadata': []")):
            continue  # a message has bytes, and no empty array in place of an object
        for operation in ("SendMessage", "SendStreamingMessage"):
            try:
                told = await ben.make(Attempt("GRPC", operation, NEW, params))
            except json_format.ParseError:
                continue  # no message can say it
            assert told[0] in ("INVALID_ARGUMENT", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "NOT_FOUND"), (
                params
            )
    for query in (
        {"status": 99},
        {"pageSize": -1},
        {"pageSize": 101},
        {"pageToken": "x"},
        {"historyLength": -1},
    ):
        told = await ben.make(Attempt("GRPC", "ListTasks", NEW, query))
        assert told[0] == "INVALID_ARGUMENT", query
    assert await everything(platform) == before


@pytest.mark.parametrize("version", ["0.2", "0.4", "1.1", "2.0", "1", "latest", "1.0;DROP", "9" * 5000])
async def test_a_wrong_version_changes_nothing_on_any_binding(
    platform: Platform, ben: Hostile, version: str
) -> None:
    before = await everything(platform)
    named = {"A2A-Version": version}
    for attempt in (
        rpc("SendMessage", at_once(), named),
        rpc("message/send", {"message": said("x", old=True)}, named),
        Attempt("HTTP+JSON", "POST", "/a2a/v1/message:send", at_once(), named),
        Attempt("GRPC", "SendMessage", NEW, at_once(), {"a2a-version": version}),
        Attempt("GRPC", "SendMessage", OLD, {}, {"a2a-version": version}),
    ):
        told = await ben.make(attempt)
        assert b"VERSION_NOT_SUPPORTED" in told[-1] if isinstance(told[-1], bytes) else True, attempt
        assert told[0] in (200, 400, "FAILED_PRECONDITION"), told
    assert await everything(platform) == before


async def test_without_a_required_extension_nothing_changes_on_any_binding(
    platform: Platform, config: A2AConfig, keys: Keys
) -> None:
    strict = replace(config, hub=replace(HUB, required_extensions=[NEEDED]))
    app = Starlette(routes=list(routes(platform, strict, keys)))
    server = GrpcServer(platform, strict, keys, host="127.0.0.1", port=0)
    port = await server.start()
    before = await everything(platform)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        ann = Hostile(http, channel, "ann")
        content = {"messageId": "m", "role": "ROLE_USER", "content": [{"text": "x"}]}
        old_message = {key: value for key, value in said("x", old=True).items() if key != "taskId"}
        for attempt in (
            *about(str(uuid4())),
            rpc("SendMessage", at_once(), V1),
            rpc("message/send", {"message": old_message}, V03),
            Attempt("HTTP+JSON", "POST", "/a2a/v1/message:send", at_once(), V1),
            Attempt("HTTP+JSON", "POST", "/a2a/v1/message:send", {"request": content}, V03),
            Attempt("GRPC", "SendMessage", NEW, at_once()),
            Attempt("GRPC", "SendMessage", OLD, {"request": content}),
        ):
            told = await ann.make(attempt)
            assert "EXTENSION_SUPPORT_REQUIRED" in str(told), (attempt, told)
    await server.stop()
    assert await everything(platform) == before
