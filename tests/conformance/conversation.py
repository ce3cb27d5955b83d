"""A conversation with everything in it, and what its client saw, made comparable.

Identifiers become `#1`, `#2`, … in the order in which they were seen, and times go: what remains must be the
same whichever way the conversation went.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from a2a.client import Client, ClientCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

WEBHOOK = "https://93.184.216.34/hook"
INNER = "https://10.0.0.1/hook"
_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
WORKING = "TASK_STATE_WORKING"


@dataclass(frozen=True)
class Way:
    """The official client over one binding in one version."""

    streaming: Client
    polling: Client
    context: ClientCallContext

    async def send(self, text: str, *, at_once: bool = False, **members: Any) -> pb.StreamResponse:
        """Send without streaming: the one answer."""
        request = asked(text, **members)
        request.configuration.return_immediately = at_once
        (answer,) = [a async for a in self.polling.send_message(request, context=self.context)]
        return answer

    async def stream(self, text: str, **members: Any) -> list[pb.StreamResponse]:
        """Send and take the whole stream."""
        sent = self.streaming.send_message(asked(text, **members), context=self.context)
        return [frame async for frame in sent]

    async def subscribe(self, id: str) -> list[pb.StreamResponse]:
        """Everything that a subscriber is told."""
        told = self.streaming.subscribe(pb.SubscribeToTaskRequest(id=id), context=self.context)
        return [frame async for frame in told]

    async def get(self, id: str, **members: Any) -> pb.Task:
        """The task."""
        return await self.polling.get_task(pb.GetTaskRequest(id=id, **members), context=self.context)

    async def cancel(self, id: str) -> pb.Task:
        """The task, cancelled."""
        return await self.polling.cancel_task(pb.CancelTaskRequest(id=id), context=self.context)

    async def configure(self, id: str, url: str) -> pb.TaskPushNotificationConfig:
        """Somebody is told of the task from now on."""
        wanted = pb.TaskPushNotificationConfig(task_id=id, id="one", url=url)
        wanted.authentication.scheme, wanted.authentication.credentials = "Bearer", "secret"
        return await self.polling.create_task_push_notification_config(wanted, context=self.context)

    async def configuration(self, id: str) -> pb.TaskPushNotificationConfig:
        """Who is told."""
        one = pb.GetTaskPushNotificationConfigRequest(task_id=id, id="one")
        return await self.polling.get_task_push_notification_config(one, context=self.context)


def asked(text: str, **members: Any) -> pb.SendMessageRequest:
    """A request to send a text, or parts."""
    said: dict[str, Any] = {"role": pb.ROLE_USER, "parts": [pb.Part(text=text)]}
    message = pb.Message(message_id=uuid4().hex, **{**said, **members})
    return pb.SendMessageRequest(message=message, configuration=pb.SendMessageConfiguration())


@dataclass
class Transcript:
    """What was seen, by name, in order."""

    seen: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, told: Any) -> None:
        """Something was told: a message of the protocol."""
        self.seen[name] = MessageToDict(told)

    async def refused(self, name: str, call: Awaitable[Any]) -> None:
        """Something is refused, with an error of the protocol."""
        try:
            told = await call
        except A2AError as error:
            self.seen[name] = [type(error).__name__, str(error)]
        else:
            raise AssertionError(f"{name} was not refused: {told}")

    def comparable(self) -> Any:
        """The whole, without times and with identifiers by their order."""
        numbers: dict[str, str] = {}

        def number(found: re.Match[str]) -> str:
            return numbers.setdefault(found[0], f"#{len(numbers) + 1}")

        def same(value: Any) -> Any:
            if isinstance(value, str):
                return _ID.sub(number, value)
            if isinstance(value, Mapping):
                return {key: same(inner) for key, inner in value.items() if key != "timestamp"}
            if isinstance(value, Sequence):
                return [same(inner) for inner in value]
            return value

        return same(self.seen)


async def converse(ann: Way, ben: Way) -> Any:
    """Ann has the conversation; Ben tries to listen in. What they saw."""
    seen = Transcript()
    for scene in (_plain, _parts, _streamed, _asked, _watched, _ended, _cancelled, _told_elsewhere, _errors):
        await scene(seen, ann)
    await _eavesdropped(seen, ann, ben)
    return seen.comparable()


async def _plain(seen: Transcript, ann: Way) -> None:
    first = (await ann.send("echo hello")).task
    seen.note("echo", first)
    seen.note("echo, read", await ann.get(first.id))
    seen.note("echo, its newest message", await ann.get(first.id, history_length=1))
    seen.note("same context", (await ann.send("echo again", context_id=first.context_id)).task)
    seen.note("a message", (await ann.send("final forty-two")).message)


async def _parts(seen: Transcript, ann: Way) -> None:
    data = pb.Part(metadata={"why": "test"})
    data.data.struct_value.update({"n": 1, "deep": {"list": [1.5, None, True, "x"]}})
    listed = pb.Part()
    listed.data.list_value.extend([1, "two"])
    parts = [
        pb.Part(text="echo parts", metadata={"n": 1}),
        data,
        listed,
        pb.Part(raw=b"\x00\xff text", media_type="text/plain", filename="a.txt"),
        pb.Part(url="https://example.com/b.json", media_type="application/json", filename="b.json"),
    ]
    told = await ann.send("", parts=parts, metadata={"trace": {"id": 7}}, extensions=["urn:x"])
    seen.note("parts", told.task)


async def _streamed(seen: Transcript, ann: Way) -> None:
    frames = await ann.stream("stream 3")
    seen.seen["stream"] = folded(frames)
    seen.note("stream, read", await ann.get(frames[0].task.id))


async def _asked(seen: Transcript, ann: Way) -> None:
    for script, answer in (
        ("ask Which colour?", "blue"),
        ("hold Which size?", "large"),
        ("auth Log in first", "done"),
        ("leave Delete 3 files?", "approve"),
        ("leave Delete 4 files?", "reject"),
    ):
        task = (await ann.send(script)).task
        seen.note(script, task)
        seen.note(f"{script} {answer}", (await ann.send(answer, task_id=task.id)).task)
    frames = await ann.stream("hold How many?")
    seen.seen["streamed question"] = folded(frames)
    task = frames[0].task
    more = await ann.stream("four", task_id=task.id, context_id=task.context_id)
    seen.seen["streamed answer"] = folded(more)
    seen.note("streamed answer, read", await ann.get(task.id))


async def _watched(seen: Transcript, ann: Way) -> None:
    task = (await ann.send("hold Ready?", at_once=True)).task
    seen.seen["watched"] = folded(await ann.subscribe(task.id))
    seen.note("watched, answered", (await ann.send("yes", task_id=task.id)).task)
    await seen.refused("watched, final", ann.subscribe(task.id))


async def _ended(seen: Transcript, ann: Way) -> None:
    seen.note("failed", (await ann.send("fail no such file")).task)
    seen.note("refused", (await ann.send("refuse not my job")).task)


async def _cancelled(seen: Transcript, ann: Way) -> None:
    task = (await ann.send("wait", at_once=True)).task
    seen.note("cancelled", await ann.cancel(task.id))
    await seen.refused("cancelled again", ann.cancel(task.id))


async def _told_elsewhere(seen: Transcript, ann: Way) -> None:
    task = (await ann.send("wait", at_once=True)).task
    await seen.refused("no configuration", ann.configuration(task.id))
    seen.note("configured", await ann.configure(task.id, WEBHOOK))
    seen.note("configuration", await ann.configuration(task.id))
    await seen.refused("configured inwards", ann.configure(task.id, INNER))
    await ann.cancel(task.id)


async def _errors(seen: Transcript, ann: Way) -> None:
    for id in (str(uuid4()), "nonsense"):
        await _missing(seen, ann, id, f"missing {len(id)}")
    done = (await ann.send("echo x")).task
    png = [pb.Part(raw=b"\x89PNG", media_type="image/png")]
    refusals: dict[str, Callable[[], Awaitable[Any]]] = {
        "to a final task": lambda: ann.send("more", task_id=done.id),
        "streamed to a final task": lambda: ann.stream("more", task_id=done.id),
        "by an agent": lambda: ann.send("x", role=pb.ROLE_AGENT),
        "without parts": lambda: ann.send("x", parts=[]),
        "of another type": lambda: ann.send("", parts=png),
        "another context": lambda: ann.send("x", task_id=done.id, context_id="another"),
        "a negative history": lambda: ann.get(done.id, history_length=-1),
    }
    for name, call in refusals.items():
        await seen.refused(name, call())


async def _missing(seen: Transcript, way: Way, id: str, name: str) -> None:
    await seen.refused(f"{name}: get", way.get(id))
    await seen.refused(f"{name}: cancel", way.cancel(id))
    await seen.refused(f"{name}: subscribe", way.subscribe(id))
    await seen.refused(f"{name}: send", way.send("hi", task_id=id))
    await seen.refused(f"{name}: stream", way.stream("hi", task_id=id))
    await seen.refused(f"{name}: configure", way.configure(id, WEBHOOK))
    await seen.refused(f"{name}: configuration", way.configuration(id))


async def _eavesdropped(seen: Transcript, ann: Way, ben: Way) -> None:
    task = (await ann.send("wait", at_once=True)).task
    await _missing(seen, ben, task.id, "foreign")
    await ann.cancel(task.id)


def folded(frames: Sequence[pb.StreamResponse]) -> Any:
    """What a stream told, however early it began: the words, the chunks and the states that say something."""
    first, *later = [MessageToDict(frame) for frame in frames]
    told: list[Any] = []
    for frame in later:
        if "artifactUpdate" in frame:
            told.append(frame["artifactUpdate"])
        else:
            status = frame["statusUpdate"]["status"]
            if "message" in status or status["state"] != WORKING:
                told.append(frame["statusUpdate"])
    said = [m for m in first["task"].get("history", ()) if m["role"] == "ROLE_USER"]
    return {"of": first["task"]["id"], "said": said, "told": told}
