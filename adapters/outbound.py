"""The only way out: every HTTP call the hub makes goes through a session made here.

`core.egress` holds the rules. This module applies them where they cannot be talked around: to the URL of
every request, to every answer of the resolver, and to the final address of every connection attempt, so that
neither an IP literal nor a name that changes between two look-ups gets past. Nothing follows redirects, keeps
cookies, reads proxy settings from the environment or decompresses. Retrying is the caller's business.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from multidict import CIMultiDictProxy
from yarl import URL

from core.egress import NOTHING, Address, Allowed, Blocked, check_address, check_target, parse_target
from core.trace import PRESENT, TRACEPARENT

CONNECT_SECONDS: Final = 5.0
RESOLVE_SECONDS: Final = 3.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class Failure(StrEnum):
    """Why a call failed, as coarsely as a caller may know: anything finer makes the hub a port scanner."""

    BLOCKED = "blocked"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    STATUS = "status"
    TOO_LARGE = "too_large"


class OutboundError(Exception):
    """A call that brought no usable answer. Text and `failure` are safe to show; the cause is for the log."""

    def __init__(self, failure: Failure, status: int | None = None) -> None:
        super().__init__(failure.value if status is None else f"{failure.value} {status}")
        self.failure = failure
        self.status = status


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a call is for, and so how long it may take and how much is read."""

    name: str
    seconds: float | None
    """For the whole call; none where each call brings its own."""
    max_bytes: int
    truncates: bool = False
    """Whether a longer answer is cut instead of being a failure."""


WEBHOOK: Final = Purpose("webhook", 10, 4 * 1024, truncates=True)
METADATA: Final = Purpose("metadata", 5, 256 * 1024)
"""Discovery documents, agent cards, key sets, client metadata."""
TOKEN: Final = Purpose("token", 10, 64 * 1024)
MCP: Final = Purpose("mcp", None, 10 * 1024 * 1024)
A2A: Final = Purpose("a2a", None, 10 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whatever its status."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def expect_success(self) -> Self:
        """The answer itself when its status is 2xx.

        Raises:
            OutboundError: `status` otherwise.
        """
        if not 200 <= self.status < 300:
            raise OutboundError(Failure.STATUS, self.status)
        return self


class Session:
    """An aiohttp session without the switches that would open the guard."""

    def __init__(self, session: aiohttp.ClientSession, purpose: Purpose) -> None:
        self._session = session
        self.purpose = purpose

    async def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        seconds: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and wait for the head of its answer; read it inside `async with`.

        `seconds` bounds the whole call and replaces the purpose's own bound. Redirects come back as they are.
        While reading, turn what aiohttp raises into an `OutboundError` with `classified`.

        Raises:
            OutboundError: blocked, unreachable, tls or timeout.
        """
        part_of = PRESENT.get()
        if part_of is not None:
            headers = {TRACEPARENT: part_of, **(headers or {})}
        attempt = _Attempt()
        token = _ATTEMPT.set(attempt)
        try:
            return await self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                timeout=_timeout(self.purpose.seconds if seconds is None else seconds),
            )
        except (aiohttp.ClientError, OSError, Blocked) as error:
            raise classified(error, blocked=attempt.blocked) from error
        finally:
            _ATTEMPT.reset(token)


class Outbound:
    """Guarded HTTP. One per process, closed with it.

    Args:
        allowed: the operator's exceptions.
        listening: the hub's own sockets as (address, port); asked at each attempt, since they open late.
        resolver: for tests; the system's otherwise.
        tls: for tests; the system's trust store otherwise.
    """

    def __init__(
        self,
        allowed: Allowed = NOTHING,
        *,
        listening: Callable[[], Iterable[tuple[str, int]]] = tuple,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.allowed = allowed
        self._listening = listening
        self._resolver = resolver
        self._tls = tls
        self._connector: aiohttp.TCPConnector | None = None
        self._sessions: dict[Purpose, Session] = {}

    def check(self, url: str) -> URL:
        """Judge a URL at registration; store what comes back.

        Raises:
            BadTarget, Blocked: as `core.egress.parse_target`.
        """
        return parse_target(url, self.allowed)

    def session(self, purpose: Purpose) -> Session:
        """The session for a purpose. All share one pool of connections."""
        session = self._sessions.get(purpose)
        if session is None:
            session = self._sessions[purpose] = Session(
                aiohttp.ClientSession(
                    connector=self._pool(),
                    connector_owner=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                    headers={"Accept-Encoding": "identity", "User-Agent": "crossdock"},
                    middlewares=(self._guard,),
                    timeout=_timeout(purpose.seconds),
                ),
                purpose,
            )
        return session

    async def fetch(
        self,
        method: str,
        url: str | URL,
        *,
        purpose: Purpose,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        seconds: float | None = None,
        hops: int = 0,
    ) -> Answer:
        """Call and read the whole answer, within the purpose's bounds.

        `hops` redirects are followed, by GETs without credentials and within one origin only; any other
        redirect is an answer.

        Raises:
            OutboundError: blocked, unreachable, tls, timeout, or too_large.
            ValueError: `hops` asked for with a method or header that may not be redirected.
        """
        if hops and (method != "GET" or _CREDENTIALS & {name.lower() for name in headers or ()}):
            raise ValueError("only a GET without credentials may follow redirects")
        session = self.session(purpose)
        limit = purpose.seconds if seconds is None else seconds
        target = URL(url)
        try:
            async with asyncio.timeout(limit):
                while True:
                    response = await session.request(
                        method, target, headers=headers, data=data, seconds=limit
                    )
                    async with response:
                        onward = _onward(response, target) if hops else None
                        if onward is None:
                            return Answer(response.status, response.headers, await _read(response, purpose))
                        response.close()
                    target, hops = onward, hops - 1
        except (aiohttp.ClientError, OSError) as error:
            raise classified(error) from error

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a host, all of them judged: for channels that aiohttp does not open. Dial these.

        Raises:
            OutboundError: blocked, unreachable or timeout.
        """
        try:
            found = await _GuardedResolver(self._resolver, self._judge).resolve(host, port, socket.AF_UNSPEC)
        except OSError as error:
            raise classified(error) from error
        return [ip_address(result["host"]) for result in found]

    async def close(self) -> None:
        """Close every connection. Calls in flight fail as unreachable."""
        for session in self._sessions.values():
            await session._session.close()
        self._sessions.clear()
        if self._connector is not None:
            await self._connector.close()
            self._connector = None

    def _pool(self) -> aiohttp.TCPConnector:
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(
                limit=0,  # callers bound their own concurrency
                resolver=_GuardedResolver(self._resolver, self._judge),
                socket_factory=self._socket,
                ssl=self._tls or True,
            )
        return self._connector

    async def _guard(
        self,
        request: ClientRequest,
        handler: Callable[[ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        """Runs for every request on the wire, whoever made it."""
        check_target(request.url, self.allowed)
        attempt = _ATTEMPT.get()
        attempt.host = request.url.raw_host
        return await handler(request)

    def _socket(self, info: Any) -> socket.socket:
        """Judges the address of every attempt: nothing that is dialled misses this."""
        family, kind, protocol, _, address = info
        attempt = _ATTEMPT.get()
        try:
            self._judge(ip_address(address[0]), address[1], attempt.host)
        except _AddressBlocked:
            attempt.blocked = True  # several failed attempts are merged into one error that forgets which
            raise
        return socket.socket(family, kind, protocol)

    def _judge(self, address: Address, port: int, host: str | None) -> None:
        try:
            check_address(address, port, host=host, allowed=self.allowed, is_ours=self._is_ours)
        except Blocked as blocked:
            raise _AddressBlocked(blocked.reason) from blocked

    def _is_ours(self, address: Address, port: int) -> bool:
        for own_address, own_port in self._listening():
            if own_port == port:
                own = ip_address(own_address)
                if own == address or (own.is_unspecified and _is_local(address)):
                    return True
        return False


def classified(error: BaseException, *, blocked: bool = False) -> OutboundError:
    """What a failure is called towards callers; chain the original with `from`."""
    if isinstance(error, OutboundError):
        return error
    if blocked or isinstance(error, Blocked) or _is_blocked(error):
        return OutboundError(Failure.BLOCKED)
    if isinstance(error, TimeoutError):
        return OutboundError(Failure.TIMEOUT)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError | ssl.CertificateError):
        return OutboundError(Failure.TLS)
    return OutboundError(Failure.UNREACHABLE)


class _AddressBlocked(OSError):
    """An OSError, because that is what aiohttp expects of resolvers and sockets."""


class _Attempt:
    """What one request has met on its way; shared with the tasks aiohttp starts for it."""

    __slots__ = ("blocked", "host")

    def __init__(self) -> None:
        self.host: str | None = None
        self.blocked = False


_ATTEMPT: ContextVar[_Attempt] = ContextVar("outbound_attempt")


class _GuardedResolver(AbstractResolver):
    """Looks a name up within three seconds; one bad answer spoils them all."""

    def __init__(
        self, inner: AbstractResolver | None, judge: Callable[[Address, int, str | None], None]
    ) -> None:
        self._inner = inner
        self._judge = judge

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        inner = self._inner or aiohttp.ThreadedResolver()
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await inner.resolve(host, port, family)
        if not found:
            raise OSError("the name has no address")
        for result in found:
            self._judge(ip_address(result["host"]), port, host)
        return found

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()


async def _read(response: aiohttp.ClientResponse, purpose: Purpose) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > purpose.max_bytes:
            response.close()  # the rest is not wanted, and the connection cannot be used again
            if purpose.truncates:
                return bytes(body[: purpose.max_bytes])
            raise OutboundError(Failure.TOO_LARGE)
    return bytes(body)


def _onward(response: aiohttp.ClientResponse, asked: URL) -> URL | None:
    location = response.headers.get("Location")
    if response.status not in _REDIRECTS or location is None:
        return None
    try:
        onward = asked.join(URL(location))
        return onward if onward.origin() == asked.origin() else None
    except ValueError:
        return None


def _timeout(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)


def _is_blocked(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, _AddressBlocked):
            return True
        error = error.__cause__
    return False


def _is_local(address: Address) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
