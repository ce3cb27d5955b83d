"""Which requests are let in at all, judged by their head alone: host, origin, framing, and who really called.

Pure functions of the ASGI scope. Everything refused here is refused before a byte of the body is read and
before anybody is authenticated. What a caller may do is decided elsewhere.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from core.errors import Forbidden, HubError, TooLarge
from hub.answers import Unreadable, UnsupportedMediaType
from schemas.errors import ErrorCode

Headers = Mapping[bytes, bytes]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORTS: Final = {"http": ":80", "https": ":443"}
_REMEMBERED: Final = 1000


class Misdirected(HubError):
    """The request names a host that is not this hub (RFC 9110 §15.5.20)."""

    code: ClassVar[ErrorCode] = ErrorCode.BAD_REQUEST
    http_status: ClassVar[int] = 421


@dataclass(frozen=True, slots=True)
class Site:
    """What this hub is called, who may ask from a web page, and whose forwarding is believed."""

    hosts: frozenset[str]
    """`host` answers on every port, `host:port` on that one."""
    origin: str
    """The hub's own web origin, as the world sees it."""
    origins: frozenset[str]
    """Other web origins whose pages may call."""
    proxies: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(
        cls,
        public_url: str,
        *,
        loopback: bool,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        proxies: Iterable[str] = (),
    ) -> "Site":
        """Gather the settings; `loopback` says that only this machine can reach the hub."""
        public = urlsplit(public_url.lower())
        host = public.netloc.removesuffix(_PORTS.get(public.scheme, ""))
        return cls(
            frozenset({host, *(name.lower() for name in hosts), *(_LOOPBACK if loopback else ())}),
            f"{public.scheme}://{host}",
            frozenset(origin.lower() for origin in origins),
            tuple(ip_network(proxy) for proxy in proxies),
        )


class Admission:
    """Judges heads against a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._good_hosts: set[bytes] = set()
        self.proxied = bool(site.proxies)
        """Whether `believe_proxy` can change anything."""

    def check_host(self, headers: Headers) -> None:
        """Raises:
        Misdirected: `Host` is missing or names something else: the mark of DNS rebinding.
        """
        value = headers.get(b"host", b"")
        if value in self._good_hosts:
            return
        host = value.decode("latin-1").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if host not in self._site.hosts and name not in self._site.hosts:
            raise Misdirected("this hub does not answer to that host name")
        if len(self._good_hosts) < _REMEMBERED:  # callers choose the port, and so how many there are
            self._good_hosts.add(value)

    def check_origin(self, scope: Mapping[str, Any], headers: Headers) -> str | None:
        """The foreign origin that may read the answer; None when there is none or it is the hub's own.

        Raises:
            Forbidden: a page of some other site made the request.
        """
        value = headers.get(b"origin")
        if value is None:
            return None
        origin = value.decode("latin-1").lower()
        if origin == self._site.origin:
            return None
        if origin in self._site.origins:
            return origin
        host = headers.get(b"host", b"").decode("latin-1").lower()
        secure = scope["scheme"] in ("https", "wss")
        if origin == f"https://{host}" or (not secure and origin == f"http://{host}"):
            return None
        raise Forbidden("pages of this origin may not call the hub")

    def believe_proxy(self, scope: MutableMapping[str, Any]) -> None:
        """Put the real client and scheme into the scope, when the peer is a trusted proxy.

        The client is the last address in `X-Forwarded-For` that is no trusted proxy: those before it are
        whatever the client wrote.
        """
        if not scope.get("client") or not self._trusted(scope["client"][0]):
            return
        chain: list[str] = []
        scheme = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                chain += [hop.strip() for hop in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
        for hop in reversed(chain):
            address = _bare(hop)
            if address is None:
                break
            scope["client"] = (address, 0)
            if not self._trusted(address):
                break
        if scheme in ("http", "https"):
            secure = scheme == "https"
            if scope["type"] == "websocket":
                scheme = "wss" if secure else "ws"
            scope["scheme"] = scheme

    def _trusted(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._site.proxies)


def check_framing(headers: Headers, limit: int | None) -> bool:
    """Judge the announced body. True when its length is not known beforehand, so that it must be counted.

    Raises:
        UnsupportedMediaType: compressed or multipart.
        TooLarge: longer than `limit`.
        Unreadable: `Content-Length` is no number.
    """
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("send the body uncompressed")
    kind = headers.get(b"content-type")
    if kind is not None and kind[:10].lower() == b"multipart/":
        raise UnsupportedMediaType("multipart bodies are not accepted")
    length = headers.get(b"content-length")
    if length is None:
        return True
    if not length.isdigit():
        raise Unreadable("Content-Length is not a number")
    if limit is not None and (len(length) > 18 or int(length) > limit):
        raise too_large(limit)
    return b"transfer-encoding" in headers


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over `limit` bytes."""
    return TooLarge(f"the body is longer than {limit} bytes", details={"limit_bytes": limit})


def _bare(hop: str) -> str | None:
    """The address of a forwarding entry, which may carry a port."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None
