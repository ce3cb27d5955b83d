"""The protocol with one agent process: requests both ways, updates in the order of the wire.

It knows the envelope and the process, and no method. Whatever the agent sends is bounded in size and number,
and answered in the protocol's own form; when the process ends, whoever waits for it is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from adapters import jsonrpc
from adapters.jsonrpc_peer import LATER, REQUEST_CANCELLED, Call, Closed, Peer, RpcError
from hub.worker.acp import wire
from hub.worker.acp.process import Process, TooLong
from schemas.strict_json import InvalidJson

_log = logging.getLogger(__name__)

Answer = Callable[[dict[str, Any]], Awaitable[Any]]
Hear = Callable[[str, dict[str, Any], int], Awaitable[None]]
"""A notification: its method, its parameters, and the bytes of its line."""


class AgentGone(Exception):
    """The agent's process has ended, or cannot be talked to any more; the message says why."""


class Connection:
    """One agent process and what is said with it.

    `answers` are the methods that the agent may call; each runs by itself, and is cancelled when the agent
    withdraws its call. `hear` takes its notifications, one after the other: while it works, nothing is read.
    """

    def __init__(self, process: Process, answers: Mapping[str, Answer], hear: Hear) -> None:
        self.process = process
        self._answers = answers
        self._hear = hear
        self._size = 0
        self._peer = Peer(self._send, self._handle)
        self._answering: set[asyncio.Task[None]] = set()
        self._why: str | None = None
        self._ended = False
        self._reading = asyncio.create_task(self._read(), name="an agent")

    @property
    def gone(self) -> bool:
        """Whether nothing more can be said."""
        return self._ended or self._reading.done()

    async def request(self, method: str, params: Mapping[str, Any], *, seconds: float | None = None) -> Any:
        """Ask the agent. When the waiter is cancelled, the agent is told.

        Raises:
            RpcError: the agent's error.
            AgentGone: it ended, or did not answer within `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._peer.request(method, params)
        except TimeoutError:
            raise AgentGone(f"it did not answer {method} within {seconds:g} s") from None
        except Closed:
            raise AgentGone(await self._reason()) from None

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Tell the agent something; nothing happens when it is gone."""
        with suppress(Closed):
            await self._peer.notify(method, params)

    def withdraw_answers(self) -> None:
        """Cancel what is being answered: each handler says by itself what its agent is told then."""
        for task in list(self._answering):
            task.cancel()

    def kill(self) -> None:
        """End the process and everything that it started, at once."""
        self._ended = True
        self.process.kill()

    async def close(self, grace_seconds: float = 2.0) -> None:
        """Let the agent end by itself, and end it after the grace."""
        await self.process.close(grace_seconds)
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _send(self, data: bytes, route: str | None) -> None:
        try:
            await self.process.write(data)
        except OSError as error:
            raise Closed(str(error)) from error

    async def _read(self) -> None:
        try:
            async for line in self.process.lines():
                self._size = len(line)
                try:
                    value = wire.read(line)
                except wire.Noise:
                    continue
                except InvalidJson:
                    await self._peer.feed(line)  # which refuses it in the protocol's form
                    continue
                await self._peer.take(value)
        except TooLong as error:
            self._why = str(error)
            self.process.kill()
        except Closed:
            pass
        finally:
            # Closed first: whoever is told of the end finds nothing to wait for.
            self._ended = True
            self._peer.close()
            self.withdraw_answers()
            await self.process.discard()

    async def _handle(self, call: Call) -> Any:
        if call.notification:
            await self._hear(call.method, call.params, self._size)
            return None
        answer = self._answers.get(call.method)
        if answer is None:
            raise RpcError(jsonrpc.METHOD_NOT_FOUND, "This client does not have this method")
        task = asyncio.create_task(self._answer(call, answer), name=f"an agent's {call.method}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

        async def withdraw() -> None:
            task.cancel()

        call.on_cancel = withdraw
        return LATER

    async def _answer(self, call: Call, answer: Answer) -> None:
        with suppress(Closed):
            try:
                await call.respond(await answer(call.params))
            except RpcError as error:
                await call.fail(error)
            except asyncio.CancelledError:
                await call.fail(RpcError(REQUEST_CANCELLED, "The request was cancelled"))
            except Exception:
                _log.exception("an agent's %s failed", call.method)
                # A fault of ours must not leave the agent waiting.
                await call.fail(RpcError(jsonrpc.INTERNAL_ERROR, "This failed inside; the fault was logged"))

    async def _reason(self) -> str:
        """Why the process is gone, as far as it can be known."""
        if self._why is not None:
            return self._why
        status = await self.process.wait()
        how = f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}"
        said = self.process.stderr[-1000:]
        return f"{how}: {said}" if said else how
