"""A2A over gRPC, in 1.0 and 0.3: raw stubs against a real server. Specification §10."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc.aio  # type: ignore[import-untyped]
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as old_pb
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.types import a2a_pb2 as pb
from a2a.types import a2a_pb2_grpc
from a2a.utils.grpc_status import status_from_call
from google.protobuf import json_format  # type: ignore[import-untyped]

from adapters.a2a import A2AConfig
from adapters.a2a.agent import CannotListen
from adapters.a2a.card import interfaces_of
from adapters.a2a.exposed import agent_of
from adapters.a2a.grpc_binding import GrpcServer
from core.caller import SYSTEM
from core.exposures import Expose, Target, expose
from core.platform import Platform
from core.tasks.artifacts import PutArtifact, put_artifact
from core.tasks.report import CompleteTask, complete
from schemas.vocabulary import ExposureKind
from tests.adapters.a2a.support import TENANT, Client, Executor, Few, Keys


class Watched:
    """A place for one, and a word when it is left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    @contextmanager
    def taken_by(self, principal_id: UUID) -> Iterator[None]:
        """The place, while the block runs."""
        try:
            yield
        finally:
            self.left.set()


NAMED: tuple[tuple[str, str], ...] = (("a2a-version", "1.0"),)


@pytest.fixture
async def port(platform: Platform, config: A2AConfig, keys: Keys) -> AsyncIterator[int]:
    """A server on a free port."""
    server = GrpcServer(platform, config, keys, host="127.0.0.1", port=0)
    yield await server.start()
    await server.stop()


@pytest.fixture
async def channel(port: int) -> AsyncIterator[Any]:
    """A connection to it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: Any) -> Any:
    """The stub of 1.0."""
    return a2a_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
def old(channel: Any) -> Any:
    """The stub of 0.3."""
    return a2a_v0_3_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]


def by(name: str = "ann", *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """The metadata of a caller."""
    return (("authorization", f"Bearer {name}"), *more)


def asked(text: str = "hi", *, at_once: bool = True, **members: Any) -> Any:
    """A request to send a text."""
    said = pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text=text)], **members)
    configuration = pb.SendMessageConfiguration(return_immediately=at_once)
    return pb.SendMessageRequest(message=said, configuration=configuration)


async def refused(call: Any) -> tuple[str, str, Any]:
    """Status, text and reason of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    status = status_from_call(error.value)
    assert status is not None
    told = json_format.MessageToDict(status)
    assert told["code"] == error.value.code().value[0]
    return error.value.code().name, error.value.details(), told["details"]


async def test_a_task_is_the_one_that_the_other_bindings_show(
    stub: Any, ann: Client, executor: Executor
) -> None:
    task = (await stub.SendMessage(asked("echo"), metadata=by())).task
    assert json_format.MessageToDict(task) == await ann.result("GetTask", {"id": task.id})
    await executor.finish({"n": 1, "deep": [None, True, "x"]})
    got = await stub.GetTask(pb.GetTaskRequest(id=task.id), metadata=by("ann", *NAMED))
    assert json_format.MessageToDict(got) == await ann.result("GetTask", {"id": task.id})
    listed = await stub.ListTasks(pb.ListTasksRequest(page_size=1), metadata=by())
    assert (listed.total_size, listed.page_size, listed.tasks[0].id) == (1, 1, task.id)


async def test_an_exposed_agent_is_named_as_the_tenant(
    platform: Platform, config: A2AConfig, stub: Any, ann: Client
) -> None:
    target = Target(ExposureKind.ROLE, "translator")
    made = await platform.write(SYSTEM(TENANT), expose, Expose("tr", target))
    request = asked()
    request.tenant = "tr"
    task = (await stub.SendMessage(request, metadata=by())).task
    own = (await stub.SendMessage(asked(), metadata=by())).task
    assert (await ann.rest("GET", f"/tr/tasks/{task.id}")).json()["id"] == task.id
    listed = await stub.ListTasks(pb.ListTasksRequest(tenant="tr"), metadata=by())
    assert [found.id for found in listed.tasks] == [task.id]
    lost = stub.GetTask(pb.GetTaskRequest(id=own.id, tenant="tr"), metadata=by())
    assert (await refused(lost))[0] == "NOT_FOUND"
    reached = interfaces_of(agent_of(made), replace(config, grpc_address="h:1"))
    over_grpc = [interface for interface in reached if interface["protocolBinding"] == "GRPC"]
    assert over_grpc == [{"url": "h:1", "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "tr"}]


async def test_a_send_waits_for_the_end(stub: Any, executor: Executor) -> None:
    sending = asyncio.ensure_future(stub.SendMessage(asked(at_once=False), metadata=by()))
    await executor.finish("done")
    task = (await sending).task
    assert (task.status.state, task.artifacts[0].parts[0].text) == (pb.TASK_STATE_COMPLETED, "done")


async def test_a_stream_is_a_task_and_its_events(stub: Any, executor: Executor) -> None:
    stream = aiter(stub.SendStreamingMessage(asked(), metadata=by()))
    first = await anext(stream)
    assert first.WhichOneof("payload") == "task"
    held = await executor.take()
    await executor.do(complete, CompleteTask(held.task.id, output="x", lease_id=held.lease_id))
    rest = [frame async for frame in stream]
    assert [frame.WhichOneof("payload") for frame in rest] == [
        "status_update",
        "artifact_update",
        "status_update",
    ]
    code, text, _ = await refused(
        stub.SubscribeToTask(pb.SubscribeToTaskRequest(id=first.task.id), metadata=by()).read()
    )
    assert (code, "nothing more happens" in text) == ("FAILED_PRECONDITION", True)


async def test_a_client_that_leaves_gives_its_place_back(
    platform: Platform, config: A2AConfig, keys: Keys
) -> None:
    crowded = A2AConfig(config.public_url, config.version, streams=Few(1))
    server = GrpcServer(platform, crowded, keys, host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]
        stream = stub.SendStreamingMessage(asked(), metadata=by())
        task = (await stream.read()).task
        code, _, details = await refused(stub.SendStreamingMessage(asked(), metadata=by()).read())
        assert (code, details[0]["reason"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert details[1]["retryDelay"] == "1s"
        stream.cancel()
        async with asyncio.timeout(5):
            while True:
                again = stub.SubscribeToTask(pb.SubscribeToTaskRequest(id=task.id), metadata=by())
                try:
                    assert (await again.read()).task.id == task.id
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0)
    await server.stop()


async def test_a_reader_that_takes_nothing_is_dropped(
    platform: Platform, config: A2AConfig, keys: Keys, executor: Executor
) -> None:
    place = Watched()
    watching = A2AConfig(config.public_url, config.version, streams=place)
    server = GrpcServer(platform, watching, keys, host="127.0.0.1", port=0, stall_seconds=0.2)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]
        stream = stub.SendStreamingMessage(asked(), metadata=by())
        await stream.read()
        held = await executor.take()
        for n in range(24):
            large = PutArtifact(
                held.task.id, [{"text": "x" * 900_000}], artifact_id=f"{n}", lease_id=held.lease_id
            )
            await executor.do(put_artifact, large)
        async with asyncio.timeout(10):
            await place.left.wait()
        stream.cancel()
    await server.stop()


async def test_a_stream_ends_with_its_credential(stub: Any, keys: Keys) -> None:
    stream = stub.SendStreamingMessage(asked(), metadata=by())
    await stream.read()
    keys.revoked.set()
    assert (await refused(stream.read()))[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"),
    [
        ("GetTask", pb.GetTaskRequest(id="x"), "NOT_FOUND", "TASK_NOT_FOUND"),
        ("GetTask", pb.GetTaskRequest(), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ("GetTask", pb.GetTaskRequest(id="x", history_length=-1), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ("GetTask", pb.GetTaskRequest(id="x\0"), "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ("GetTask", pb.GetTaskRequest(id="x", tenant="other"), "PERMISSION_DENIED", "FORBIDDEN"),
        ("CancelTask", pb.CancelTaskRequest(id="x"), "NOT_FOUND", "TASK_NOT_FOUND"),
        ("ListTasks", pb.ListTasksRequest(page_size=0), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ("ListTasks", pb.ListTasksRequest(page_token="x"), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ("ListTasks", pb.ListTasksRequest(status=99), "INVALID_ARGUMENT", "INVALID_PARAMS"),  # type: ignore[arg-type]
        ("SendMessage", pb.SendMessageRequest(), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ("SendMessage", asked(task_id="x"), "NOT_FOUND", "TASK_NOT_FOUND"),
        (
            "GetExtendedAgentCard",
            pb.GetExtendedAgentCardRequest(tenant="x"),
            "PERMISSION_DENIED",
            "FORBIDDEN",
        ),
        (
            "DeleteTaskPushNotificationConfig",
            pb.DeleteTaskPushNotificationConfigRequest(task_id="x", id="y"),
            "FAILED_PRECONDITION",
            "PUSH_NOTIFICATION_NOT_SUPPORTED",
        ),
    ],
)
async def test_a_refusal_has_its_status_and_its_reason(
    stub: Any, method: str, request_: Any, code: str, reason: str
) -> None:
    status, _, details = await refused(getattr(stub, method)(request_, metadata=by()))
    assert (status, details[0]["reason"]) == (code, reason)
    if reason == "INVALID_PARAMS":
        assert details[1]["fieldViolations"]


async def test_without_a_credential_nothing_is_told(stub: Any) -> None:
    for metadata in ((), by("nobody"), (("authorization", "Basic x"),)):
        code, _, _ = await refused(stub.GetTask(pb.GetTaskRequest(id="x"), metadata=metadata))
        assert code == "UNAUTHENTICATED"


async def test_a_foreign_task_is_a_missing_one(stub: Any, old: Any) -> None:
    task = (await stub.SendMessage(asked(), metadata=by())).task
    foreign = await refused(stub.GetTask(pb.GetTaskRequest(id=task.id), metadata=by("ben")))
    assert foreign == await refused(stub.GetTask(pb.GetTaskRequest(id="x"), metadata=by("ben")))
    name = f"tasks/{task.id}"
    assert (await refused(old.GetTask(old_pb.GetTaskRequest(name=name), metadata=by("ben"))))[
        0
    ] == "NOT_FOUND"


@pytest.mark.parametrize("version", ["0.3", "1.1", "x"])
async def test_another_version_than_the_service_speaks_is_refused(stub: Any, version: str) -> None:
    metadata = by("ann", ("a2a-version", version))
    _, _, details = await refused(stub.GetTask(pb.GetTaskRequest(id="x"), metadata=metadata))
    assert details[0]["reason"] == "VERSION_NOT_SUPPORTED"


async def test_a_send_may_be_repeated_under_its_key(stub: Any) -> None:
    metadata = by("ann", ("idempotency-key", "k1"))
    first = await stub.SendMessage(asked(), metadata=metadata)
    call = stub.SendMessage(asked(), metadata=metadata)
    assert (await call).task.id == first.task.id
    assert dict(await call.trailing_metadata())["idempotency-replayed"] == "true"


async def test_too_many_faults_to_tell_are_told_without_the_list(stub: Any) -> None:
    said = pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part() for _ in range(900)])
    code, _, details = await refused(stub.SendMessage(pb.SendMessageRequest(message=said), metadata=by()))
    assert (code, [d["reason"] for d in details]) == ("INVALID_ARGUMENT", ["INVALID_PARAMS"])


async def test_the_service_of_0_3_is_on_the_same_port(old: Any, executor: Executor, ann: Client) -> None:
    message = old_pb.Message(message_id="m", role=old_pb.ROLE_USER, content=[old_pb.Part(text="a")])
    request = old_pb.SendMessageRequest(request=message)
    sending = asyncio.ensure_future(old.SendMessage(request, metadata=by("ann", ("a2a-version", "0.3"))))
    await executor.finish({"n": 1})
    task = (await sending).task
    assert task.status.state == old_pb.TASK_STATE_COMPLETED
    assert json_format.MessageToDict(task.artifacts[0].parts[0].data) == {"data": {"n": 1.0}}
    name = f"tasks/{task.id}"
    got = await old.GetTask(old_pb.GetTaskRequest(name=name), metadata=by())
    assert got == task
    code, text, _ = await refused(old.CancelTask(old_pb.CancelTaskRequest(name=name), metadata=by()))
    assert (code, text.split(":")[0]) == ("FAILED_PRECONDITION", "TaskNotCancelableError")
    gone = await refused(old.GetTask(old_pb.GetTaskRequest(name="x"), metadata=by()))
    assert (gone[0], gone[1].split(":")[0]) == ("INVALID_ARGUMENT", "InvalidParamsError")
    stream = old.TaskSubscription(old_pb.TaskSubscriptionRequest(name=name), metadata=by())
    assert (await refused(stream.read()))[1].startswith("UnsupportedOperationError: ")


async def test_a_port_that_is_taken_is_said_so(
    platform: Platform, config: A2AConfig, keys: Keys, port: int
) -> None:
    with pytest.raises(CannotListen, match=str(port)):
        await GrpcServer(platform, config, keys, host="127.0.0.1", port=port).start()
