"""The official Python client, over all three bindings, against a real hub."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from a2a.client import (
    A2ACardResolver,
    Client,
    ClientCallContext,
    ClientCallInterceptor,
    ClientConfig,
    ClientFactory,
)
from a2a.client.interceptors import AfterArgs, BeforeArgs
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from tests.conformance.hub_process import RunningHub

State = pb.TaskState


@dataclass
class Peer:
    """The official client, once streaming and once not."""

    streaming: Client
    polling: Client

    async def send(self, text: str, *, at_once: bool = False, **members: Any) -> pb.StreamResponse:
        """Send without streaming: the one answer."""
        request = asked(text, **members)
        request.configuration.return_immediately = at_once
        answers = [answer async for answer in self.polling.send_message(request)]
        assert len(answers) == 1
        return answers[0]

    async def stream(self, text: str, **members: Any) -> list[pb.StreamResponse]:
        """Send and take the whole stream."""
        return [frame async for frame in self.streaming.send_message(asked(text, **members))]

    async def get(self, id: str) -> pb.Task:
        """The task."""
        return await self.polling.get_task(pb.GetTaskRequest(id=id))


class Keyed(ClientCallInterceptor):
    """Sends a key with every call."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def before(self, args: BeforeArgs) -> None:
        """Add it."""
        args.context = ClientCallContext(service_parameters={"Authorization": f"Bearer {self._key}"})

    async def after(self, args: AfterArgs) -> None:
        """Nothing to do."""


def asked(text: str, **members: Any) -> pb.SendMessageRequest:
    """A request to send a text."""
    parts = members.pop("parts", None) or [pb.Part(text=text)]
    said = pb.Message(message_id=uuid4().hex, role=pb.ROLE_USER, parts=parts, **members)
    return pb.SendMessageRequest(message=said)


@pytest.fixture(scope="session")
def key(hub: RunningHub) -> str:
    """The key of somebody who submits; one for the run, as minting is rationed."""
    return hub.key_for("python")


@pytest.fixture(params=["JSONRPC", "HTTP+JSON", "GRPC"])
async def peer(hub: RunningHub, key: str, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    """A client of one binding, made from the card that the hub serves."""
    channels: list[Any] = []

    def channel(address: str) -> Any:
        channels.append(grpc.aio.insecure_channel(address))
        return channels[-1]

    async with httpx.AsyncClient(timeout=30) as http:
        card = await A2ACardResolver(http, hub.url).get_agent_card()

        def client(streaming: bool) -> Client:
            config = ClientConfig(
                streaming=streaming,
                httpx_client=http,
                grpc_channel_factory=channel,
                supported_protocol_bindings=[request.param],
            )
            return ClientFactory(config).create(card, interceptors=[Keyed(key)])

        yield Peer(client(True), client(False))
    for opened in channels:
        await opened.close()


def texts(parts: Any) -> list[str]:
    return [part.text for part in parts]


@pytest.mark.requirement("3.2.2-waits", "3.2.2-whole")
async def test_a_blocking_send_is_answered_with_the_finished_task(peer: Peer) -> None:
    task = (await peer.send("echo hello")).task
    assert task.status.state == State.TASK_STATE_COMPLETED
    assert [(a.name, texts(a.parts)) for a in task.artifacts] == [("output", ["hello"])]
    assert texts(task.history[0].parts) == ["echo hello"]


@pytest.mark.requirement("3.2.2-at-once", "3.1.3-state")
async def test_a_send_may_return_at_once_and_the_task_be_fetched(peer: Peer) -> None:
    task = (await peer.send("wait", at_once=True)).task
    assert task.status.state in (State.TASK_STATE_SUBMITTED, State.TASK_STATE_WORKING)
    got = await peer.get(task.id)
    assert (got.id, got.context_id) == (task.id, task.context_id)
    await peer.polling.cancel_task(pb.CancelTaskRequest(id=task.id))


@pytest.mark.requirement("3.1.1-message")
async def test_a_message_answer_is_a_message(peer: Peer) -> None:
    answer = await peer.send("final forty-two")
    assert answer.WhichOneof("payload") == "message"
    assert texts(answer.message.parts) == ["forty-two"]


@pytest.mark.requirement("3.1.2-task-first", "3.5.2-order")
async def test_a_stream_tells_everything_in_order(peer: Peer) -> None:
    frames = await peer.stream("stream 3")
    assert frames[0].WhichOneof("payload") == "task"
    said = [
        texts(frame.status_update.status.message.parts)[0]
        for frame in frames
        if frame.WhichOneof("payload") == "status_update" and frame.status_update.status.HasField("message")
    ]
    chunks = [
        (frame.artifact_update.append, frame.artifact_update.last_chunk)
        for frame in frames
        if frame.WhichOneof("payload") == "artifact_update"
    ]
    assert said == ["step 0", "step 1", "step 2"]
    assert chunks == [(False, False), (True, True)]
    assert frames[-1].status_update.status.state == State.TASK_STATE_COMPLETED
    task = await peer.get(frames[0].task.id)
    assert texts(task.artifacts[0].parts) == ["one ", "two"]


@pytest.mark.requirement("3.4.3-continues")
async def test_a_question_is_answered_by_a_message_to_the_task(peer: Peer) -> None:
    task = (await peer.send("ask Which colour?")).task
    assert task.status.state == State.TASK_STATE_INPUT_REQUIRED
    assert texts(task.status.message.parts) == ["Which colour?"]
    done = (await peer.send("blue", task_id=task.id)).task
    assert (done.id, done.context_id) == (task.id, task.context_id)
    assert done.status.state == State.TASK_STATE_COMPLETED
    assert texts(done.artifacts[0].parts) == ["you said blue"]


@pytest.mark.requirement("11.7-interrupted")
async def test_a_question_closes_the_stream_and_the_answer_opens_the_next(peer: Peer) -> None:
    frames = await peer.stream("hold Which colour?")
    last = frames[-1].status_update.status
    assert (last.state, texts(last.message.parts)) == (State.TASK_STATE_INPUT_REQUIRED, ["Which colour?"])
    task = frames[0].task
    more = await peer.stream("red", task_id=task.id, context_id=task.context_id)
    assert more[0].task.id == task.id
    assert more[-1].status_update.status.state == State.TASK_STATE_COMPLETED
    assert texts((await peer.get(task.id)).artifacts[0].parts) == ["you said red"]


@pytest.mark.requirement("7.6.1-state")
async def test_a_credential_is_asked_for_and_given(peer: Peer) -> None:
    task = (await peer.send("auth Log in first")).task
    assert task.status.state == State.TASK_STATE_AUTH_REQUIRED
    assert texts(task.status.message.parts) == ["Log in first"]
    done = (await peer.send("done", task_id=task.id)).task
    assert done.status.state == State.TASK_STATE_COMPLETED


@pytest.mark.parametrize(("word", "decided"), [("approve", "approved"), ("reject", "rejected")])
async def test_leave_is_given_or_refused_by_a_message(peer: Peer, word: str, decided: str) -> None:
    task = (await peer.send("leave Delete 3 files?")).task
    assert task.status.state == State.TASK_STATE_INPUT_REQUIRED
    assert "approve (Approve), reject (Reject)" in task.status.message.parts[0].text
    done = (await peer.send(word, task_id=task.id)).task
    assert texts(done.artifacts[0].parts) == [decided]


async def test_failure_and_refusal_have_their_reasons(peer: Peer) -> None:
    failed = (await peer.send("fail no such file")).task.status
    assert (failed.state, texts(failed.message.parts)) == (State.TASK_STATE_FAILED, ["no such file"])
    refused = (await peer.send("refuse not my job")).task.status
    assert (refused.state, texts(refused.message.parts)) == (State.TASK_STATE_REJECTED, ["not my job"])


@pytest.mark.requirement("3.1.4-cursor", "3.4.1-grouped")
async def test_tasks_are_listed_by_context_in_pages(peer: Peer) -> None:
    context = uuid4().hex
    sent = [(await peer.send(f"echo {n}", context_id=context)).task.id for n in range(3)]
    await peer.send("echo other")
    first = await peer.polling.list_tasks(pb.ListTasksRequest(context_id=context, page_size=2))
    assert (first.page_size, first.total_size, len(first.tasks)) == (2, 3, 2)
    rest = await peer.polling.list_tasks(
        pb.ListTasksRequest(
            context_id=context,
            page_size=2,
            page_token=first.next_page_token,
            status=State.TASK_STATE_COMPLETED,
            include_artifacts=True,
        )
    )
    assert [task.id for task in [*first.tasks, *rest.tasks]] == sent[::-1]
    assert (rest.next_page_token, len(first.tasks[0].artifacts)) == ("", 0)
    assert texts(rest.tasks[0].artifacts[0].parts) == ["0"]


@pytest.mark.requirement("3.1.5-cancels", "3.1.5-over")
async def test_cancel_reaches_the_worker_and_happens_once(peer: Peer) -> None:
    task = (await peer.send("wait", at_once=True)).task
    cancelled = await peer.polling.cancel_task(pb.CancelTaskRequest(id=task.id))
    assert cancelled.status.state == State.TASK_STATE_CANCELED
    with pytest.raises(TaskNotCancelableError):
        await peer.polling.cancel_task(pb.CancelTaskRequest(id=task.id))


@pytest.mark.requirement("3.1.6-task-first", "3.1.6-ends")
async def test_a_subscriber_sees_the_task_and_then_its_end(peer: Peer) -> None:
    task = (await peer.send("hold ?", at_once=True)).task
    frames: list[pb.StreamResponse] = []
    async for frame in peer.streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id)):
        frames.append(frame)
        state = frame.status_update.status.state or frame.task.status.state
        if state == State.TASK_STATE_INPUT_REQUIRED:
            break
    answer = asyncio.ensure_future(peer.send("!", task_id=task.id))
    assert frames[0].WhichOneof("payload") == "task"
    assert (await answer).task.status.state == State.TASK_STATE_COMPLETED
    with pytest.raises(UnsupportedOperationError):
        [_ async for _ in peer.streaming.subscribe(pb.SubscribeToTaskRequest(id=task.id))]


@pytest.mark.requirement("3.5.2-independent")
async def test_a_client_that_leaves_a_stream_loses_nothing(peer: Peer) -> None:
    stream = peer.streaming.send_message(asked("hold ?"))
    first = await anext(aiter(stream))
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    done = first.task
    while done.status.state != State.TASK_STATE_INPUT_REQUIRED:
        done = await peer.get(first.task.id)
    assert (await peer.send("x", task_id=done.id)).task.status.state == State.TASK_STATE_COMPLETED


@pytest.mark.parametrize("id", ["0190f000-0000-7000-8000-0000000000aa", "nonsense"])
@pytest.mark.requirement("3.1.3-unknown", "3.1.5-unknown", "3.1.6-unknown")
async def test_a_task_that_is_not_there_is_not_found(peer: Peer, id: str) -> None:
    with pytest.raises(TaskNotFoundError):
        await peer.get(id)
    with pytest.raises(TaskNotFoundError):
        await peer.polling.cancel_task(pb.CancelTaskRequest(id=id))
    with pytest.raises(TaskNotFoundError):
        await peer.send("hi", task_id=id)
    with pytest.raises(TaskNotFoundError):
        [_ async for _ in peer.streaming.subscribe(pb.SubscribeToTaskRequest(id=id))]


@pytest.mark.requirement("3.3.2-hidden")
async def test_another_principals_task_is_not_found(peer: Peer, hub: RunningHub) -> None:
    foreign = hub.post("/tasks", {"title": "not yours", "required_tags": ["nobody"]})
    with pytest.raises(TaskNotFoundError):
        await peer.get(foreign["id"])
    hub.post(f"/tasks/{foreign['id']}/cancel", {})


async def test_errors_are_the_official_ones(peer: Peer) -> None:
    done = (await peer.send("echo x")).task
    with pytest.raises(UnsupportedOperationError):
        await peer.send("more", task_id=done.id)
    with pytest.raises(InvalidParamsError):
        await peer.send("", parts=[pb.Part()])
    with pytest.raises(ContentTypeNotSupportedError):
        await peer.send("", parts=[pb.Part(raw=b"\x89PNG", media_type="image/png")])
    with pytest.raises(InvalidParamsError):
        await peer.polling.list_tasks(pb.ListTasksRequest(page_size=500))
    with pytest.raises(InvalidParamsError):
        await peer.polling.list_tasks(pb.ListTasksRequest(page_token="nonsense"))
    config = pb.TaskPushNotificationConfig(task_id=done.id, url="https://10.0.0.1/hook")
    with pytest.raises(InvalidParamsError):
        await peer.polling.create_task_push_notification_config(config)


@pytest.mark.requirement("3.1.7-creates", "3.1.8-tells", "3.1.9-all", "3.1.10-removes")
async def test_push_configurations_are_kept_read_listed_and_deleted(peer: Peer) -> None:
    task = (await peer.send("wait", at_once=True)).task
    wanted = pb.TaskPushNotificationConfig(task_id=task.id, id="one", url="https://93.184.216.34/hook")
    wanted.authentication.scheme, wanted.authentication.credentials = "Bearer", "secret"
    made = await peer.polling.create_task_push_notification_config(wanted)
    assert (made.id, made.task_id, made.url) == ("one", task.id, wanted.url)
    one = pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id="one")
    assert await peer.polling.get_task_push_notification_config(one) == made
    every = pb.ListTaskPushNotificationConfigsRequest(task_id=task.id)
    assert list((await peer.polling.list_task_push_notification_configs(every)).configs) == [made]
    gone = pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="one")
    await peer.polling.delete_task_push_notification_config(gone)
    with pytest.raises(TaskNotFoundError):
        await peer.polling.get_task_push_notification_config(one)
    await peer.polling.cancel_task(pb.CancelTaskRequest(id=task.id))


@pytest.mark.requirement("3.4.3-mismatch")
async def test_a_mismatch_of_task_and_context_is_refused(peer: Peer) -> None:
    task = (await peer.send("wait", at_once=True)).task
    with pytest.raises(InvalidParamsError):
        await peer.send("x", task_id=task.id, context_id="another")
    await peer.polling.cancel_task(pb.CancelTaskRequest(id=task.id))


async def test_without_a_valid_key_nothing_works(hub: RunningHub) -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer wrong"}, timeout=30) as http:
        card = await A2ACardResolver(http, hub.url).get_agent_card()
        for binding in ("JSONRPC", "HTTP+JSON"):
            config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding])
            client = ClientFactory(config).create(card)
            with pytest.raises(A2AError, match="401"):
                await client.get_task(pb.GetTaskRequest(id="x"))
