"""Requests to one server over HTTP: with its parameters and its credential, read within limits.

Every call goes through the guarded client. Nothing of a caller's own headers gets here.
"""

from collections.abc import AsyncGenerator, Container, Mapping
from typing import Final

import aiohttp
from yarl import URL

from adapters.mcp.upstream.events import Event, Events
from adapters.mcp.upstream.failures import (
    BadAnswer,
    NeedsAuth,
    TooLarge,
    Unreachable,
    UpstreamError,
    failure_of,
)
from adapters.mcp.upstream.interface import NOTHING, Target
from adapters.outbound import MCP, Outbound, OutboundError, classified

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
BOTH: Final = f"{JSON}, {SSE}"
_MOST_TRIES: Final = 4
"""Of one request, whatever its credential says."""


class Leg:
    """The way to one server."""

    def __init__(self, outbound: Outbound, target: Target) -> None:
        self.target = target
        self._session = outbound.session(MCP)
        self._url = self.addressed(URL(target.url))
        self._fixed = dict(target.headers)
        if target.cookies:
            self._fixed["Cookie"] = "; ".join(f"{name}={value}" for name, value in target.cookies.items())

    @property
    def url(self) -> URL:
        """The endpoint, with its query."""
        return self._url

    def addressed(self, url: URL) -> URL:
        """An address of this server, with the query that goes into every call."""
        return url.extend_query(self.target.query) if self.target.query else url

    async def send(
        self,
        method: str,
        headers: Mapping[str, str] = NOTHING,
        body: bytes | None = None,
        *,
        url: URL | None = None,
        refusing: Container[int] = (401, 403),
    ) -> aiohttp.ClientResponse:
        """Send one request, and again if the credential can be renewed. Close what comes back.

        `refusing` are the statuses that mean that the hub's credential is not accepted.

        Raises:
            NeedsAuth: the server does not accept the hub.
            Unreachable: no answer.
        """
        credential, tries = self.target.credential, 0
        while True:
            sent = {**self._fixed, **headers}
            proof = None if credential is None else await credential.header()
            if proof is not None:
                sent["Authorization"] = proof
            try:
                response = await self._session.request(
                    method, self._url if url is None else url, headers=sent, data=body
                )
            except OutboundError as error:
                raise failure_of(error) from error
            if response.status not in refusing:
                return response
            challenge = response.headers.get("WWW-Authenticate")
            status = response.status
            response.close()
            tries += 1
            # It is told of the last refusal, too: what was just renewed and is refused needs somebody.
            if credential is not None and await credential.refused(status, challenge) and tries < _MOST_TRIES:
                continue
            said = "asks for authorization" if status == 401 else "does not let the hub in"
            raise NeedsAuth(f"the server {said} (HTTP status {status})", status=status, challenge=challenge)


def kind_of(response: aiohttp.ClientResponse) -> str:
    """The media type of a response, without its parameters."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def body_of(response: aiohttp.ClientResponse, limit: int = MCP.max_bytes) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than `limit`; the connection is closed.
        Unreachable: it broke off.
    """
    length = response.content_length
    if length is not None and length > limit:
        response.close()
        raise TooLarge("the answer is too large")
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > limit:
                response.close()  # the rest is not wanted, and the connection cannot be used again
                raise TooLarge("the answer is too large")
    except (aiohttp.ClientError, OSError) as error:
        raise broken(error) from error
    return bytes(body)


async def events_of(response: aiohttp.ClientResponse, events: Events) -> AsyncGenerator[Event, None]:
    """The events of a stream, until it ends.

    Raises:
        TooLarge: one of them is.
        Unreachable: it broke off.
    """
    try:
        async for piece in response.content.iter_any():
            for event in events.feed(piece):
                yield event
    except (aiohttp.ClientError, OSError) as error:
        raise broken(error) from error
    except TooLarge:
        response.close()
        raise


def broken(error: Exception) -> UpstreamError:
    """What a connection is called that broke in the middle of an answer."""
    failed = failure_of(classified(error))
    return Unreachable("the connection broke") if isinstance(failed, Unreachable) else failed


def refusal(status: int) -> UpstreamError:
    """What an HTTP status means that brings no answer of the protocol."""
    if status >= 500 or status == 429:
        return Unreachable(f"HTTP status {status}", status=status)
    if 300 <= status < 400:
        return BadAnswer(f"it redirects (HTTP status {status}); give its final address", status=status)
    return BadAnswer(f"HTTP status {status} without an answer of the protocol", status=status)
