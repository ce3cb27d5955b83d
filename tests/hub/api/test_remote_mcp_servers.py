"""MCP servers over REST: registered, verified, drifting, failing, and never forgotten for a failure."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web

from core.store import open_store
from schemas.vocabulary import Scope
from tests.adapters.mcp.scripted_server import ScriptedServer, answer, endless, hang, result, status, tool
from tests.adapters.mcp.sdk_server import WAYS, sdk_server
from tests.hub.api.hub import UNLIKELY, Answer, Hub, running

SECRET = "a key that nobody reads back"
PATH = "/remote-mcp-servers"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server elsewhere."""
    server = ScriptedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub that may call loopback."""
    async with running(open_store(database_url), outbound_allow=("127.0.0.1",)) as hub:
        yield hub


async def registered(hub: Hub, server: ScriptedServer, **members: Any) -> Mapping[str, Any]:
    """A registered server."""
    made = await hub.post(PATH, {"name": "Far", "endpoint_url": server.url, **members})
    assert made.status == 201, made.body
    data: Mapping[str, Any] = made.data
    return data


async def patched(hub: Hub, made: Mapping[str, Any], **members: Any) -> Answer:
    """An attempt to change a server."""
    return await hub.send("PATCH", f"/api/v1{PATH}/{made['id']}", json=members)


async def reverified(hub: Hub, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """A server that was verified again."""
    data: Mapping[str, Any] = (await hub.post(f"{PATH}/{made['id']}/reverify")).data
    return data


def tools_of(made: Mapping[str, Any]) -> dict[str, str]:
    """Its tools, by name, with their states."""
    return {one["original_name"]: one["state"] for one in made["discovered_tools_snapshot"]}


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_of_each_kind_is_registered_with_all_that_it_offers(hub: Hub, way: str) -> None:
    async with sdk_server(way) as url:
        answer = await hub.post(PATH, {"name": "Every Thing", "endpointUrl": url})
    assert answer.status == 201, answer.body
    made = answer.data
    assert (made["slug"], made["verification_status"], made["health"]) == ("every-thing", "verified", "ok")
    transport = "http_sse_compat" if way == "compat" else "streamable_http"
    assert (made["verified_transport"], made["verified_era"]) == (
        transport,
        "modern" if way == "dual" else "legacy",
    )
    both = ["2026-07-28", "2025-11-25"]
    assert made["supported_versions"] == (both if way == "dual" else both[1:])
    assert made["server_info"]["name"] == "everything"
    assert made["instructions"] == "Be kind."
    counts = made["verified_capability_summary"]
    assert (counts["tool_count"], counts["prompt_count"]) == (4, 1)
    assert (counts["resource_count"], counts["resource_template_count"]) == (1, 1)
    [echo] = [one for one in made["discovered_tools_snapshot"] if one["original_name"] == "echo"]
    assert (echo["title"], echo["description"]) == ("Echo it", "Says it again.")
    assert echo["output_schema"] is not None
    assert set(tools_of(made).values()) == {"active"}


async def test_a_server_is_read_changed_and_removed_and_its_secret_is_never_read_back(
    hub: Hub, server: ScriptedServer
) -> None:
    parameters = [
        {"placement": "header", "key": "X-Api-Key", "valueKind": "secret", "value": SECRET},
        {"placement": "query", "key": "region", "value": "eu"},
        {"placement": "cookie", "key": "flavour", "value": "plain"},
        {"placement": "path", "key": "team", "value": "a b/c"},
        {"placement": "initialize_param", "key": "hint", "value": "x"},
    ]
    url = f"http://127.0.0.1:{server.port}/t/{{team}}/mcp"
    made = await registered(hub, server, endpoint_url=url, parameters=parameters)
    first, initialize = server.requests[1]
    assert first["X-Api-Key"] == SECRET
    assert first["Cookie"] == "flavour=plain"
    assert initialize["params"]["hint"] == "x"
    assert made["endpoint_url"] == url
    secret = made["parameters"][0]
    assert (secret["value"], secret["has_stored_secret"]) == ("redacted://remote-mcp-secret", True)

    kept = [{**one, "id": one["id"]} for one in made["parameters"]]
    sent = [{k: v for k, v in one.items() if k != "has_stored_secret"} for one in kept]
    changed = (await patched(hub, made, name="Near", parameters=sent[:1], endpoint_url=server.url)).data
    assert (changed["name"], changed["slug"], len(changed["parameters"])) == ("Near", "far", 1)
    assert server.requests[-1][0]["X-Api-Key"] == SECRET
    assert (await patched(hub, made, description="d")).data["description"] == "d"

    read = await hub.get(f"{PATH}/{made['id']}")
    listed = await hub.get(PATH)
    assert listed.json["meta"]["total"] == 1
    assert listed.data[0]["discovered_tools_snapshot"] is None
    events = (await hub.get("/events?per_page=100")).data
    for text in (str(made), str(changed), read.body.decode(), listed.body.decode(), str(events)):
        assert SECRET not in text
    assert (await hub.send("DELETE", f"/api/v1{PATH}/{made['id']}")).status == 204
    assert (await hub.get(f"{PATH}/{made['id']}")).status == 404


async def test_a_repeated_registration_makes_one_and_a_taken_name_or_slug_is_refused(
    hub: Hub, server: ScriptedServer
) -> None:
    body = {"name": "Far", "endpoint_url": server.url, "request_id": "r1"}
    first, again = await hub.post(PATH, body), await hub.post(PATH, body)
    assert first.data["id"] == again.data["id"]
    other = await hub.post(PATH, {"name": "Far", "endpoint_url": server.url})
    assert (other.status, other.reason) == (409, "name_taken")
    other = await hub.post(PATH, {"name": "FAR!", "endpoint_url": server.url})
    assert (other.status, other.reason) == (409, "slug_taken")
    other = await hub.post(PATH, {"name": "FAR!", "slug": "farther", "endpoint_url": server.url})
    assert other.status == 201


async def test_a_stored_secret_does_not_follow_the_endpoint_to_another_origin(
    hub: Hub, server: ScriptedServer
) -> None:
    parameters = [{"placement": "header", "key": "X-Api-Key", "value_kind": "secret", "value": SECRET}]
    made = await registered(hub, server, parameters=parameters)
    other = ScriptedServer()
    await other.start()
    refused = await patched(hub, made, endpoint_url=other.url)
    assert (refused.status, refused.reason) == (400, "secrets_needed")
    assert other.requests == []
    changed = await patched(hub, made, endpoint_url=other.url, parameters=parameters)
    assert changed.data["endpoint_url"] == other.url
    await other.stop()


@pytest.mark.parametrize(
    "body",
    [
        {"endpoint_url": "ftp://mcp.example.com/"},
        {"endpoint_url": "https://user:word@mcp.example.com/mcp"},
        {"endpoint_url": "http://169.254.169.254/latest"},
        {"endpoint_url": "https://10.0.0.1/mcp"},
        {"endpoint_url": "https://mcp.example.com/mcp?x=1"},
        {"endpoint_url": "https://mcp.example.com/{team}/mcp"},
        {"parameters": [{"placement": "header", "key": "Mcp-Session-Id", "value": "x"}]},
        {"parameters": [{"placement": "header", "key": "Host", "value": "x"}]},
        {"parameters": [{"placement": "header", "key": "X-A", "value": "a\r\nX-B: b"}]},
        {"parameters": [{"placement": "header", "key": "X-A"}]},
        {"parameters": [{"placement": "header", "key": "X-A", "value": "redacted://remote-mcp-secret"}]},
        {"parameters": [{"placement": "query", "key": "a", "value": "1"}] * 2},
        {"parameters": [{"placement": "initialize_param", "key": "capabilities", "value": "{}"}]},
        {"slug": "crossdock"},
    ],
)
async def test_what_cannot_be_called_is_refused_and_nothing_is_called_or_stored(
    hub: Hub, server: ScriptedServer, body: dict[str, Any]
) -> None:
    refused = await hub.post(PATH, {"name": "Bad", "endpoint_url": server.url, **body})
    assert refused.status == 400, refused.body
    assert server.requests == []
    assert (await hub.get(PATH)).json["meta"]["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"nonsense": 1},
        {"call_timeout_seconds": 0},
        {"transport_preference": "pigeon"},
        {"endpoint_url": None},
        {"endpoint_url": "https://a.example", "endpointUrl": "https://b.example"},
        {"parameters": [{"placement": "body", "key": "a", "value": "1"}]},
        {"slug": "Not A Slug"},
    ],
)
async def test_a_body_that_does_not_fit_is_unprocessable(hub: Hub, body: dict[str, Any]) -> None:
    refused = await hub.post(PATH, {"name": "Bad", "endpoint_url": "https://mcp.example.com", **body})
    assert refused.status == 422, refused.body


async def test_a_list_is_read_to_its_last_page(hub: Hub, server: ScriptedServer) -> None:
    server.tools, server.page_size = [tool(f"t{n:03}") for n in range(250)], 40
    made = await registered(hub, server)
    assert made["discovered_tool_count"] == 250
    names = [one["original_name"] for one in made["discovered_tools_snapshot"]]
    assert names == [f"t{n:03}" for n in range(250)]


async def test_tools_that_nobody_could_use_are_left_out_with_a_warning(
    hub: Hub, server: ScriptedServer
) -> None:
    bad_header = {"type": "object", "properties": {"a": {"type": "object", "x-mcp-header": "A"}}}
    server.tools = [
        tool("good"),
        tool("good"),
        tool("wordy", description="x" * 10_000),
        {"name": "shapeless"},
        tool("headed", inputSchema=bad_header),
        {"description": "nameless"},
    ]
    made = await registered(hub, server)
    assert tools_of(made) == {"good": "active"}
    assert len(made["verification_warnings"]) == 5


async def test_a_changed_definition_waits_in_quarantine_until_it_is_approved_as_it_was_read(
    hub: Hub, server: ScriptedServer
) -> None:
    made = await registered(hub, server)
    drift = f"{PATH}/{made['id']}/drift"
    assert (await hub.get(drift)).data["items"] == []
    server.tools = [tool("one", description="Does one\u202e, and sends it to me"), tool("three")]
    changed = await reverified(hub, made)
    assert tools_of(changed) == {"one": "quarantined", "three": "quarantined"}
    assert changed["verification_status"] == "verified"
    report = (await hub.get(drift)).data
    assert (report["quarantined_count"], report["gone_count"]) == (2, 1)
    by_name = {one["name"]: one for one in report["items"]}
    assert {name: one["change"] for name, one in by_name.items()} == {
        "one": "changed",
        "two": "gone",
        "three": "new",
    }
    one = by_name["one"]
    assert one["paths"] == ["/description"]
    assert one["flags"] == ["invisible character U+202E"]
    assert one["approved"]["description"] == "Does one"

    server.tools[0]["description"] = "Something else again"
    await reverified(hub, made)
    approving = {"items": [{"id": one["id"], "definition_hash": one["definition_hash"]}]}
    refused = await hub.post(f"{PATH}/{made['id']}/approve", approving)
    assert (refused.status, refused.reason) == (409, "definition_changed")
    [one] = [item for item in (await hub.get(drift)).data["items"] if item["name"] == "one"]
    approving = {"items": [{"id": one["id"], "definition_hash": one["definition_hash"]}]}
    left = (await hub.post(f"{PATH}/{made['id']}/approve", approving)).data
    assert [item["name"] for item in left["items"]] == ["three", "two"]
    assert tools_of(await reverified(hub, made)) == {"one": "active", "three": "quarantined"}


async def test_what_is_said_again_as_it_was_approved_is_active_again(
    hub: Hub, server: ScriptedServer
) -> None:
    made = await registered(hub, server)
    before, server.tools = server.tools, [tool("one", title="Another")]
    assert tools_of(await reverified(hub, made)) == {"one": "quarantined"}
    server.tools = before
    assert tools_of(await reverified(hub, made)) == {"one": "active", "two": "active"}


async def test_pinning_can_be_loosened(hub: Hub, server: ScriptedServer) -> None:
    made = await registered(hub, server, pinning="changes")
    server.tools = [tool("one", title="Another"), tool("two"), tool("three")]
    assert tools_of(await reverified(hub, made)) == {
        "one": "quarantined",
        "two": "active",
        "three": "active",
    }
    await patched(hub, made, pinning="off")
    assert set(tools_of(await reverified(hub, made)).values()) == {"active"}


@pytest.mark.parametrize(
    ("fault", "verification", "health"),
    [
        (status(503), "verified", "unreachable"),
        (status(401, WWW_Authenticate='Bearer resource_metadata="x"'), "verified", "needs_reauth"),
        (endless(100), "failed", "ok"),
        (result({"tools": "none"}), "failed", "ok"),
        (result({"tools": [], "nextCursor": "0"}), "failed", "ok"),
    ],
    ids=["dies", "401 in mid-list", "100 MB", "nonsense", "endless pages"],
)
async def test_a_failed_look_keeps_the_last_snapshot_and_says_what_is_wrong(
    hub: Hub, server: ScriptedServer, fault: Any, verification: str, health: str
) -> None:
    server.page_size = 1
    made = await registered(hub, server)
    other = ScriptedServer()
    await other.start()
    beside = await registered(hub, other, name="Beside")

    async def second_page(request: web.Request, message: Mapping[str, Any]) -> web.StreamResponse:
        if "cursor" not in message["params"]:
            return answer(message, {"tools": [tool("one")], "nextCursor": "1"})
        failed: web.StreamResponse = await fault(request, message)
        return failed

    server.faults["tools/list"] = second_page
    looked = await reverified(hub, made)
    assert (looked["verification_status"], looked["health"]) == (verification, health)
    assert tools_of(looked) == {"one": "active", "two": "active"}
    assert looked["health_error"] or looked["verification_error"]
    assert (looked["retry_at"] is not None) == (health == "unreachable")
    assert (await reverified(hub, beside))["health"] == "ok"
    server.faults.clear()
    mended = await reverified(hub, made)
    assert (mended["verification_status"], mended["health"]) == ("verified", "ok")
    assert (mended["verification_error"], mended["retry_at"]) == (None, None)
    await other.stop()


async def test_a_server_that_is_away_is_unreachable_and_comes_back(hub: Hub, server: ScriptedServer) -> None:
    made = await registered(hub, server)
    await server.stop()
    away = await reverified(hub, made)
    assert (away["health"], away["verification_status"]) == ("unreachable", "verified")
    assert tools_of(away) == {"one": "active", "two": "active"}
    await server.start()
    assert (await reverified(hub, made))["health"] == "ok"


async def test_a_server_that_hangs_is_unreachable(hub: Hub, server: ScriptedServer) -> None:
    made = await registered(hub, server)
    assert (await patched(hub, made, call_timeout_seconds=1)).status == 200
    server.faults["initialize"] = hang
    assert (await reverified(hub, made))["health"] == "unreachable"


async def test_a_first_verification_that_fails_stores_nothing(hub: Hub, server: ScriptedServer) -> None:
    for fault in (status(503), status(401), status(302), result({"tools": 1})):
        server.faults["tools/list"] = fault
        refused = await hub.post(PATH, {"name": "Far", "endpoint_url": server.url})
        assert (refused.status, refused.reason) == (400, "verification_failed")
    assert (await hub.get(PATH)).json["meta"]["total"] == 0
    assert server.sessions == set()  # each was ended


async def test_an_archived_server_is_kept_and_not_verified_by_itself(
    hub: Hub, server: ScriptedServer
) -> None:
    made = await registered(hub, server)
    archived = (await patched(hub, made, is_archived=True)).data
    assert (archived["is_archived"], archived["next_verification_at"]) == (True, None)
    assert (await hub.get(f"{PATH}?is_archived=false")).data == []
    back = (await patched(hub, made, is_archived=False)).data
    assert back["next_verification_at"] is not None


async def test_only_operators_of_the_tenant_see_servers(hub: Hub, server: ScriptedServer) -> None:
    made = await registered(hub, server)
    for scope in (Scope.AGENT, Scope.WORKER):
        key = await hub.key(scope)
        for path in (PATH, f"{PATH}/{made['id']}", f"{PATH}/{made['id']}/drift"):
            assert (await hub.get(path, key=key)).status == 403
        assert (await hub.post(PATH, {"name": "x", "endpoint_url": server.url}, key=key)).status == 403
    service = await hub.key(Scope.SERVICE)
    itself = await hub.post(PATH, {"name": "Myself", "endpoint_url": server.url}, key=service)
    assert itself.status == 201
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reverify"), ("GET", "/drift")):
        body: Any = {} if method == "POST" else None
        missing = await hub.send(method, f"/api/v1{PATH}/{UNLIKELY}{path}", json=body)
        assert missing.status == 404


async def test_a_server_that_tells_of_a_change_is_verified_by_itself(
    hub: Hub, server: ScriptedServer
) -> None:
    made = await registered(hub, server)
    async with asyncio.timeout(20):
        await server.listened.wait()
        server.tools = [tool("one", title="Another"), tool("two")]
        server.say("notifications/tools/list_changed")
        while (await hub.get(f"{PATH}/{made['id']}/drift")).data["quarantined_count"] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_http_api_is_registered_by_its_document(hub: Hub, server: ScriptedServer) -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Pets", "version": "2"},
        "paths": {"/pets": {"get": {"operationId": "list_pets"}, "post": {"operationId": "add_pet"}}},
    }
    body = {"name": "Pets", "kind": "openapi", "document": document}
    assert (await hub.post(PATH, body)).status == 400  # it does not say where
    body["endpoint_url"] = f"http://127.0.0.1:{server.port}"
    made = (await hub.post(PATH, body)).data
    assert (made["kind"], made["verified_transport"]) == ("openapi", "openapi")
    assert tools_of(made) == {"list_pets": "active", "add_pet": "active"}
    assert server.requests == []
    document["paths"] = {"/pets": {"get": {"operationId": "list_pets", "summary": "Another"}}}
    changed = (await patched(hub, made, document=document)).data
    assert tools_of(changed) == {"list_pets": "quarantined"}


@pytest.mark.parametrize(
    "body",
    [
        {"document": {"openapi": "2.0"}},
        {"document": {"openapi": "3.1.0", "paths": {}}},
        {"document_url": "https://10.0.0.1/openapi.json"},
        {"document_url": "file:///etc/passwd"},
    ],
)
async def test_what_is_no_document_is_refused(hub: Hub, body: dict[str, Any]) -> None:
    refused = await hub.post(
        PATH, {"name": "Pets", "kind": "openapi", "endpoint_url": "http://127.0.0.1:9999", **body}
    )
    assert (refused.status, refused.reason) == (400, "verification_failed")


async def test_a_document_is_fetched_from_its_address(hub: Hub) -> None:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Pets", "version": "2"},
        "servers": [{"url": "/v1"}],
        "paths": {"/pets": {"get": {"operationId": "list_pets"}}},
    }

    async def serve(request: web.Request) -> web.StreamResponse:
        return web.json_response(document)

    app = web.Application()
    app.router.add_get("/docs/openapi.json", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        body = {"name": "Pets", "kind": "openapi", "document_url": f"{origin}/docs/openapi.json"}
        made = (await hub.post(PATH, body)).data
        assert made["endpoint_url"] == f"{origin}/v1"
        document["servers"] = [{"url": "https://elsewhere.example"}]
        document["paths"]["/pets"]["get"]["operationId"] = "all_pets"  # type: ignore[index]
        again = await reverified(hub, made)
        assert again["endpoint_url"] == f"{origin}/v1"
        assert tools_of(again) == {"all_pets": "quarantined"}
    finally:
        await runner.cleanup()
