"""A symmetric JSON-RPC 2.0 peer: both sides call, both sides answer, in the order of the wire.

It is fed one message after the other and hands each to its handler before it looks at the next, so what came
first has begun first. A handler that needs longer keeps the `Call` and answers it later. Whoever feeds it is
held back while a handler works or the other side reads slowly; nothing piles up here. Which methods there
are, and what carries the bytes, it does not know.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from adapters import jsonrpc
from adapters.jsonrpc import Id, Request, Response
from schemas.strict_json import InvalidJson, parse_json

CANCEL: Final = "$/cancel_request"
REQUEST_CANCELLED: Final = -32800
TOO_MANY: Final = -31429
"""JSON-RPC keeps -32768 to -32000 for itself; what only we know is numbered like HTTP, below."""
LONGEST_ID: Final = 1024
IN_FLIGHT: Final = 128
"""Requests of the other side that wait for their answer."""

_log = logging.getLogger(__name__)

Key: TypeAlias = tuple[type, Id]
"""Ids are compared with their type: 1 is not "1"."""


class RpcError(Exception):
    """An error answer: ours, or the other side's. Everything in it is public."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Closed(Exception):
    """The connection ended before the answer came."""


class Later:
    """What a handler returns that answers its call later."""


LATER: Final = Later()


class Call:
    """One request of the other side, to be answered exactly once; or one notification, never answered."""

    __slots__ = ("_peer", "answered", "id", "method", "notification", "on_cancel", "params", "route")

    def __init__(self, peer: "Peer", request: Request, params: dict[str, Any]) -> None:
        self._peer = peer
        self.id = request.id
        self.method = request.method
        self.params = params
        self.notification = request.notification
        self.answered = request.notification
        self.route: str | None = None
        """Where the answer belongs, on a connection of several streams."""
        self.on_cancel: Callable[[], Awaitable[None]] | None = None
        """What `$/cancel_request` does to a call that is answered later. Without it, the answer is -32800."""

    async def respond(self, result: Any) -> None:
        """Answer. A second answer, or one to a notification, is dropped."""
        if self._settle():
            await self._peer.send(jsonrpc.result(self.id, result), self.route)

    async def fail(self, error: RpcError) -> None:
        """Answer with an error, otherwise as `respond`."""
        if self._settle():
            await self._peer.send(jsonrpc.error(self.id, error.code, error.message, error.data), self.route)

    def _settle(self) -> bool:
        first, self.answered = not self.answered, True
        self._peer.forget(self)
        return first


class Outstanding:
    """A request of ours on its way. `answer` fails with `RpcError` or `Closed`."""

    def __init__(self, peer: "Peer", id: int, route: str | None) -> None:
        self._peer = peer
        self.id = id
        self.route = route
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Nobody may be interested any more when it fails.
        self.answer.add_done_callback(lambda future: future.cancelled() or future.exception())

    async def withdraw(self) -> None:
        """Tell the other side that no answer is wanted any more. Done twice, or too late, it does nothing."""
        if self._peer.drop(self):
            self.answer.cancel()
            await self._peer.notify(CANCEL, {"requestId": self.id}, self.route)


class Handler(Protocol):
    """What a peer's owner does with what comes in."""

    async def __call__(self, call: Call) -> Any:
        """The result, or `LATER`. For a notification it means nothing.

        Raises:
            RpcError: the answer is this error.
        """


Send: TypeAlias = Callable[[bytes, str | None], Awaitable[None]]
"""Puts one message on the wire, behind those before it; with where it belongs. Returns when there is room."""


class Peer:
    """One side of one connection. Use it on one event loop."""

    def __init__(self, send: Send, handler: Handler, *, in_flight: int = IN_FLIGHT) -> None:
        self._send = send
        self._handler = handler
        self._most = in_flight
        self._calls: dict[Key, Call] = {}
        self._asked: dict[int, Outstanding] = {}
        self._last_id = 0
        self._closed = False

    @property
    def in_flight(self) -> int:
        """How many requests of the other side wait for their answer."""
        return len(self._calls)

    @property
    def asked(self) -> int:
        """How many requests of ours wait for theirs."""
        return len(self._asked)

    async def feed(self, data: bytes) -> None:
        """Take in one message; returns when the next one may come. No message is too wrong for it."""
        try:
            value = parse_json(data)
        except InvalidJson as error:
            await self._refuse(None, RpcError(jsonrpc.PARSE_ERROR, f"This is no JSON: {error}"))
            return
        await self.take(value)

    async def take(self, value: Any) -> None:
        """As `feed`, for a message that has been parsed."""
        try:
            message = jsonrpc.message_of(value)
        except jsonrpc.BadEnvelope as bad:
            await self._refuse(bad.id, RpcError(bad.code, bad.message))
            return
        if isinstance(message, Response):
            self._resolve(message)
        elif message.method == CANCEL:
            await self._cancel(message.params)
        else:
            await self._begin(message)

    async def notify(self, method: str, params: Mapping[str, Any], route: str | None = None) -> None:
        """Send a notification.

        Raises:
            Closed: the connection has ended.
        """
        await self.send(jsonrpc.notification(method, params), route)

    async def ask(self, method: str, params: Mapping[str, Any], route: str | None = None) -> Outstanding:
        """Send a request; returns when it is out. Its answer comes by the `Outstanding`.

        Raises:
            Closed: the connection has ended.
        """
        self._last_id += 1
        outstanding = self._asked[self._last_id] = Outstanding(self, self._last_id, route)
        try:
            await self.send(jsonrpc.call(outstanding.id, method, params), route)
        except BaseException:
            self.drop(outstanding)
            raise
        return outstanding

    async def request(self, method: str, params: Mapping[str, Any], route: str | None = None) -> Any:
        """Send a request and wait for its result. When the waiter is cancelled, the other side is told.

        Raises:
            RpcError: the other side's error.
            Closed: the connection has ended.
        """
        outstanding = await self.ask(method, params, route)
        try:
            return await outstanding.answer
        except asyncio.CancelledError:
            with contextlib.suppress(Closed):
                await outstanding.withdraw()
            raise

    async def send(self, data: bytes, route: str | None = None) -> None:
        """Put a finished message on the wire.

        Raises:
            Closed: the connection has ended.
        """
        if self._closed:
            raise Closed("the connection has ended")
        await self._send(data, route)

    def close(self) -> None:
        """The connection is gone: whoever waits for an answer gets `Closed`, and nothing is sent any more."""
        self._closed = True
        self._calls.clear()
        asked, self._asked = list(self._asked.values()), {}
        for outstanding in asked:
            if not outstanding.answer.done():
                outstanding.answer.set_exception(Closed("the connection has ended"))

    def forget(self, call: Call) -> None:
        """A call was answered."""
        key = _key(call.id)
        if self._calls.get(key) is call:
            del self._calls[key]

    def drop(self, outstanding: Outstanding) -> bool:
        """Wait no longer for an answer; tell whether it was still waited for."""
        return self._asked.pop(outstanding.id, None) is not None

    async def _begin(self, request: Request) -> None:
        call = Call(self, request, request.params if type(request.params) is dict else {})
        if not request.notification:
            refusal = self._admit(request)
            if refusal is not None:
                # Under a duplicate id an answer would settle the first request; it is told under none.
                await self._refuse(None if _key(request.id) in self._calls else request.id, refusal)
                return
            self._calls[_key(request.id)] = call
        try:
            if request.params is not None and type(request.params) is not dict:
                raise RpcError(jsonrpc.INVALID_PARAMS, "params must be an object")
            answer = await self._handler(call)
            if answer is not LATER:
                await call.respond(answer)
        except RpcError as error:
            with contextlib.suppress(Closed):
                await call.fail(error)
        except Closed:
            self.forget(call)
        except Exception:
            _log.exception("%s failed", request.method if request.method.isprintable() else "a call")
            await call.fail(
                RpcError(jsonrpc.INTERNAL_ERROR, "This failed inside; the fault has been logged.")
            )

    def _admit(self, request: Request) -> RpcError | None:
        if type(request.id) is str and len(request.id) > LONGEST_ID:
            return RpcError(jsonrpc.INVALID_REQUEST, f"An id has at most {LONGEST_ID} characters")
        if _key(request.id) in self._calls:
            return RpcError(jsonrpc.INVALID_REQUEST, "A request with this id is being answered")
        if len(self._calls) >= self._most:
            return RpcError(TOO_MANY, f"{self._most} requests are being answered; wait for one")
        return None

    async def _refuse(self, id: Id, error: RpcError) -> None:
        shown = None if type(id) is str and len(id) > LONGEST_ID else id
        with contextlib.suppress(Closed):
            await self.send(jsonrpc.error(shown, error.code, error.message, error.data))

    def _resolve(self, response: Response) -> None:
        asked = self._asked.pop(response.id, None) if type(response.id) is int else None
        if asked is None or asked.answer.done():
            return  # an answer to nothing we asked, or one that came too late
        if response.error is None:
            asked.answer.set_result(response.result)
            return
        code, message = response.error.get("code"), response.error.get("message")
        asked.answer.set_exception(
            RpcError(
                code if type(code) is int else jsonrpc.INTERNAL_ERROR,
                message if type(message) is str else "no message",
                response.error.get("data"),
            )
        )

    async def _cancel(self, params: Any) -> None:
        id = params.get("requestId") if type(params) is dict else None
        call = self._calls.get(_key(id)) if type(id) in (str, int) else None
        if call is None:
            return
        with contextlib.suppress(Closed):
            try:
                if call.on_cancel is None:
                    raise RpcError(REQUEST_CANCELLED, "The request was cancelled")
                await call.on_cancel()
            except RpcError as error:
                await call.fail(error)


def _key(id: Id) -> Key:
    return type(id), id
