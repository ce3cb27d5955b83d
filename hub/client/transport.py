"""One request to the hub: the envelope taken off, errors raised, repeated where repeating is safe.

It knows nothing of tasks: methods, paths and JSON go in, JSON comes out.
"""

import asyncio
import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from hub.client.errors import ApiError, CrossdockError, RateLimited, Unavailable, Unreachable, error_of

ANSWER_SECONDS = 30.0
"""How long an answer may take, beyond the time that the call itself asks the hub to wait."""
CONNECT_SECONDS = 5.0
LARGE_BODY = 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_RETRY_AFTER = 0.1, 2.0, 30.0

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""Answers after which the same call may well succeed: refused before it was begun, or lost on the way."""


class Backoff:
    """Pauses that double from 0.1 s to 2 s, with jitter, so that a crowd does not march in step."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def pause(self, error: CrossdockError | None = None) -> float:
        """The next pause, in seconds; as long as the hub asked for where it did."""
        if isinstance(error, ApiError) and error.retry_after is not None:
            return min(error.retry_after, LONGEST_RETRY_AFTER)
        pause, self._next = self._next, min(self._next * 2, LONGEST_PAUSE)
        return pause * random.uniform(0.75, 1.25)


@dataclass(frozen=True)
class Reply:
    """A successful answer without its envelope. `data` is None where there was no body."""

    status: int
    data: Any
    meta: Mapping[str, Any]
    headers: Mapping[str, str]


class Transport:
    """A pool of connections to one hub with one key.

    `retry_seconds` bounds how long a call that may be repeated is repeated; infinity is allowed. `on_reach`
    is told False when the hub stops answering and True when it answers again.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        retry_seconds: float,
        user_agent: str,
        on_reach: Callable[[bool], None] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._retry_seconds = retry_seconds
        self._on_reach = on_reach
        self._reached = True
        headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            # No limit: a worker's long polls must not starve its reports.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections. Calls in flight fail."""
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        repeatable: bool = False,
        wait_seconds: float = 0.0,
    ) -> Reply:
        """Ask the hub. Reads, repeatable calls and calls with an idempotency key are retried.

        Raises:
            ApiError: the hub refused; which one says why.
            Unreachable: no answer, after the retries where there are any.
        """
        clock = asyncio.get_running_loop().time
        again = repeatable or method == "GET" or idempotency_key is not None
        backoff, give_up_at = Backoff(), clock() + self._retry_seconds
        while True:
            try:
                reply = await self._once(method, path, body, query, idempotency_key, wait_seconds)
            except (Unreachable, ApiError) as error:
                self.note_reach(not isinstance(error, Unreachable | Unavailable))
                if isinstance(error, ApiError) and error.status not in RETRIED_STATUSES:
                    raise
                pause = backoff.pause(error)
                # A limiter refuses before anything is begun, so even a bare write may be sent again.
                if not (again or isinstance(error, RateLimited)) or clock() + pause > give_up_at:
                    raise
                await asyncio.sleep(pause)
            else:
                self.note_reach(True)
                return reply

    async def open_stream(
        self, path: str, query: Mapping[str, Any], *, silence: float
    ) -> aiohttp.ClientResponse:
        """Open a stream of server-sent events, for the caller to close; `silence` in seconds breaks it.

        Raises:
            ApiError: the hub refused.
            Unreachable: no answer.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        response = await self._send(
            "GET", path, query=query, headers={"Accept": "text/event-stream"}, timeout=timeout
        )
        if response.status == 200:
            return response
        async with response:
            raise await self._error(response)

    def note_reach(self, reached: bool) -> None:
        """Tell the listener when the hub goes away or comes back."""
        if reached is not self._reached:
            self._reached = reached
            if self._on_reach is not None:
                self._on_reach(reached)

    async def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, Any] | None,
        idempotency_key: str | None,
        wait_seconds: float,
    ) -> Reply:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        silence = wait_seconds + ANSWER_SECONDS
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        response = await self._send(
            method,
            path,
            query=query,
            headers=headers,
            timeout=timeout,
            data=None if body is None else _readable(encode(body)),
        )
        async with response:
            if response.status >= 300:
                raise await self._error(response)
            payload = await self._json(response)
        if payload is None:
            return Reply(response.status, None, {}, response.headers)
        if not isinstance(payload, Mapping) or "data" not in payload:
            raise Unreachable(f"{method} {path} was answered, but not by a Crossdock hub")
        return Reply(response.status, payload["data"], payload.get("meta") or {}, response.headers)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
        data: bytes | io.BytesIO | None = None,
    ) -> aiohttp.ClientResponse:
        try:
            return await self._session.request(
                method,
                f"{self.url}/api/v1{path}",
                params=_query(query),
                headers=headers,
                data=data,
                timeout=timeout,
                allow_redirects=False,  # the key goes where it was meant to go, and nowhere else
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"no hub answers at {self.url}: {_plain(error)}") from error

    async def _error(self, response: aiohttp.ClientResponse) -> ApiError:
        return error_of(response.status, await self._json(response), response.headers)

    async def _json(self, response: aiohttp.ClientResponse) -> Any:
        try:
            text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"the answer of {self.url} broke off: {_plain(error)}") from error
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            if response.status >= 300:
                return None
            raise Unreachable(f"the answer of {self.url} is no JSON") from error


def encode(body: Mapping[str, Any]) -> bytes:
    """The body as the hub reads it: compact UTF-8, without NaN."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _readable(body: bytes) -> bytes | io.BytesIO:
    """The body in the form in which aiohttp sends it without holding up the event loop."""
    return body if len(body) <= LARGE_BODY else io.BytesIO(body)


def _query(query: Mapping[str, Any] | None) -> dict[str, str]:
    """Query parameters as text; None is left out, lists are joined with commas."""
    texts: dict[str, str] = {}
    for name, value in (query or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, list | tuple | set | frozenset):
            texts[name] = ",".join(str(item) for item in value)
        else:
            texts[name] = str(value)
    return texts


def _plain(error: BaseException) -> str:
    return str(error) or type(error).__name__
