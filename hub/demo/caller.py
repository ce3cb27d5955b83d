"""The demo's outside caller: the official A2A client, as anybody would use it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2


class Caller:
    """One A2A client with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60)

    async def __aenter__(self) -> "Caller":
        card = await A2ACardResolver(self._http, self._url).get_agent_card()
        self._streaming = ClientFactory(ClientConfig(streaming=True, httpx_client=self._http)).create(card)
        self._blocking = ClientFactory(ClientConfig(streaming=False, httpx_client=self._http)).create(card)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._http.aclose()

    async def send(self, text: str) -> a2a_pb2.Task:
        """Send a message and wait for the task to settle."""
        async for answer in self._blocking.send_message(_message(text)):
            return answer.task
        raise ConnectionError("the hub gave no answer")

    async def stream(self, text: str) -> AsyncIterator[tuple[str, str]]:
        """Send a message and follow it: the task's id, and each piece of an artifact as it comes.

        Raises:
            ConnectionError: the stream broke.
        """
        task_id = ""
        try:
            async for update in self._streaming.send_message(_message(text)):
                if update.HasField("task"):
                    task_id = update.task.id
                    yield task_id, ""
                elif update.HasField("artifact_update"):
                    yield task_id, "".join(part.text for part in update.artifact_update.artifact.parts)
        except (A2AClientError, httpx.HTTPError) as error:
            raise ConnectionError(str(error)) from error

    async def follow(self, task_id: str) -> AsyncIterator[a2a_pb2.StreamResponse]:
        """Subscribe to a running task: its snapshot, then its updates."""
        async for update in self._streaming.subscribe(a2a_pb2.SubscribeToTaskRequest(id=task_id)):
            yield update

    async def get(self, task_id: str) -> a2a_pb2.Task:
        """The task as A2A shows it now."""
        return await self._blocking.get_task(a2a_pb2.GetTaskRequest(id=task_id))


def _message(text: str) -> a2a_pb2.SendMessageRequest:
    message = a2a_pb2.Message(message_id=uuid4().hex, role=a2a_pb2.Role.ROLE_USER)
    message.parts.add(text=text)
    return a2a_pb2.SendMessageRequest(message=message)
