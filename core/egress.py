"""Where the hub may call out to: the rules for URLs and addresses, without any I/O.

A URL is judged when it is registered and again at every dispatch; the address it finally leads to is judged
at every connection attempt, by `adapters.outbound`. The lists are explicit because `ipaddress.is_global`
calls multicast, NAT64, 6to4 and cloud metadata services global. See the IANA special-purpose registries.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_LOCAL_NAMES: Final = ("localhost", "local", "internal")
_AUTHORITY: Final = re.compile(r"[a-z]+://([^/?#]*)", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

_BLOCKED: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
# Services that hand credentials to whoever asks from inside: the link-local block of every cloud, Azure's
# wire server, Alibaba's, and the IPv6 faces of AWS and Google.
_METADATA: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32",
        "fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128",
    )
)  # fmt: skip
# IPv6 blocks whose last 32 bits are an IPv4 address that the packet ends up at.
_EMBEDDING: Final[tuple[IPv6Network, ...]] = (
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("64:ff9b::/96"),
)


class Blocked(Exception):
    """The hub does not call there. `reason` is for the operator's log, never for a caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadTarget(Blocked):
    """The URL itself breaks a rule; its reason speaks of the URL alone and may be shown to its sender."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Exceptions the operator has made: targets that may be private, or speak plain http."""

    hosts: frozenset[str] = frozenset()
    endpoints: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: str | Iterable[str]) -> "Allowed":
        """Read hosts, `host:port` and CIDRs; in one text they are separated by commas or spaces.

        Raises:
            ValueError: an entry is none of the three; the message names it.
        """
        hosts: set[str] = set()
        endpoints: set[tuple[str, int]] = set()
        networks: list[Network] = []
        for entry in entries.replace(",", " ").split() if isinstance(entries, str) else entries:
            try:
                networks.append(ip_network(entry.strip("[]")))
                continue
            except ValueError:
                pass
            host, port = _host_and_port(entry)
            if port is None:
                hosts.add(host)
            else:
                endpoints.add((host, port))
        return cls(frozenset(hosts), frozenset(endpoints), tuple(networks))

    def names(self, host: str, port: int) -> bool:
        """Whether the target is listed by the name it is called by."""
        host = _plain(host)
        return host in self.hosts or (host, port) in self.endpoints

    def holds(self, address: Address, port: int) -> bool:
        """Whether the target is listed by its address."""
        return any(address in network for network in self.networks) or (str(address), port) in self.endpoints

    def holds_exactly(self, address: Address, port: int) -> bool:
        """Whether this one address is listed, not merely a network around it."""
        exact = any(network.num_addresses == 1 and address in network for network in self.networks)
        return exact or (str(address), port) in self.endpoints


NOTHING: Final = Allowed()


def parse_target(text: str, allowed: Allowed = NOTHING) -> URL:
    """Parse and judge a URL the hub is asked to call. Store and call what is returned, not the text.

    Raises:
        BadTarget: not an absolute https URL (http only where allowed), or with userinfo, a fragment, a
            control character, a backslash, a zone id, a port below 1024 other than 80 and 443, a local name.
        Blocked: it names an address that is not called.
    """
    if len(text) > MAX_URL:
        raise BadTarget(f"the URL is longer than {MAX_URL} characters")
    if any(char <= " " or "\x7f" <= char <= "\xa0" for char in text) or "\\" in text:
        raise BadTarget("the URL holds a space, a control character or a backslash")
    # The parser drops an empty user name or fragment without a word, so they are looked for in the text.
    authority = _AUTHORITY.match(text)
    if authority is None:
        raise BadTarget("the URL is not absolute")
    if "@" in authority[1]:
        raise BadTarget("the URL holds a user name or password")
    if "#" in text:
        raise BadTarget("the URL holds a fragment")
    try:
        url = URL(text)
        check_target(url, allowed)
    except ValueError:
        raise BadTarget("the URL cannot be parsed") from None
    return url


def check_target(url: URL, allowed: Allowed = NOTHING) -> None:
    """Judge a parsed URL: `parse_target` without the parsing, run again before each call.

    Raises:
        BadTarget, Blocked: as `parse_target`.
    """
    host, port = url.raw_host, url.port
    if url.scheme not in _PORTS:
        raise BadTarget("the URL is not https")
    if not host or not port:
        raise BadTarget("the URL is not absolute")
    if "@" in url.raw_authority:
        raise BadTarget("the URL holds a user name or password")
    if url.raw_fragment:
        raise BadTarget("the URL holds a fragment")
    if port < 1024 and port not in _PORTS.values():
        raise BadTarget("the port must be 80, 443 or at least 1024")
    if "%" in host:
        raise BadTarget("the URL holds a zone id or an escaped host")
    name = _plain(host)
    literal = _literal(name)
    listed = allowed.names(name, port) or (
        literal is not None and any(allowed.holds(form, port) for form in _forms(literal))
    )
    if url.scheme == "http" and not listed:
        raise BadTarget("the URL is not https")
    if literal is not None:
        check_address(literal, port, host=host, allowed=allowed)
        return
    if _NAME.fullmatch(name) is None:
        raise BadTarget("the host is neither a name nor a plain address")
    labels = name.split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # WHATWG URL §3.5: such a host is an address in disguise, which resolvers read in several ways.
        raise BadTarget("the host is neither a name nor a plain address")
    if not listed and (len(labels) == 1 or labels[-1] in _LOCAL_NAMES):
        raise BadTarget("the host is a local name")


def check_address(
    address: Address,
    port: int,
    *,
    host: str | None = None,
    allowed: Allowed = NOTHING,
    is_ours: Callable[[Address, int], bool] = lambda address, port: False,
) -> None:
    """Judge the address a connection is about to be opened to; `host` is what the URL called it.

    Multicast, unspecified addresses and the hub's own sockets are refused whatever is allowed; metadata
    services unless their exact address is.

    Raises:
        Blocked: it is not called.
    """
    forms = _forms(address)
    for form in forms:
        if form.is_multicast or form.is_unspecified:
            raise Blocked(f"{address} is multicast or unspecified")
        if is_ours(form, port):
            raise Blocked(f"{address} port {port} is this hub")
    if any(_within(form, _METADATA) for form in forms):
        if not any(allowed.holds_exactly(form, port) for form in forms):
            raise Blocked(f"{address} is a metadata service")
        return
    if not any(_within(form, _BLOCKED) for form in forms):
        return
    if host is not None and allowed.names(host, port):
        return
    if not any(allowed.holds(form, port) for form in forms):
        raise Blocked(f"{address} is not public")


def _host_and_port(entry: str) -> tuple[str, int | None]:
    try:
        url = URL(f"//{entry}")
        host, port = url.raw_host, url.explicit_port
    except ValueError:
        host = port = None
    name = _plain(host or "")
    if "@" in entry or "/" in entry or (_literal(name) is None and _NAME.fullmatch(name) is None):
        raise ValueError(f"{entry!r} is not a host, host:port or network")
    return name, port


def _forms(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address inside it."""
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return address, IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain(host: str) -> str:
    """One spelling per name: lower case, without the root's dot; addresses in canonical form."""
    name = host.lower().strip("[]").rstrip(".")
    literal = _literal(name)
    return name if literal is None else str(literal)
