"""The legacy eras over Streamable HTTP (2025-03-26 to 2025-11-25): sessions that begin with `initialize`."""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import aiohttp

from adapters import jsonrpc
from adapters.mcp import wire
from adapters.mcp.upstream.audience import Audience
from adapters.mcp.upstream.events import Events
from adapters.mcp.upstream.failures import BadAnswer, TimedOut, Unreachable, UpstreamError
from adapters.mcp.upstream.hearing import Hearing
from adapters.mcp.upstream.http import BOTH, JSON, SSE, Leg, refusal
from adapters.mcp.upstream.interface import NOTHING, Client, OnMessage, Reply, Verdict
from adapters.mcp.upstream.progress import plain, with_token
from adapters.mcp.upstream.reading import is_stream, streamed_reply, whole_reply
from adapters.mcp.upstream.standing import Standing
from core.mcp.words import Era, VerifiedTransport

SESSION: Final = "Mcp-Session-Id"
FAREWELL_SECONDS: Final = 5.0
RESUMES: Final = 5
"""How often in a row a stream is taken up again that brings nothing."""
MOST_RETRY: Final = 30.0


class SessionGone(UpstreamError):
    """The server has forgotten the session; nothing of the request was done."""


class LegacySession:
    """A session that the server keeps."""

    def __init__(self, leg: Leg, client: Client, on_message: OnMessage | None = None) -> None:
        self._leg = leg
        self._client = client
        self._audience = Audience(on_message)
        self._standing = Standing(self._get, Hearing(self._audience.heard, self._post), self._audience.close)
        self._said: Mapping[str, Any] = {}
        self._version: str | None = None
        self._session_id: str | None = None
        self._opened = 0
        self._opening = asyncio.Lock()
        self._ids = itertools.count(1)
        self._background: set[asyncio.Task[None]] = set()

    @property
    def verdict(self) -> Verdict:
        """How the server is spoken to."""
        version = self._version or wire.HANDSHAKE[0]
        return Verdict(VerifiedTransport.STREAMABLE_HTTP, Era.LEGACY, version)

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """As it answered `initialize`."""
        found = self._said.get("capabilities")
        return found if type(found) is dict else {}

    @property
    def info(self) -> Mapping[str, Any]:
        """As it answered `initialize`."""
        found = self._said.get("serverInfo")
        return found if type(found) is dict else {}

    @property
    def instructions(self) -> str | None:
        """As it answered `initialize`."""
        found = self._said.get("instructions")
        return found if type(found) is str else None

    async def open(self) -> None:
        """Begin the session.

        Raises:
            RpcError, UpstreamError: the server does not.
        """
        params = {
            **self._leg.target.initialize,
            "protocolVersion": wire.HANDSHAKE[0],
            "capabilities": self._client.capabilities,
            "clientInfo": self._client.info,
        }
        number = next(self._ids)
        hearing = Hearing(None, self._post)
        headers = {"Accept": BOTH, "Content-Type": JSON}
        response = await self._leg.send("POST", headers, jsonrpc.call(number, "initialize", params))
        try:
            said = (await self._reply(response, number, hearing)).result()
            version = said.get("protocolVersion")
            if version not in wire.HANDSHAKE:
                raise BadAnswer("it speaks a revision that the hub does not")
            # All at once: until here other calls still name the session that is gone, and so hear that it is.
            self._said, self._version = said, version
            self._session_id = response.headers.get(SESSION)
        finally:
            await hearing.close()
        await self._post(jsonrpc.notification("notifications/initialized", {}))
        self._opened += 1
        if self._client.capabilities:  # then it may have something to ask
            await self._standing.open()

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        id: jsonrpc.Id = None,
        on_message: OnMessage | None = None,
        seconds: float | None = None,
        headers: Mapping[str, str] = NOTHING,
    ) -> Reply:
        """As `Session.request`. Ids and progress tokens on the wire are the session's own."""
        limit = self._leg.target.seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                seen = self._opened
                try:
                    return await self._call(method, params, on_message)
                except SessionGone:
                    await self._open_again(seen)
                    return await self._call(method, params, on_message)
        except SessionGone:
            raise Unreachable("the server forgets its sessions") from None
        except TimeoutError:
            raise TimedOut(f"no answer within {limit:g} s") from None

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """As `Session.notify`."""
        await self._post(jsonrpc.notification(method, plain(params)))

    async def listen(self, on_message: OnMessage, wanted: Mapping[str, Any] = NOTHING) -> None:
        """As `Session.listen`: the session's standing stream."""
        with self._audience.listening(on_message) as ended:  # before the stream is there: nothing is missed
            await self._standing.open()
            await self._standing.settled()
            if not self._standing.missing:
                await ended.wait()

    async def close(self) -> None:
        """As `Session.close`: DELETE, if the server has named the session."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._standing.close()
        self._audience.close()
        if self._session_id is None:
            return
        headers, self._session_id = self._headers(), None
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                (await self._leg.send("DELETE", headers)).close()

    async def _open_again(self, seen: int) -> None:
        async with self._opening:
            if self._opened == seen:
                await self.open()

    async def _get(self, last_id: str | None) -> aiohttp.ClientResponse:
        resumed = {} if last_id is None else {"Last-Event-ID": last_id}
        return await self._leg.send("GET", {**self._headers(), "Accept": SSE, **resumed})

    def _headers(self) -> dict[str, str]:
        said = {"Accept": BOTH, "Content-Type": JSON}
        if self._version is not None:
            said["MCP-Protocol-Version"] = self._version
        if self._session_id is not None:
            said[SESSION] = self._session_id
        return said

    async def _call(
        self, method: str, params: Mapping[str, Any] | None, on_message: OnMessage | None
    ) -> Reply:
        number = next(self._ids)
        said, told = with_token(params, number, on_message or self._audience.on_message)
        hearing = Hearing(told, self._post)
        headers = self._headers()
        self._audience.begin(number, told)
        try:
            response = await self._leg.send("POST", headers, jsonrpc.call(number, method, said))
            return await self._reply(response, number, hearing, in_session=SESSION in headers)
        except asyncio.CancelledError:
            self._later(self._cancel(number))
            raise
        finally:
            self._audience.end(number)
            await hearing.close()

    async def _reply(
        self, response: aiohttp.ClientResponse, number: int, hearing: Hearing, *, in_session: bool = False
    ) -> Reply:
        """The answer to a POST; a stream that was closed early is taken up again where it stopped."""
        events, idle = Events(), 0
        while True:
            try:
                if in_session and response.status == 404:
                    raise SessionGone("the session is unknown")
                if not is_stream(response):
                    reply = await whole_reply(response, number)
                    if in_session and response.status == 400 and _is_forgotten(reply):
                        raise SessionGone("the session is unknown")
                    return reply
                before = events.last_id
                try:
                    found = await streamed_reply(response, number, events, hearing)
                except Unreachable:
                    if events.last_id is None:
                        raise
                    found = None
                if found is not None:
                    return found
                idle = idle + 1 if events.last_id == before else 0
            except BaseException:
                response.close()
                raise
            finally:
                response.release()
            if events.last_id is None or idle > RESUMES:
                raise Unreachable("the connection ended before the answer")
            await asyncio.sleep(min(MOST_RETRY, 1.0 if events.retry is None else events.retry))
            response = await self._get(events.last_id)
            if not is_stream(response):
                response.close()
                raise Unreachable("the connection ended before the answer")

    async def _post(self, message: bytes) -> None:
        """Send what has no answer."""
        response = await self._leg.send("POST", self._headers(), message)
        response.close() if response.status >= 300 or is_stream(response) else response.release()
        if response.status >= 300:
            raise refusal(response.status)

    async def _cancel(self, number: int) -> None:
        said = {"requestId": number, "reason": "nobody waits for it any more"}
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._post(jsonrpc.notification("notifications/cancelled", said))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _is_forgotten(reply: Reply) -> bool:
    """Whether a refusal speaks of the session: some servers say 400, as the examples of one SDK do."""
    failed = reply.error or {}
    return failed.get("code") == -32000 and "session" in str(failed.get("message", "")).lower()
