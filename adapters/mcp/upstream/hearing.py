"""What a server says while it is asked something: notifications in order, its own requests each in a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from adapters import jsonrpc
from adapters.mcp.upstream.failures import UpstreamError
from adapters.mcp.upstream.interface import Message, OnMessage, RpcError

logger = logging.getLogger("crossdock.mcp.upstream")


class Hearing:
    """Hands messages of a server to whoever listens, and takes the answers back to it."""

    def __init__(self, on_message: OnMessage | None, answer: Callable[[bytes], Awaitable[None]]) -> None:
        self._on_message = on_message
        self._send = answer
        self._asked: dict[jsonrpc.Id, asyncio.Task[None]] = {}

    async def take(self, value: Mapping[str, Any]) -> None:
        """Hear a notification, or begin to answer a request."""
        method = value.get("method")
        params = value.get("params")
        if type(method) is not str:
            return
        message = Message(method, params if type(params) is dict else {}, value.get("id"))
        if message.id is None:
            if method == "notifications/cancelled" and message.params.get("requestId") in self._asked:
                self._asked[message.params["requestId"]].cancel()
            elif self._on_message is not None:
                await self._on_message(message)
        elif type(message.id) in (str, int) and message.id not in self._asked:
            task = asyncio.create_task(self._answer(message), name=f"answer {method}")
            self._asked[message.id] = task
            task.add_done_callback(lambda _: self._asked.pop(message.id, None))

    async def close(self) -> None:
        """Answer nothing more."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, message: Message) -> None:
        try:
            said = jsonrpc.result(message.id, await self._result(message))
        except RpcError as refused:
            said = jsonrpc.error(message.id, refused.code, str(refused), refused.data)
        except Exception:
            logger.exception("a request of an MCP server could not be answered: %s", message.method)
            said = jsonrpc.error(message.id, jsonrpc.INTERNAL_ERROR, "The request could not be answered.")
        try:
            await self._send(said)
        except UpstreamError as error:
            logger.info("an answer did not reach an MCP server: %s", error.message)

    async def _result(self, message: Message) -> Mapping[str, Any]:
        if message.method == "ping":
            return {}
        if self._on_message is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, "Method not found")
        return await self._on_message(message) or {}
