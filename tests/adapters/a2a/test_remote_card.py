"""Whether an agent elsewhere is one to work with: origins, versions, signatures, credentials."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
import rfc8785
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.a2a.extensions import IDEMPOTENCY
from adapters.a2a.remote.card import CardReader, interfaces_of
from adapters.a2a.v03.card import with_legacy
from adapters.outbound import Outbound
from core.egress import Allowed
from core.ports import CardFound, CardRefused, CardWanted, Signature
from core.sealing import Secret
from hub.demo.process import free_port
from schemas.vocabulary import Health

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def jwk(key: ec.EllipticCurvePrivateKey, kid: str = "k1") -> dict[str, Any]:
    """The public half, as a JWK."""
    made: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "alg": "ES256"}


def signed(
    card: dict[str, Any], key: ec.EllipticCurvePrivateKey = KEY, *, form: Any = None, **header: Any
) -> dict[str, Any]:
    """The card with one signature more, over `form` or over itself."""
    plain = {name: value for name, value in card.items() if name != "signatures"}
    payload = rfc8785.dumps(plain if form is None else form)
    token = jwt.api_jws.encode(payload, key, algorithm="ES256", headers={"kid": "k1", **header})
    protected, _, signature = token.split(".")
    known = card.get("signatures", [])
    return {**card, "signatures": [*known, {"protected": protected, "signature": signature}]}


@dataclass
class Site:
    """A place on loopback with documents."""

    port: int = 0
    documents: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def card(self, **members: Any) -> dict[str, Any]:
        """A card of an agent here."""
        interface = {"url": f"{self.url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        return {
            "name": "far",
            "description": "an agent",
            "version": "1",
            "supportedInterfaces": [interface],
            "capabilities": {"streaming": True},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
            "skills": [],
            **members,
        }

    def shows(self, card: Any) -> None:
        """Serve this card."""
        self.documents["/.well-known/agent-card.json"] = card

    async def take(self, request: web.Request) -> web.Response:
        """A document, or what an agent says about a task that it does not know."""
        self.asked.append(request.path)
        status = self.statuses.get(request.path, 200)
        if request.path in self.documents:
            return web.json_response(self.documents[request.path], status=status)
        if request.method == "POST":
            said = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "none"}}
            return web.json_response(said, status=status)
        return web.Response(status=404)


@dataclass
class World:
    """Two places, and who looks at their cards."""

    here: Site
    there: Site
    reader: CardReader

    async def look(self, **wanted: Any) -> CardFound:
        """The card of the first place."""
        settings = {"approved_origins": (), "trusted_keys": (), "auth": {"kind": "none"}, **wanted}
        return await self.reader.look(CardWanted(**{"url": self.here.url, **settings}))

    async def refused(self, **wanted: Any) -> str:
        """Why it is refused."""
        with pytest.raises(CardRefused) as refused:
            await self.look(**wanted)
        return refused.value.reason


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Two places that the hub may call."""
    async with AsyncExitStack() as stack:
        sites = []
        for _ in range(2):
            site = Site()
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", site.take)
            runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            site.port = runner.addresses[0][1]
            sites.append(site)
        outbound = Outbound(Allowed.parse("127.0.0.1"))
        stack.push_async_callback(outbound.close)
        yield World(sites[0], sites[1], CardReader(outbound))


async def test_an_address_means_the_well_known_card_there(world: World) -> None:
    world.here.shows(world.here.card())
    found = await world.look()
    assert found.url == f"{world.here.url}/.well-known/agent-card.json"
    assert found.interface == {
        "url": f"{world.here.url}/rpc",
        "origin": world.here.url,
        "binding": "JSONRPC",
        "version": "1.0",
        "tenant": None,
        "streaming": True,
        "idempotent": False,
    }
    assert (found.signature, found.health, found.auth) == (Signature.NONE, Health.OK, {"kind": "none"})
    world.here.documents["/mine.json"] = world.here.card()
    assert (await world.look(url=f"{world.here.url}/mine.json")).url == f"{world.here.url}/mine.json"


async def test_endpoints_share_the_origin_of_the_card_or_are_approved(world: World) -> None:
    """Whoever may write a card must not send the hub's credential elsewhere."""
    elsewhere = {"url": f"{world.there.url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    world.here.shows(world.here.card(supportedInterfaces=[elsewhere]))
    reason = await world.refused()
    assert f"its endpoint is at another origin, {world.there.url}" in reason
    assert world.there.asked == []
    found = await world.look(approved_origins=[world.there.url])
    assert found.interface["origin"] == world.there.url
    own = world.here.card()["supportedInterfaces"]
    world.here.shows(world.here.card(supportedInterfaces=[elsewhere, *own]))
    assert (await world.look()).interface["origin"] == world.here.url


async def test_an_endpoint_where_the_hub_does_not_call_is_refused_without_a_word_of_why(
    world: World,
) -> None:
    inside = {"url": "https://10.0.0.7/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    world.here.shows(world.here.card(supportedInterfaces=[inside]))
    assert await world.refused(approved_origins=["https://10.0.0.7"]) == (
        "an approved origin is not called: blocked"
    )
    assert "blocked" in await world.refused()
    assert "the URL is not https" in await world.refused(url="http://192.0.2.1/card.json")


async def test_the_best_that_both_speak_is_chosen(world: World) -> None:
    def one(binding: str, version: str, path: str = "/x") -> dict[str, Any]:
        url = f"{world.here.url}{path}"
        return {"url": url, "protocolBinding": binding, "protocolVersion": version, "tenant": "acme"}

    offered = [one("GRPC", "1.0"), one("JSONRPC", "0.3.0"), one("HTTP+JSON", "1.0.1", "/rest")]
    world.here.shows(world.here.card(supportedInterfaces=offered))
    chosen = (await world.look()).interface
    assert (chosen["binding"], chosen["version"], chosen["tenant"]) == ("HTTP+JSON", "1.0", "acme")
    world.here.shows(world.here.card(supportedInterfaces=offered[:2]))
    chosen = (await world.look()).interface
    assert (chosen["binding"], chosen["version"]) == ("JSONRPC", "0.3")
    world.here.shows(world.here.card(supportedInterfaces=offered[:1]))
    assert "it offers GRPC 1.0" in await world.refused()


async def test_a_card_of_0_3_is_understood(world: World) -> None:
    old = {
        "name": "old",
        "protocolVersion": "0.3.0",
        "url": f"{world.here.url}/rpc",
        "preferredTransport": "JSONRPC",
        "capabilities": {},
    }
    world.here.shows(old)
    chosen = (await world.look()).interface
    assert (chosen["version"], chosen["streaming"]) == ("0.3", False)
    both = with_legacy(
        world.here.card(
            supportedInterfaces=[
                {"url": "u", "protocolBinding": "JSONRPC", "protocolVersion": v} for v in ("1.0", "0.3")
            ]
        )
    )
    assert [one["version"] for one in interfaces_of(both)] == ["1.0", "0.3"]


async def test_what_the_card_declares_is_kept_and_what_it_requires_must_be_spoken(world: World) -> None:
    extensions = [{"uri": IDEMPOTENCY, "required": True}, {"uri": "urn:other"}]
    world.here.shows(world.here.card(capabilities={"extensions": extensions}))
    interface = (await world.look()).interface
    assert (interface["idempotent"], interface["streaming"]) == (True, False)
    needed = [{"uri": "urn:needed", "required": True}]
    world.here.shows(world.here.card(capabilities={"extensions": needed}))
    assert "urn:needed" in await world.refused()


@pytest.mark.parametrize("card", [[], "text", {}, {"name": " "}, {"name": "x", "capabilities": []}])
async def test_what_is_no_card_is_refused(world: World, card: Any) -> None:
    world.here.shows(card)
    with pytest.raises(CardRefused) as refused:
        await world.look()
    assert refused.value.reachable


async def test_a_card_that_cannot_be_had_is_no_wrong_card(world: World) -> None:
    path = "/.well-known/agent-card.json"
    for status, reachable in ((404, True), (410, True), (500, False), (503, False)):
        world.here.shows({})
        world.here.statuses[path] = status
        with pytest.raises(CardRefused) as refused:
            await world.look()
        assert refused.value.reachable is reachable, status
    with pytest.raises(CardRefused) as refused:
        await world.look(url=f"http://127.0.0.1:{free_port()}/card.json")
    assert not refused.value.reachable


async def test_a_signature_is_checked_by_the_keys_that_it_names(world: World) -> None:
    jku = f"{world.here.url}/jwks.json"
    world.here.documents["/jwks.json"] = {"keys": [jwk(OTHER, "k0"), jwk(KEY)]}
    world.here.shows(signed(world.here.card(), jku=jku))
    assert (await world.look()).signature is Signature.VALID
    tampered = {**signed(world.here.card(), jku=jku), "description": "another"}
    world.here.shows(tampered)
    assert await world.refused() == "no signature of the card holds"
    world.here.shows(signed(world.here.card(), OTHER, jku=jku))
    assert await world.refused() == "no signature of the card holds"
    # One of several is enough: keys rotate.
    world.here.shows(signed(signed(world.here.card(), OTHER, jku=jku), jku=jku))
    assert (await world.look()).signature is Signature.VALID


async def test_a_key_set_elsewhere_is_not_asked_unless_it_is_approved(world: World) -> None:
    world.there.documents["/jwks.json"] = {"keys": [jwk(KEY)]}
    world.here.shows(signed(world.here.card(), jku=f"{world.there.url}/jwks.json"))
    assert "its key set is at another origin" in await world.refused()
    assert world.there.asked == []
    assert (await world.look(approved_origins=[world.there.url])).signature is Signature.VALID


async def test_with_trusted_keys_one_of_them_must_have_signed(world: World) -> None:
    world.here.shows(signed(world.here.card()))
    assert (await world.look()).signature is Signature.UNKNOWN
    assert (await world.look(trusted_keys=[jwk(KEY)])).signature is Signature.VALID
    assert await world.refused(trusted_keys=[jwk(OTHER)]) == "no signature of the card holds"
    world.here.shows(world.here.card())
    assert "not signed" in await world.refused(trusted_keys=[jwk(KEY)])


async def test_no_symmetric_algorithm_is_believed(world: World) -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("="), "kid": "k1"}
    card = world.here.card()
    token = jwt.api_jws.encode(rfc8785.dumps(card), b"x" * 32, algorithm="HS256", headers={"kid": "k1"})
    protected, _, signature = token.split(".")
    world.here.shows({**card, "signatures": [{"protected": protected, "signature": signature}]})
    assert (await world.look()).signature is Signature.UNKNOWN
    found = CardWanted(world.here.url, (), (secret,), {"kind": "none"})
    assert (await world.reader.look(found)).signature is not Signature.VALID


async def test_cards_that_were_signed_without_their_empty_members_are_known_too(world: World) -> None:
    """So sign the SDKs, which write a card from protobuf."""
    card = world.here.card(provider={"organization": "", "url": ""})
    bare = {name: value for name, value in card.items() if name not in ("skills", "provider")}
    world.here.shows(signed(card, form=bare))
    assert (await world.look(trusted_keys=[jwk(KEY)])).signature is Signature.VALID


async def test_the_card_says_where_a_key_goes_and_where_tokens_are(world: World) -> None:
    schemes = {
        "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Far-Key"}},
        "oauth": {
            "oauth2SecurityScheme": {
                "flows": {"clientCredentials": {"tokenUrl": f"{world.there.url}/token", "scopes": {}}}
            }
        },
    }
    world.here.shows(world.here.card(securitySchemes=schemes))
    key = await world.look(auth={"kind": "api_key"}, secret=Secret("s"))
    assert (key.auth["name"], key.auth["location"]) == ("X-Far-Key", "header")
    own = await world.look(auth={"kind": "api_key", "name": "K", "location": "query"}, secret=Secret("s"))
    assert (own.auth["name"], own.auth["location"]) == ("K", "query")
    for name in ("Host", "a b", "Cookie"):
        assert "no usable place" in await world.refused(auth={"kind": "api_key", "name": name})
    auth = {"kind": "client_credentials", "client_id": "hub"}
    assert "its token URL is at another origin" in await world.refused(auth=auth, secret=Secret("s"))
    world.there.documents["/token"] = {"access_token": "t", "token_type": "Bearer"}
    found = await world.look(auth=auth, secret=Secret("s"), approved_origins=[world.there.url])
    assert (found.auth["token_url"], found.health) == (f"{world.there.url}/token", Health.OK)
    world.here.shows(world.here.card())
    assert "names no token URL" in await world.refused(auth=auth, secret=Secret("s"))


async def test_a_credential_is_tried_and_a_refusal_is_a_matter_of_health(world: World) -> None:
    world.here.shows(world.here.card())
    for status, health in (
        (401, Health.NEEDS_REAUTH),
        (500, Health.OK),  # it speaks JSON-RPC all the same
        (503, Health.UNREACHABLE),
    ):
        world.here.statuses["/rpc"] = status
        found = await world.look(auth={"kind": "bearer"}, secret=Secret("wrong"))
        assert found.health is health, status
        assert "wrong" not in repr(found)
        assert json.dumps(dict(found.auth)) == '{"kind": "bearer"}'
