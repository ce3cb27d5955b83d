"""Tokens of trusted authorization servers at `/mcp`: good where they are for, and nowhere else."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from core.store import open_store
from tests.fakes import FakeClock
from tests.hub.api.hub import ADMIN_KEY, Answer, Hub, running

MCP = "http://127.0.0.1:8080/mcp"
PING = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
PARAMS = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}


@dataclass
class Issuer:
    """An authorization server that only publishes keys."""

    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    fetched: int = 0
    broken: bool = False
    says: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application()
        app.router.add_get("/.well-known/oauth-authorization-server", self._metadata)
        app.router.add_get("/keys", self._keys)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.rotate("one")

    async def stop(self) -> None:
        """Hang up."""
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://127.0.0.1:{self.port}"

    def rotate(self, name: str) -> None:
        """Sign with a new key only."""
        self.keys = {name: ec.generate_private_key(ec.SECP256R1())}

    def token(self, now: float, *, headers: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token for `/mcp`, changed as said; None leaves a claim out."""
        told = {"iss": self.url, "sub": "ann", "aud": MCP, "scope": "mcp", "iat": now, "exp": now + 300}
        claims = {name: value for name, value in {**told, **changed}.items() if value is not None}
        (name, key), *_ = self.keys.items()
        head = {"kid": name, "typ": "at+jwt", **(headers or {})}
        return jwt.encode(claims, key, algorithm="ES256", headers=head)

    async def _metadata(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(status=503)
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.says})

    async def _keys(self, request: web.Request) -> web.Response:
        self.fetched += 1
        listed = []
        for name, key in self.keys.items():
            public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
            listed.append({**public, "kid": name, "use": "sig"})
        return web.json_response({"keys": [{"kty": "oct", "k": "c2VjcmV0"}, "no key", *listed]})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An authorization server that is trusted."""
    issuer = Issuer()
    await issuer.start()
    yield issuer
    await issuer.stop()


@pytest.fixture
async def hub(database_url: str, clock: FakeClock, issuer: Issuer) -> AsyncIterator[Hub]:
    """A hub that trusts it."""
    store = open_store(database_url, clock=clock)
    async with running(store, outbound_allow=("127.0.0.1",), mcp_issuers=(issuer.url,)) as hub:
        yield hub


@pytest.fixture
def now(clock: FakeClock) -> float:
    """The present, in seconds."""
    return clock.now().timestamp()


async def called(hub: Hub, token: str | None, path: str = "/mcp/crossdock") -> Answer:
    """Shake hands at a path."""
    headers = {"Accept": "application/json, text/event-stream"}
    return await hub.send("POST", path, key=token, json={**PING, "params": PARAMS}, headers=headers)


async def test_a_token_is_good_at_what_it_is_for(hub: Hub, issuer: Issuer, now: float) -> None:
    wide = issuer.token(now)
    assert (await called(hub, wide, "/mcp")).status == 200
    assert (await called(hub, wide)).status == 200
    narrow = issuer.token(now, aud=["https://elsewhere.example", f"{MCP}/crossdock"])
    assert (await called(hub, narrow)).status == 200
    assert (await called(hub, narrow, "/mcp")).status == 401
    assert (await called(hub, issuer.token(now, scope=None, scp=["mcp", "more"]))).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": MCP + "/"},
        {"aud": "http://127.0.0.1:8080"},
        {"aud": None},
        {"aud": [1]},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"sub": None},
        {"headers": {"kid": "nobody"}},
        {"headers": {"typ": "dpop+jwt"}},
        {"headers": {"crit": ["x"]}},
    ],
)
async def test_a_token_that_is_not_for_the_hub_is_refused(
    hub: Hub, issuer: Issuer, now: float, changed: dict[str, Any]
) -> None:
    answer = await called(hub, issuer.token(now, **changed))
    assert answer.status == 401
    told = answer.headers["www-authenticate"]
    metadata = "http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp/crossdock"
    assert f'resource_metadata="{metadata}"' in told
    assert 'scope="mcp"' in told
    assert 'error="invalid_token"' in told


async def test_signatures_that_anybody_could_make_are_refused(hub: Hub, issuer: Issuer, now: float) -> None:
    claims = {"iss": issuer.url, "sub": "ann", "aud": MCP, "scope": "mcp", "exp": now + 300}
    other = ec.generate_private_key(ec.SECP256R1())
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = [
        jwt.encode(claims, "", algorithm="none", headers={"kid": "one"}),
        jwt.encode(claims, "s" * 48, algorithm="HS256", headers={"kid": "one"}),
        jwt.encode(claims, other, algorithm="ES256", headers={"kid": "one"}),
        jwt.encode(claims, mine, algorithm="RS256", headers={"kid": "one"}),
        jwt.encode({**claims, "iss": "https://evil.example"}, other, algorithm="ES256"),
        issuer.token(now)[:-4] + "AAAA",
    ]
    for token in forged:
        assert (await called(hub, token)).status in (401, 429)


async def test_a_token_without_the_scope_is_told_all_that_it_lacks(
    hub: Hub, issuer: Issuer, now: float
) -> None:
    answer = await called(hub, issuer.token(now, scope="openid profile"))
    assert answer.status == 403
    told = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in told
    assert 'scope="mcp"' in told


async def test_a_foreign_token_is_for_mcp_alone(hub: Hub, issuer: Issuer, now: float) -> None:
    token = issuer.token(now)
    assert (await called(hub, token)).status == 200
    assert (await hub.get("/tasks", key=token)).status == 401
    assert (await hub.send("POST", "/a2a", key=token, json={})).status == 401


async def test_a_token_ends_when_it_says(hub: Hub, issuer: Issuer, now: float, clock: FakeClock) -> None:
    token = issuer.token(now)
    assert (await called(hub, token)).status == 200
    clock.advance(320)
    assert (await called(hub, token)).status == 401
    assert (await called(hub, issuer.token(now, nbf=now + 1000, exp=now + 2000))).status == 401


async def test_keys_rotate_and_are_not_fetched_for_every_token(
    hub: Hub, issuer: Issuer, now: float, clock: FakeClock
) -> None:
    for subject in ("ann", "bob", "cid"):
        assert (await called(hub, issuer.token(now, sub=subject))).status == 200
    assert issuer.fetched == 1
    issuer.rotate("two")
    clock.advance(31)
    assert (await called(hub, issuer.token(now))).status == 200
    for n in range(5):
        await called(hub, issuer.token(now, sub=str(n), headers={"kid": f"nobody {n}"}))
    assert issuer.fetched == 2


async def test_an_issuer_that_is_away_is_not_the_callers_fault(hub: Hub, issuer: Issuer, now: float) -> None:
    issuer.broken = True
    assert (await called(hub, issuer.token(now))).status == 503
    issuer.broken = False
    assert (await called(hub, issuer.token(now))).status == 200
    issuer.broken = True
    assert (await called(hub, issuer.token(now, sub="bob"))).status == 200


async def test_metadata_of_another_issuer_is_not_believed(hub: Hub, issuer: Issuer, now: float) -> None:
    issuer.says = {"issuer": "https://evil.example"}
    assert (await called(hub, issuer.token(now))).status == 503
    assert issuer.fetched == 0


async def test_two_subjects_are_two_principals_and_one_stays_the_same(
    hub: Hub, issuer: Issuer, now: float
) -> None:
    ann, bob = issuer.token(now), issuer.token(now, sub="bob")
    session = (await called(hub, ann)).headers["mcp-session-id"]
    headers = {"Accept": "application/json, text/event-stream", "Mcp-Session-Id": session}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    statuses = [
        (await hub.send("POST", "/mcp/crossdock", key=token, json=ping, headers=headers)).status
        for token in (ann, issuer.token(now, name="Ann"), bob)
    ]
    assert statuses == [200, 200, 404]


async def test_every_server_has_metadata_and_api_keys_are_taken_still(hub: Hub, issuer: Issuer) -> None:
    for path in ("/mcp", "/mcp/crossdock", "/mcp/weather"):
        told = (await hub.send("GET", f"/.well-known/oauth-protected-resource{path}", key=None)).json
        assert told["resource"] == f"http://127.0.0.1:8080{path}"
        assert told["authorization_servers"] == [issuer.url]
        assert told["scopes_supported"] == ["mcp"]
    root = await hub.send("GET", "/.well-known/oauth-protected-resource", key=None)
    assert root.json["resource"] == MCP
    nothing = await hub.send("GET", "/.well-known/oauth-protected-resource/api/v1", key=None)
    assert nothing.status == 401
    assert (await called(hub, ADMIN_KEY)).status == 200
    assert "error=" not in (await called(hub, None)).headers["www-authenticate"]
