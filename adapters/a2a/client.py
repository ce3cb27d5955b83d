"""Calls one remote agent over A2A: 1.0 over JSON-RPC or HTTP+JSON, or 0.3 over JSON-RPC, as its card says.

Every call goes through the guarded session. What failed is told apart by whether it may be repeated; doing so
is the caller's business. Nothing here knows tasks of the hub.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from uuid import uuid4

import aiohttp
from yarl import URL

from adapters.a2a.extensions import IDEMPOTENCY
from adapters.a2a.remote.answers import Frame, RemoteTask, frame_of, task_of
from adapters.a2a.remote.bindings import Written, binding_of, of_status
from adapters.a2a.remote.credentials import Credentials
from adapters.a2a.remote.events import Events
from adapters.a2a.remote.failures import BadAnswer, Refused, Unreached, failure_of
from adapters.a2a.version import CURRENT
from adapters.outbound import A2A, Answer, Outbound, OutboundError, classified

CALL_SECONDS: Final = 30.0
"""For a call that answers once, and for the head of a stream."""
SILENCE_SECONDS: Final = 75.0
"""After so long without a byte, not even a comment, a stream counts as broken."""
_KEPT: Final = 100
"""Messages of history that a snapshot is asked for."""


class Client:
    """One remote agent, by the interface that was chosen from its card."""

    def __init__(
        self,
        outbound: Outbound,
        interface: Mapping[str, Any],
        credentials: Credentials,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._outbound = outbound
        self._interface = interface
        self._credentials = credentials
        self._binding = binding_of(interface)
        self._silence = silence_seconds

    @property
    def streaming(self) -> bool:
        """Whether the agent can stream."""
        return bool(self._interface.get("streaming"))

    @property
    def idempotent(self) -> bool:
        """Whether the agent says that it recognises a repeated send."""
        return bool(self._interface.get("idempotent"))

    async def send(self, params: Mapping[str, Any], key: str) -> Frame:
        """SendMessage, without waiting for the result: a task, or a message that is the whole answer.

        Raises:
            RemoteError: what became of it.
        """
        told = await self._call("SendMessage", _unhurried(params), key)
        frame = frame_of(told)
        if frame is None:
            raise BadAnswer("the answer to a send is neither a task nor a message")
        return frame

    def send_streaming(self, params: Mapping[str, Any], key: str) -> AsyncGenerator[Sequence[Frame], None]:
        """SendStreamingMessage. Raises as `send`; nothing is sent before the first frame is asked for."""
        return self._stream("SendStreamingMessage", params, key)

    def subscribe(self, task_id: str) -> AsyncGenerator[Sequence[Frame], None]:
        """SubscribeToTask: the task as it stands, then what happens to it. Raises as `send`."""
        return self._stream("SubscribeToTask", {"id": task_id})

    async def get_task(self, task_id: str) -> RemoteTask:
        """GetTask, with its newest history. Raises as `send`."""
        told = await self._call("GetTask", {"id": task_id, "historyLength": _KEPT})
        return task_of(_bare(told))

    async def cancel(self, task_id: str, reason: str | None = None) -> RemoteTask:
        """CancelTask. Raises as `send`."""
        params: dict[str, Any] = {"id": task_id}
        if reason:
            params["metadata"] = {"reason": reason}
        return task_of(_bare(await self._call("CancelTask", params)))

    async def find(self, context_id: str, message_id: str) -> RemoteTask | None:
        """The task that a message made in a context, as far as the agent can tell. Raises as `send`."""
        if self._interface["version"] != CURRENT:
            raise Refused("METHOD_NOT_FOUND", "A2A 0.3 lists no tasks")
        wanted = {"contextId": context_id, "historyLength": _KEPT, "includeArtifacts": False}
        told = await self._call("ListTasks", wanted)
        tasks = told.get("tasks") if type(told) is dict else None
        for value in tasks if type(tasks) is list else ():
            task = task_of(value)
            if any(said.id == message_id for said in task.history):
                return task
        return None

    async def probe(self) -> None:
        """Whether the agent answers, and accepts the hub: asks for a task that does not exist.

        Raises:
            RemoteError: it does not.
        """
        try:
            await self._call("GetTask", {"id": str(uuid4())})
        except Refused:
            return

    async def _call(self, operation: str, params: Mapping[str, Any], key: str | None = None) -> Any:
        written = self._binding.write(operation, params)
        answer = await self._fetch(written, key)
        return self._binding.read(answer.status, answer.body)

    async def _fetch(self, written: Written, key: str | None, *, again: bool = True) -> Answer:
        url, headers = await self._proven(written, key)
        try:
            answer = await self._outbound.fetch(
                written.method, url, purpose=A2A, headers=headers, data=written.body, seconds=CALL_SECONDS
            )
        except OutboundError as error:
            raise failure_of(error) from error
        if answer.status == 401 and again and self._credentials.renewable:
            self._credentials.forget()
            return await self._fetch(written, key, again=False)
        return answer

    async def _stream(
        self, operation: str, params: Mapping[str, Any], key: str | None = None, *, again: bool = True
    ) -> AsyncGenerator[Sequence[Frame], None]:
        written = self._binding.write(operation, params, streaming=True)
        url, headers = await self._proven(written, key)
        session = self._outbound.session(A2A)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                response = await session.request(written.method, url, headers=headers, data=written.body)
        except TimeoutError as error:
            raise Unreached("the remote agent did not begin to answer") from error
        except OutboundError as error:
            raise failure_of(error) from error
        async with response:
            if response.status == 401 and again and self._credentials.renewable:
                self._credentials.forget()
            elif response.content_type == "text/event-stream" and response.status == 200:
                async with aclosing(self._frames(response)) as told:
                    async for frames in told:
                        yield frames
                return
            else:
                body = await self._rest(response)
                frame = frame_of(self._binding.read(response.status, body))
                if frame is None:
                    raise of_status(response.status)
                yield [frame]
                return
        async with aclosing(self._stream(operation, params, key, again=False)) as repeated:
            async for frames in repeated:
                yield frames

    async def _frames(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Sequence[Frame], None]:
        events = Events(A2A.max_bytes)
        while True:
            piece = await self._piece(response)
            if not piece:
                return
            told = [frame_of(self._binding.event(data)) for data in events.feed(piece)]
            frames = [frame for frame in told if frame is not None]
            if frames:
                yield frames

    async def _piece(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            async with asyncio.timeout(self._silence):
                return await response.content.readany()
        except TimeoutError as error:
            raise Unreached("the stream of the remote agent fell silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreached("the stream of the remote agent broke off") from classified(error)

    async def _rest(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while piece := await self._piece(response):
            body += piece
            if len(body) > A2A.max_bytes:
                raise BadAnswer("the answer is too large")
        return bytes(body)

    async def _proven(self, written: Written, key: str | None) -> tuple[URL, dict[str, str]]:
        proof = await self._credentials.proof()
        headers = {**written.headers, **proof.headers}
        if key is not None:
            headers["Idempotency-Key"] = key
            if self.idempotent:
                headers["A2A-Extensions"] = IDEMPOTENCY
        url = URL(written.url)
        return (url.update_query(dict(proof.query)) if proof.query else url), headers


def _unhurried(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same send, answered as soon as it is accepted."""
    return {**params, "configuration": {**params.get("configuration", {}), "returnImmediately": True}}


def _bare(told: Any) -> Any:
    """A task, also where it comes as the member of an answer."""
    return told["task"] if type(told) is dict and "task" in told and "id" not in told else told
