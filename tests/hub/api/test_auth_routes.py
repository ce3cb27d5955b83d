"""The routes of credentials, as a client and as a browser use them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest

from core import auth
from core.bootstrap import DEFAULT_TENANT, Prepare, prepare
from core.caller import SYSTEM
from core.errors import HubError
from core.exchange import Exchange
from core.keyring import Keyring
from core.keys import mint
from core.platform import Platform
from hub.answers import refused
from hub.api import auth as routes
from hub.api.call import Shared
from hub.api.dispatch import Api
from hub.api.routing import PREFIX, routes_of
from hub.authentication import ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE, Authenticator
from hub.places import Places
from hub.sessions import SESSIONS, Sessions
from schemas.v1.fields import stamp
from schemas.vocabulary import Scope
from tests.answered import note
from tests.fakes import FakeClock

SECRET = "a secret of thirty-two bytes, at least"
ADMIN = "the administrator's own key"
HUB = SYSTEM(DEFAULT_TENANT)


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: dict[str, Any]

    @property
    def data(self) -> Any:
        assert "data" in self.body, self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])

    @property
    def set_cookies(self) -> dict[str, Any]:
        """The cookies that the answer sets, with their attributes."""
        jar: SimpleCookie = SimpleCookie()
        for name, value in self.headers:
            if name == b"set-cookie":
                jar.load(value.decode())
        return dict(jar)


@dataclass
class Client:
    """Calls the auth routes in process."""

    platform: Platform
    api: Api
    sessions: Sessions
    jar: dict[str, str] = field(default_factory=dict)
    """The cookies that a browser would send."""

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str | None = None,
        csrf: str | None = None,
        headers: Mapping[str, str] | None = None,
        scheme: str = "https",
    ) -> Answer:
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        content = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            sent.append((b"content-type", b"application/json"))
        if bearer is not None:
            sent.append((b"authorization", f"Bearer {bearer}".encode()))
        if csrf is not None:
            sent.append((b"x-csrf-token", csrf.encode()))
        if self.jar:
            sent.append((b"cookie", "; ".join(f"{k}={v}" for k, v in self.jar.items()).encode()))
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": scheme,
            "path": PREFIX + path,
            "query_string": b"",
            "headers": sent,
            "client": ("192.0.2.1", 40_000),
            "state": {"request_id": "r"},
            SESSIONS: self.sessions,
        }
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        try:
            await self.api(scope, receive, send)
        except HubError as error:
            answer = Answer(*_first(refused(error, "r")))
            note(method, PREFIX + path, answer.status)
            return answer
        start, *rest = messages
        answer = Answer(
            start["status"], list(start["headers"]), json.loads(b"".join(m.get("body", b"") for m in rest))
        )
        note(method, PREFIX + path, answer.status)
        for name, cookie in answer.set_cookies.items():
            self.jar[name] = cookie.value
        return answer

    async def key(self, scope: Scope, owner: str = "alice") -> str:
        made = await self.platform.write(HUB, auth.create_key, auth.CreateKey(scope, owner_id=owner))
        assert made.api_key is not None
        return made.api_key

    async def tokens(self, key: str) -> Any:
        return (await self.ask("POST", "/auth/token", {"api_key": key})).data


def _first(told: tuple[int, list[tuple[bytes, bytes]], bytes]) -> tuple[int, list[tuple[bytes, bytes]], Any]:
    return told[0], told[1], json.loads(told[2])


@pytest.fixture
async def cookies() -> bool:
    """Whether the hub allows cookie sessions."""
    return False


@pytest.fixture
async def client(platform: Platform, cookies: bool) -> AsyncIterator[Client]:
    ring, url = Keyring(SECRET), "https://hub.example.com/cross"
    await platform.write(HUB, prepare, Prepare(ring, ADMIN))
    exchange = Exchange(platform, ring, url)
    guard = Authenticator(platform, exchange, cookies=cookies)
    places = Places("calls", 10, 10)
    api = Api(Shared(platform, places, places, guard.ended, asyncio.Event()), routes_of(routes), guard)
    yield Client(platform, api, Sessions(exchange, guard, public_url=url, cookies=cookies))
    await guard.close()


with_cookies = pytest.mark.parametrize("cookies", [True], ids=["cookies"])


# Tokens for programs


async def test_a_key_is_exchanged_for_tokens(client: Client, clock: FakeClock) -> None:
    answer = await client.ask("POST", "/auth/token", {"api_key": await client.key(Scope.AGENT)})
    assert answer.status == 200
    assert answer.data["scope"] == "agent"
    assert answer.data["tenant_id"] == str(DEFAULT_TENANT)
    assert answer.data["expires_at"] == stamp(clock.now() + timedelta(hours=1))
    assert answer.data["refresh_expires_at"] == stamp(clock.now() + timedelta(days=7))
    assert answer.data["refresh_token"].count(".") == 2
    assert answer.set_cookies == {}
    assert (b"cache-control", b"no-store") in answer.headers


async def test_the_original_spelling_is_taken(client: Client) -> None:
    answer = await client.ask("POST", "/auth/login", {"apiKey": ADMIN, "persistent_session": False})
    assert answer.data["scope"] == "admin"


async def test_a_wrong_key_gets_no_tokens(client: Client) -> None:
    for key in (mint(Scope.ADMIN), "short"):
        answer = await client.ask("POST", "/auth/token", {"api_key": key})
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert key not in json.dumps(answer.body)


async def test_guessing_keys_in_bodies_is_slowed_too(client: Client) -> None:
    asked = [await client.ask("POST", "/auth/token", {"api_key": mint(Scope.ADMIN)}) for _ in range(21)]
    assert [answer.status for answer in asked] == [401] * 20 + [429]
    assert any(name == b"retry-after" for name, _ in asked[-1].headers)
    assert (await client.ask("POST", "/auth/token", {"api_key": ADMIN})).status == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"api_key": 7}, {"api_key": None}, {"api_key": ADMIN, "tenant_id": "x"}, {"api_key": "x" * 600}],
)
async def test_a_wrong_body_is_told_without_repeating_the_key(client: Client, body: Any) -> None:
    answer = await client.ask("POST", "/auth/token", body)
    assert (answer.status, answer.code) == (422, "SCHEMA_VALIDATION_FAILED")
    assert ADMIN not in json.dumps(answer.body)
    assert "xxx" not in json.dumps(answer.body)


async def test_me_takes_keys_and_access_tokens(client: Client) -> None:
    key = await client.key(Scope.WORKER)
    by_key = await client.ask("GET", "/auth/me", bearer=key)
    by_token = await client.ask("GET", "/auth/me", bearer=(await client.tokens(key))["token"])
    assert by_key.data == by_token.data
    assert {name: by_key.data[name] for name in ("authenticated", "scope", "owner_type", "owner_id")} == {
        "authenticated": True,
        "scope": "worker",
        "owner_type": "user",
        "owner_id": "alice",
    }


async def test_me_takes_no_refresh_token(client: Client) -> None:
    granted = await client.tokens(ADMIN)
    assert (await client.ask("GET", "/auth/me", bearer=granted["refresh_token"])).status == 401
    assert (await client.ask("GET", "/auth/me")).status == 401


async def test_a_program_refreshes_by_bearer_and_gets_the_next_refresh_token(client: Client) -> None:
    granted = await client.tokens(ADMIN)
    renewed = await client.ask("POST", "/auth/refresh", bearer=granted["refresh_token"])
    assert renewed.status == 200
    assert renewed.data["refresh_token"] != granted["refresh_token"]
    assert (await client.ask("GET", "/auth/me", bearer=renewed.data["token"])).status == 200


async def test_a_refresh_token_that_comes_twice_ends_the_session(client: Client) -> None:
    granted = await client.tokens(ADMIN)
    renewed = await client.ask("POST", "/auth/refresh", bearer=granted["refresh_token"])
    assert (await client.ask("POST", "/auth/refresh", bearer=granted["refresh_token"])).status == 401
    assert (await client.ask("POST", "/auth/refresh", bearer=renewed.data["refresh_token"])).status == 401
    assert (await client.ask("GET", "/auth/me", bearer=renewed.data["token"])).status == 401


@pytest.mark.parametrize("kind", ["token", "key", "nothing", "nonsense"])
async def test_only_a_refresh_token_refreshes(client: Client, kind: str) -> None:
    granted = await client.tokens(ADMIN)
    sent = {"token": granted["token"], "key": ADMIN, "nothing": None, "nonsense": "eyJ.eyJ.x"}[kind]
    assert (await client.ask("POST", "/auth/refresh", bearer=sent)).status == 401


@pytest.mark.parametrize("kind", ["token", "refresh_token"])
async def test_logging_out_ends_every_token_of_the_session(client: Client, kind: str) -> None:
    granted, other = await client.tokens(ADMIN), await client.tokens(ADMIN)
    assert (await client.ask("POST", "/auth/logout", bearer=granted[kind])).data == {"logged_out": True}
    assert (await client.ask("GET", "/auth/me", bearer=granted["token"])).status == 401
    assert (await client.ask("POST", "/auth/refresh", bearer=granted["refresh_token"])).status == 401
    assert (await client.ask("GET", "/auth/me", bearer=other["token"])).status == 200
    assert (await client.ask("GET", "/auth/me", bearer=ADMIN)).status == 200


async def test_logging_out_needs_a_credential(client: Client) -> None:
    assert (await client.ask("POST", "/auth/logout")).status == 401
    assert (await client.ask("POST", "/auth/logout", bearer=mint(Scope.ADMIN))).status == 401
    assert (await client.ask("POST", "/auth/logout", bearer=ADMIN)).data == {"logged_out": True}


# Cookies for browsers


@with_cookies
async def test_a_browser_gets_its_session_in_cookies(client: Client) -> None:
    answer = await client.ask("POST", "/auth/login", {"api_key": ADMIN})
    assert "refresh_token" not in answer.data
    set_cookies = answer.set_cookies
    assert set(set_cookies) == {ACCESS_COOKIE, REFRESH_COOKIE, CSRF_COOKIE}
    assert {cookie["samesite"] for cookie in set_cookies.values()} == {"Strict"}
    assert all(cookie["secure"] for cookie in set_cookies.values())
    assert {name: bool(cookie["httponly"]) for name, cookie in set_cookies.items()} == {
        ACCESS_COOKIE: True,
        REFRESH_COOKIE: True,
        CSRF_COOKIE: False,
    }
    assert set_cookies[ACCESS_COOKIE]["path"] == set_cookies[CSRF_COOKIE]["path"] == "/cross/"
    assert set_cookies[REFRESH_COOKIE]["path"] == "/cross/api/v1/auth"
    assert set_cookies[ACCESS_COOKIE]["max-age"] == "3600"
    assert set_cookies[REFRESH_COOKIE]["max-age"] == "604800"


@with_cookies
async def test_a_session_that_does_not_persist_ends_with_the_window_even_after_a_refresh(
    client: Client,
) -> None:
    body = {"api_key": ADMIN, "persistent_session": False}
    answer = await client.ask("POST", "/auth/login", body)
    assert {cookie["max-age"] for cookie in answer.set_cookies.values()} == {""}
    answer = await client.ask("POST", "/auth/refresh", csrf=client.jar[CSRF_COOKIE])
    assert {cookie["max-age"] for cookie in answer.set_cookies.values()} == {""}


@with_cookies
async def test_a_browsers_session_reads_refreshes_and_ends(client: Client) -> None:
    await client.ask("POST", "/auth/login", {"api_key": ADMIN})
    first = dict(client.jar)
    assert (await client.ask("GET", "/auth/me")).data["scope"] == "admin"
    renewed = await client.ask("POST", "/auth/refresh", csrf=first[CSRF_COOKIE])
    assert renewed.status == 200
    assert "refresh_token" not in renewed.data
    assert client.jar[ACCESS_COOKIE] != first[ACCESS_COOKIE]
    gone = await client.ask("POST", "/auth/logout", csrf=client.jar[CSRF_COOKIE])
    assert gone.data == {"logged_out": True}
    assert {cookie["max-age"] for cookie in gone.set_cookies.values()} == {"0"}
    client.jar = first
    assert (await client.ask("GET", "/auth/me")).status == 401


@with_cookies
@pytest.mark.parametrize("path", ["/auth/refresh", "/auth/logout"])
async def test_cookies_alone_neither_refresh_nor_log_out(client: Client, path: str) -> None:
    """Another site's form sends cookies, and cannot read the token."""
    await client.ask("POST", "/auth/login", {"api_key": ADMIN})
    for csrf in (None, "guessed", client.jar[REFRESH_COOKIE]):
        answer = await client.ask("POST", path, csrf=csrf)
        assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert (await client.ask("GET", "/auth/me")).status == 200
    assert (await client.ask("POST", path, csrf=client.jar[CSRF_COOKIE])).status == 200


@with_cookies
async def test_cookies_alone_change_nothing_elsewhere(client: Client) -> None:
    await client.ask("POST", "/auth/login", {"api_key": ADMIN})
    body = {"scope": "service"}
    assert (await client.ask("POST", "/api-keys", body)).status == 403
    assert (await client.ask("POST", "/api-keys", body, csrf=client.jar[CSRF_COOKIE])).status == 201


async def test_a_hub_without_cookie_sessions_ignores_cookies(client: Client) -> None:
    granted = await client.tokens(ADMIN)
    client.jar = {ACCESS_COOKIE: granted["token"], REFRESH_COOKIE: granted["refresh_token"]}
    assert (await client.ask("GET", "/auth/me")).status == 401
    assert (await client.ask("POST", "/auth/refresh")).status == 401


# Keys


async def test_an_admin_mints_a_key_that_works(client: Client) -> None:
    body = {"scope": "agent", "owner_type": "user", "owner_id": "ci", "label": "CI"}
    made = await client.ask("POST", "/api-keys", body, bearer=ADMIN)
    assert made.status == 201
    assert made.data["api_key"].startswith(made.data["key_prefix"])
    me = await client.ask("GET", "/auth/me", bearer=made.data["api_key"])
    assert (me.data["scope"], me.data["owner_id"]) == ("agent", "ci")
    assert me.data["key_id"] == made.data["id"]


async def test_a_replayed_mint_makes_one_key_and_shows_it_once(client: Client) -> None:
    body = {"scope": "service", "request_id": "once"}
    made = await client.ask("POST", "/api-keys", body, bearer=ADMIN)
    again = await client.ask("POST", "/api-keys", body, bearer=ADMIN)
    assert "api_key" in made.data
    assert again.data == {name: value for name, value in made.data.items() if name != "api_key"}
    assert (b"idempotency-replayed", b"true") in again.headers


@pytest.mark.parametrize("scope", [Scope.AGENT, Scope.WORKER, Scope.SERVICE])
async def test_nobody_but_an_admin_mints_or_revokes_over_the_api(client: Client, scope: Scope) -> None:
    key = await client.key(scope)
    listed = (await client.ask("GET", "/api-keys", bearer=ADMIN)).data
    body = {"scope": "agent", "owner_id": "eve"}
    assert (await client.ask("POST", "/api-keys", body, bearer=key)).status == 403
    for record in listed:
        assert (await client.ask("DELETE", f"/api-keys/{record['id']}", bearer=key)).status == 403
    assert (await client.ask("GET", "/api-keys", bearer=key)).status == (200 if scope.operator else 403)


async def test_a_token_has_no_more_rights_than_its_key(client: Client) -> None:
    granted = await client.tokens(await client.key(Scope.SERVICE))
    body = {"scope": "agent", "owner_id": "eve"}
    assert (await client.ask("POST", "/api-keys", body, bearer=granted["token"])).status == 403


async def test_a_list_shows_no_secret(client: Client) -> None:
    key = await client.key(Scope.AGENT)
    answer = await client.ask("GET", "/api-keys", bearer=ADMIN)
    assert answer.body["meta"]["total"] == 2
    newest = answer.data[0]
    assert (newest["scope"], newest["owner_id"], newest["is_revoked"]) == ("agent", "alice", False)
    assert not {"api_key", "lookup_hash", "pepper_id"} & set(newest)
    assert key not in json.dumps(answer.body)


async def test_a_revoked_key_and_its_tokens_end_at_once(client: Client) -> None:
    key = await client.key(Scope.AGENT)
    granted = await client.tokens(key)
    key_id = (await client.ask("GET", "/auth/me", bearer=key)).data["key_id"]
    await client.ask("GET", "/auth/me", bearer=granted["token"])
    for _ in range(2):
        answer = await client.ask("DELETE", f"/api-keys/{key_id}", bearer=ADMIN)
        assert answer.data == {"id": key_id, "revoked": True}
    assert (await client.ask("GET", "/auth/me", bearer=key)).status == 401
    assert (await client.ask("GET", "/auth/me", bearer=granted["token"])).status == 401
    assert (await client.ask("POST", "/auth/refresh", bearer=granted["refresh_token"])).status == 401


async def test_a_missing_key_is_not_found(client: Client) -> None:
    answer = await client.ask("DELETE", f"/api-keys/{DEFAULT_TENANT}", bearer=ADMIN)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scope": "root"},
        {"scope": "agent"},
        {"scope": "agent", "owner_id": ""},
        {"scope": "admin", "owner_type": "agent"},
        {"scope": "service", "expires_at": "2001-01-01T00:00:00Z"},
        {"scope": "service", "expires_at": "2100-01-01T00:00:00"},
        {"scope": "service", "label": "x" * 256},
        {"scope": "service", "tenant_id": str(DEFAULT_TENANT)},
    ],
    ids=str,
)
async def test_a_key_that_cannot_be_is_refused(client: Client, body: Any) -> None:
    answer = await client.ask("POST", "/api-keys", body, bearer=ADMIN)
    assert (answer.status, answer.code) == (422, "SCHEMA_VALIDATION_FAILED")
    assert answer.body["error"]["details"]["issues"]["fieldErrors"]
