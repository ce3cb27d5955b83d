"""MCP servers that want OAuth, over REST: let in by a browser, a device, a secret; seen, ended."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import aiohttp
import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.adapters.mcp.oauth.fake_authorization_server import FakeAuthorizationServer
from tests.hub.api.hub import UNLIKELY, Answer, Hub, running

SERVERS = "/remote-mcp-servers"
PROFILES = "/remote-mcp-oauth-client-profiles"
SECRET = "a secret that nobody reads back"


@pytest.fixture
async def server() -> AsyncIterator[FakeAuthorizationServer]:
    """An MCP server that wants OAuth, and its authorization server."""
    server = FakeAuthorizationServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub that may call loopback."""
    async with running(open_store(database_url), outbound_allow=("127.0.0.1",)) as hub:
        yield hub


async def consented(hub: Hub, begun: dict[str, Any]) -> Answer:
    """Open the address as a browser does, and follow it to the hub."""
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(begun["authorize_url"], allow_redirects=False) as answer,
    ):
        location = answer.headers["Location"]
    assert location.startswith("http://127.0.0.1:8080/api/v1/oauth/callback?")
    return await hub.send("GET", location.removeprefix("http://127.0.0.1:8080"), key=None)


async def begun(hub: Hub, server: FakeAuthorizationServer, **more: Any) -> dict[str, Any]:
    """Register the server."""
    body = {"name": "Guarded", "endpoint_url": server.endpoint, **more}
    made: dict[str, Any] = (await hub.post(f"{SERVERS}/oauth/authorize", body)).data
    return made


async def status(hub: Hub, server_id: str) -> dict[str, Any]:
    """Whether the hub is let in."""
    found: dict[str, Any] = (await hub.get(f"{SERVERS}/{server_id}/oauth")).data
    return found


async def record(hub: Hub, server_id: str) -> dict[str, Any]:
    """The server."""
    found: dict[str, Any] = (await hub.get(f"{SERVERS}/{server_id}")).data
    return found


async def test_a_server_is_verified_once_somebody_has_let_the_hub_in(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    assert (made["kind"], made["state"]) == ("browser", "waiting")
    draft = await record(hub, made["server_id"])
    assert (draft["verification_status"], draft["auth_mode"]) == ("unknown", "oauth")
    page = await consented(hub, made)
    assert (page.status, page.headers["referrer-policy"]) == (200, "no-referrer")
    verified = await record(hub, made["server_id"])
    assert (verified["verification_status"], verified["health"]) == ("verified", "ok")
    assert [tool["original_name"] for tool in verified["discovered_tools_snapshot"]] == ["look"]
    seen = await status(hub, made["server_id"])
    assert (seen["oauth_connected"], seen["issuer"], seen["scope"]) == (True, server.url, "read")
    assert seen["flow"]["state"] == "completed"


async def test_the_page_after_consent_repeats_nothing_and_is_good_once(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    bad = {"state": "<script>alert(1)</script>", "code": "x", "error_description": "<b>"}
    for query in (urlencode(bad), "", "state=a&state=b&code=c", "state=" + "x" * 5000):
        page = await hub.send("GET", f"/api/v1/oauth/callback?{query}", key=None)
        assert (page.status, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
        assert b"script" not in page.body.replace(b"style", b"")
        assert page.headers["cache-control"] == "no-store"
    assert (await hub.send("POST", "/api/v1/oauth/callback", key=None, json={})).status == 405
    assert (await consented(hub, made)).status == 200
    again = await hub.send("GET", "/api/v1/oauth/callback?state=used&code=x", key=None)
    assert again.status == 400


async def test_a_list_that_ends_in_a_401_is_repeated_with_a_new_token(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    await consented(hub, made)
    server.lists_fail, server.tool = 1, "other"
    again = (await hub.post(f"{SERVERS}/{made['server_id']}/reverify")).data
    assert (again["verification_status"], again["health"]) == ("verified", "ok")
    assert server.refresh_calls == 1
    names = {tool["original_name"] for tool in again["discovered_tools_snapshot"]}
    assert "other" in names


async def test_a_list_that_ends_in_401s_keeps_the_snapshot_and_asks_for_somebody(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    await consented(hub, made)
    server.lists_fail = 5
    again = (await hub.post(f"{SERVERS}/{made['server_id']}/reverify")).data
    assert (again["verification_status"], again["health"]) == ("verified", "needs_reauth")
    assert [tool["original_name"] for tool in again["discovered_tools_snapshot"]] == ["look"]
    seen = await status(hub, made["server_id"])
    assert (seen["oauth_connected"], seen["oauth_needs_reauth"]) == (False, True)
    server.lists_fail = 0
    more = (await hub.post(f"{SERVERS}/{made['server_id']}/oauth/reconnect")).data
    assert (await consented(hub, more)).status == 200
    assert (await record(hub, made["server_id"]))["health"] == "ok"


async def test_a_refresh_token_that_has_ended_is_a_matter_of_health(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    await consented(hub, made)
    server.end_everything()
    again = (await hub.post(f"{SERVERS}/{made['server_id']}/reverify")).data
    assert (again["verification_status"], again["health"]) == ("verified", "needs_reauth")
    assert again["oauth_needs_reauth"] is True
    assert again["discovered_tool_count"] == 1


async def test_a_machine_is_let_in_at_once_and_its_secret_is_nowhere(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    server.clients["machine"] = {"client_secret": SECRET}
    definition = {"grant_type": "client_credentials", "client_id": "machine", "client_secret": SECRET}
    body = {"name": "Guarded", "endpoint_url": server.endpoint, "oauth_definition": definition}
    answer = await hub.post(f"{SERVERS}/oauth/authorize", {**body, "request_id": "r1"})
    assert answer.data["kind"] == "completed"
    server_id = answer.data["server_id"]
    assert (await record(hub, server_id))["verification_status"] == "verified"
    seen = await hub.get(f"{SERVERS}/{server_id}/oauth")
    assert seen.data["oauth_definition"]["has_client_secret"] is True
    events = await hub.get("/events?per_page=100")
    for said in (answer, seen, events):
        assert SECRET.encode() not in said.body
    repeated = await hub.post(f"{SERVERS}/oauth/authorize", {**body, "request_id": "r1"})
    assert repeated.data["server_id"] == server_id


async def test_a_device_is_polled(hub: Hub, server: FakeAuthorizationServer) -> None:
    made = await begun(hub, server, oauth_definition={"grant_type": "device_authorization"})
    assert (made["kind"], made["user_code"], made["interval_seconds"]) == ("device", "ABCD-EFGH", 5)
    path = f"{SERVERS}/oauth/device/{made['device_flow_id']}/poll"
    assert (await hub.post(path)).data["kind"] == "device"
    key = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    assert (await hub.post(path, key=key)).status == 404
    assert (await hub.post(f"{SERVERS}/oauth/device/{UNLIKELY}/poll")).status == 404


async def test_where_a_loopback_browser_ended_is_handed_over_by_its_own_tenant(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server, oauth_definition={"callback_mode": "loopback"})
    async with (
        aiohttp.ClientSession() as browser,
        browser.get(made["authorize_url"], allow_redirects=False) as answer,
    ):
        location = answer.headers["Location"]
    assert location.startswith("http://localhost:1455/auth/callback?")
    foreign = await hub.key(Scope.ADMIN, tenant_id=uuid4())
    path = f"{SERVERS}/oauth/callback"
    assert (await hub.post(path, {"callback_url": location}, key=foreign)).status == 404
    assert (await hub.post(path, {"callback_url": location})).data["kind"] == "completed"
    assert (await hub.post(path, {"callback_url": location})).status == 404
    assert (await hub.post(path, {"callback_url": "http://localhost:1455/"})).status == 400


async def test_what_cannot_be_authorized_leaves_no_draft(hub: Hub, server: FakeAuthorizationServer) -> None:
    server.pkce = False
    body = {"name": "Guarded", "endpoint_url": server.endpoint}
    answer = await hub.post(f"{SERVERS}/oauth/authorize", body)
    assert (answer.status, answer.reason) == (400, "authorization_failed")
    assert "PKCE" in answer.json["error"]["message"]
    assert (await hub.get(SERVERS)).json["meta"]["total"] == 0
    private = await hub.post(f"{SERVERS}/oauth/authorize", {**body, "endpoint_url": "http://10.0.0.1/mcp"})
    assert (private.status, private.reason) == (400, "authorization_failed")
    assert (await hub.get(SERVERS)).json["meta"]["total"] == 0


async def test_disconnecting_ends_it_and_removing_forgets_it(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    made = await begun(hub, server)
    await consented(hub, made)
    path = f"{SERVERS}/{made['server_id']}"
    assert (await hub.post(f"{path}/oauth/disconnect")).status == 204
    assert len(server.sent("/revoke")) == 2
    assert (await status(hub, made["server_id"]))["state"] == "disconnected"
    assert (await record(hub, made["server_id"]))["verification_status"] == "unknown"
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(f"{path}/oauth")).status == 404


async def test_a_token_is_never_sent_to_another_address(hub: Hub, server: FakeAuthorizationServer) -> None:
    made = await begun(hub, server)
    await consented(hub, made)
    thief = FakeAuthorizationServer()
    await thief.start()
    try:
        path = f"/api/v1{SERVERS}/{made['server_id']}"
        answer = await hub.send("PATCH", path, json={"endpoint_url": thief.endpoint})
        assert (answer.status, answer.reason) == (400, "verification_failed")
        assert all("Authorization" not in sent["_headers"] for sent in thief.sent("/mcp"))
    finally:
        await thief.stop()


async def test_profiles_are_made_used_changed_and_kept_while_they_are_used(
    hub: Hub, server: FakeAuthorizationServer
) -> None:
    server.clients["given"] = {"client_secret": SECRET}
    body = {
        "name": "Login",
        "issuer": server.url,
        "authorization_endpoint": f"{server.url}/authorize",
        "token_endpoint": f"{server.url}/token",
        "client_id": "given",
        "client_secret": SECRET,
        "token_endpoint_auth_method": "client_secret_basic",
        "default_scopes": ["read"],
    }
    answer = await hub.post(PROFILES, body)
    assert answer.status == 201
    profile = answer.data
    assert (profile["has_client_secret"], profile["linked_server_count"]) == (True, 0)
    assert (await hub.post(PROFILES, body)).status == 409
    made = await begun(hub, server, oauth_client_profile_id=profile["id"])
    assert (await consented(hub, made)).status == 200
    assert server.sent("/register") == []
    path = f"{PROFILES}/{profile['id']}"
    assert (await hub.get(path)).data["linked_server_count"] == 1
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 409
    elsewhere = {**body, "token_endpoint": "https://other.example/token"}
    del elsewhere["client_secret"]
    refused = await hub.send("PUT", f"/api/v1{path}", json=elsewhere)
    assert (refused.status, refused.reason) == (400, "secret_needed")
    renamed = {**body, "name": "Renamed", "default_scopes": ["read", "write"]}
    del renamed["client_secret"]
    changed = await hub.send("PUT", f"/api/v1{path}", json=renamed)
    assert changed.data["name"] == "Renamed"
    assert (await status(hub, made["server_id"]))["state"] == "disconnected"
    listed = await hub.get(PROFILES)
    assert (listed.json["meta"]["total"], SECRET.encode() in listed.body) == (1, False)
    await hub.send("DELETE", f"/api/v1{SERVERS}/{made['server_id']}")
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204


async def test_the_hub_publishes_who_it_is(hub: Hub) -> None:
    answer = await hub.send("GET", "/.well-known/oauth/mcp-client.json", key=None)
    told = answer.json
    assert told["client_id"] == "http://127.0.0.1:8080/.well-known/oauth/mcp-client.json"
    assert "http://127.0.0.1:8080/api/v1/oauth/callback" in told["redirect_uris"]


async def test_operators_alone_let_the_hub_in(hub: Hub, server: FakeAuthorizationServer) -> None:
    key = await hub.key(Scope.AGENT)
    body = {"name": "Guarded", "endpoint_url": server.endpoint}
    assert (await hub.post(f"{SERVERS}/oauth/authorize", body, key=key)).status == 403
    assert (await hub.post(PROFILES, {}, key=key)).status == 403
    assert server.asked == []
