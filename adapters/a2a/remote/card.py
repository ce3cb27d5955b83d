"""Whether an agent elsewhere is one to work with: its card, fetched and judged (specification §8).

The card says where the agent answers; it is believed only about its own origin and those that the operator
has approved. Which interface is called is decided here, once, and kept beside the card.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import rfc8785
from yarl import URL

from adapters.a2a.card import WELL_KNOWN
from adapters.a2a.client import Client
from adapters.a2a.extensions import IDEMPOTENCY
from adapters.a2a.remote.credentials import Credentials
from adapters.a2a.remote.failures import BadAnswer, RemoteError, Unauthorized
from adapters.a2a.remote.signatures import judge, keys_of
from adapters.a2a.version import CURRENT, LEGACY
from adapters.outbound import METADATA, Outbound, OutboundError
from core.egress import BadTarget, Blocked
from core.ports import CardFound, CardRefused, CardWanted
from schemas.strict_json import InvalidJson, parse_json
from schemas.vocabulary import Health

SPOKEN: Final = {CURRENT: ("JSONRPC", "HTTP+JSON"), LEGACY: ("JSONRPC",)}
"""The bindings of each version that the hub speaks as a client."""
_MOST: Final = 64


class CardReader:
    """`core.ports.Cards` over the guarded client."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def look(self, wanted: CardWanted) -> CardFound:
        """Fetch the card, judge it, choose an interface, and ask there whether the hub is accepted.

        Raises:
            CardRefused: why not.
        """
        url = self._checked(wanted.url, "the card's URL")
        if url.path in ("", "/"):
            url = url.with_path(WELL_KNOWN)
        others = [self._checked(text, "an approved origin") for text in wanted.approved_origins]
        approved = frozenset(map(_origin, (url, *others)))
        card = await self._document(url, "the card")
        _check_shape(card)

        async def key_set(jku: str) -> Sequence[Mapping[str, Any]]:
            return keys_of(await self._document(self._approved(jku, approved, "its key set"), "its key set"))

        signature = await judge(card, wanted.trusted_keys, key_set)
        interface = self._interface(card, approved)
        auth = self._completed(wanted.auth, card, approved)
        health, error = await self._health(interface, Credentials(self._outbound, auth, wanted.secret))
        return CardFound(str(url), card, _digest(card), interface, signature, auth, health, error)

    async def _document(self, url: URL, what: str) -> dict[str, Any]:
        try:
            answer = await self._outbound.fetch(
                "GET", url, purpose=METADATA, headers={"Accept": "application/json"}, hops=2
            )
        except OutboundError as error:
            raise CardRefused(f"{what} could not be fetched: {error}", reachable=False) from error
        if answer.status != 200:
            reachable = answer.status < 500 and answer.status != 429
            raise CardRefused(
                f"{what} could not be fetched: HTTP status {answer.status}", reachable=reachable
            )
        try:
            document = parse_json(answer.body)
        except InvalidJson as error:
            raise CardRefused(f"{what} is not JSON") from error
        if type(document) is not dict:
            raise CardRefused(f"{what} is no JSON object")
        return document

    def _checked(self, text: Any, what: str) -> URL:
        if type(text) is not str:
            raise CardRefused(f"{what} is missing")
        try:
            return self._outbound.check(text)
        except Blocked as blocked:
            raise CardRefused(f"{what} is not called: {_public(blocked)}") from blocked

    def _approved(self, text: Any, approved: frozenset[str], what: str) -> URL:
        url = self._checked(text, what)
        if _origin(url) not in approved:
            raise CardRefused(
                f"{what} is at another origin, {_origin(url)}: approve it with approved_origins, or not"
            )
        return url

    def _interface(self, card: Mapping[str, Any], approved: frozenset[str]) -> dict[str, Any]:
        """The first interface of the card that the hub speaks and may call; 1.0 before 0.3."""
        offered = interfaces_of(card)
        refused: CardRefused | None = None
        for version, bindings in SPOKEN.items():
            for one in offered:
                if one["version"] != version or one["binding"] not in bindings:
                    continue
                try:
                    url = self._approved(one["url"], approved, "its endpoint")
                except CardRefused as error:
                    refused = refused or error
                    continue
                capabilities = card.get("capabilities")
                able = capabilities if type(capabilities) is dict else {}
                return {
                    **one,
                    "url": str(url),
                    "origin": _origin(url),
                    "streaming": able.get("streaming") is True,
                    "idempotent": IDEMPOTENCY in _extensions(able),
                }
        if refused is not None:
            raise refused
        spoken = ", ".join(f"{one['binding']} {one['version']}" for one in offered) or "nothing"
        raise CardRefused(
            f"it offers {spoken}; the hub calls JSONRPC or HTTP+JSON of {CURRENT}, or JSONRPC of {LEGACY}"
        )

    def _completed(
        self, auth: Mapping[str, Any], card: Mapping[str, Any], approved: frozenset[str]
    ) -> dict[str, Any]:
        """How the hub proves itself, with what only the card knows."""
        schemes = _schemes(card)
        if auth["kind"] == "api_key":
            named = next((s for kind, s in schemes if kind == "apiKeySecurityScheme"), {})
            name = auth.get("name") or named.get("name") or "X-API-Key"
            location = auth.get("location") or named.get("location") or named.get("in") or "header"
            if location not in ("header", "query", "cookie") or not _is_token(name):
                raise CardRefused("the card names no usable place for the API key")
            return {**auth, "name": name, "location": location}
        if auth["kind"] == "client_credentials":
            if auth.get("token_url"):
                return {**auth, "token_url": str(self._checked(auth["token_url"], "the token URL"))}
            for kind, scheme in schemes:
                flow = (scheme.get("flows") or {}).get("clientCredentials")
                if kind == "oauth2SecurityScheme" and type(flow) is dict:
                    url = self._approved(flow.get("tokenUrl"), approved, "its token URL")
                    return {**auth, "token_url": str(url)}
            raise CardRefused("the card names no token URL: give auth.token_url")
        return dict(auth)

    async def _health(
        self, interface: Mapping[str, Any], credentials: Credentials
    ) -> tuple[Health, str | None]:
        try:
            await Client(self._outbound, interface, credentials).probe()
        except Unauthorized as error:
            return Health.NEEDS_REAUTH, str(error)
        except BadAnswer as error:
            return Health.DEGRADED, str(error)
        except RemoteError as error:
            return Health.UNREACHABLE, str(error)
        return Health.OK, None


def interfaces_of(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The interfaces that a card offers, preferred first, of 1.0's form and of 0.3's."""
    found: list[dict[str, Any]] = []
    for one in _objects(card.get("supportedInterfaces")):
        version = str(one.get("protocolVersion", ""))
        tenant = one.get("tenant")
        found.append(
            {
                "url": one.get("url"),
                "binding": str(one.get("protocolBinding", "")),
                "version": ".".join(version.split(".")[:2]),
                "tenant": tenant if type(tenant) is str and tenant else None,
            }
        )
    if not found and str(card.get("protocolVersion", LEGACY)).startswith(LEGACY):
        first = {"url": card.get("url"), "transport": card.get("preferredTransport", "JSONRPC")}
        for one in (first, *_objects(card.get("additionalInterfaces"))):
            binding = str(one.get("transport", ""))
            found.append({"url": one.get("url"), "binding": binding, "version": LEGACY, "tenant": None})
    return found


def _check_shape(card: Mapping[str, Any]) -> None:
    if type(card.get("name")) is not str or not card["name"].strip():
        raise CardRefused("it is no agent card: it has no name")
    capabilities = card.get("capabilities")
    for extension in _objects(capabilities.get("extensions") if type(capabilities) is dict else None):
        if extension.get("required") is True and extension.get("uri") != IDEMPOTENCY:
            uri = str(extension.get("uri"))[:200]
            raise CardRefused(f"the agent requires an extension that the hub does not speak: {uri}")


def _extensions(capabilities: Mapping[str, Any]) -> list[Any]:
    return [one.get("uri") for one in _objects(capabilities.get("extensions"))]


def _schemes(card: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The security schemes as (kind, members), of 1.0's form and of 0.3's."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    declared = card.get("securitySchemes")
    for scheme in declared.values() if type(declared) is dict else ():
        if type(scheme) is not dict:
            continue
        nested = [(kind, value) for kind, value in scheme.items() if type(value) is dict]
        found += [(kind, value) for kind, value in nested if kind.endswith("SecurityScheme")]
        if type(scheme.get("type")) is str:
            found.append((f"{scheme['type']}SecurityScheme", scheme))
    return found


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value[:_MOST] if type(one) is dict] if type(value) is list else []


def _is_token(name: Any) -> bool:
    """Whether it can be a header's name (RFC 9110 §5.1), and is none of HTTP's own."""
    if type(name) is not str or not 0 < len(name) <= 128 or name.lower() in _RESERVED:
        return False
    return all(char.isascii() and (char.isalnum() or char in "!#$%&'*+-.^_`|~") for char in name)


_RESERVED: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "cookie"}
    | {"a2a-version", "a2a-extensions", "idempotency-key", "upgrade", "te", "trailer", "expect"}
)


def _digest(card: Mapping[str, Any]) -> str:
    try:
        return hashlib.sha256(rfc8785.dumps(dict(card))).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise CardRefused("the card has no canonical form") from error


def _origin(url: URL) -> str:
    return str(url.origin())


def _public(blocked: Blocked) -> str:
    """The URL's own fault may be told; where its host leads may not."""
    return blocked.reason if isinstance(blocked, BadTarget) else "blocked"
