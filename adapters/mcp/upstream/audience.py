"""Who hears what a server says outside of any answer: on its standing stream, or on its only stream.

Only progress says which call it belongs to. A question goes to the call that is alone in flight, since it
alone can have caused it; else to whoever listens to the session.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from adapters import jsonrpc
from adapters.mcp.upstream.interface import Message, OnMessage, RpcError
from adapters.mcp.upstream.progress import PROGRESS


class Audience:
    """The listeners of one session, and the calls in flight."""

    def __init__(self, on_message: OnMessage | None) -> None:
        self.on_message = on_message
        self._calls: dict[int, OnMessage] = {}
        self._listeners: list[tuple[OnMessage, asyncio.Event]] = []

    def begin(self, number: int, told: OnMessage | None) -> None:
        """A call is in flight, and this hears what belongs to it."""
        if told is not None:
            self._calls[number] = told

    def end(self, number: int) -> None:
        """A call is over."""
        self._calls.pop(number, None)

    @contextmanager
    def listening(self, on_message: OnMessage) -> Iterator[asyncio.Event]:
        """Hear what belongs to no call while the block runs. The event is set when nothing more will come."""
        listener = (on_message, asyncio.Event())
        self._listeners.append(listener)
        try:
            yield listener[1]
        finally:
            self._listeners.remove(listener)

    def close(self) -> None:
        """There is nothing more to hear."""
        for _, ended in self._listeners:
            ended.set()

    async def heard(self, message: Message) -> Mapping[str, Any] | None:
        """Hand a message to whom it concerns.

        Raises:
            RpcError: it is a question, and nobody can answer it.
        """
        if message.method == PROGRESS and message.id is None:
            token = message.params.get("progressToken")
            told = self._calls.get(token) if type(token) is int else None
            return None if told is None else await told(message)
        alone = next(iter(self._calls.values())) if len(self._calls) == 1 else None
        if alone is not None and (message.id is not None or message.method == "notifications/message"):
            return await alone(message)
        listeners = [listener for listener, _ in self._listeners]
        if self.on_message is not None:
            listeners.append(self.on_message)
        if message.id is not None:
            if not listeners:
                raise RpcError(jsonrpc.METHOD_NOT_FOUND, "Method not found")
            return await listeners[0](message)
        for listener in listeners:
            await listener(message)
        return None
