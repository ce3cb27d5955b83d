"""How a connection begins: versions, capabilities, order, and who may come in."""

import pytest

from tests.adapters.acp.editor import Editor, connected
from tests.adapters.acp.wires import HttpWire, Refused, WebSocketWire
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement


@requirement("initialize-version", "initialize-capabilities", "initialize-info", "auth-methods")
async def test_it_says_which_version_it_speaks_and_what_it_can(editor: Editor) -> None:
    said = editor.initialized
    assert said["protocolVersion"] == 1
    can = said["agentCapabilities"]
    assert can["loadSession"] is True
    assert can["promptCapabilities"] == {"image": True, "audio": True, "embeddedContext": True}
    assert can["mcpCapabilities"] == {"http": True, "sse": True}
    assert set(can["sessionCapabilities"]) == {
        "list",
        "resume",
        "close",
        "delete",
        "fork",
        "additionalDirectories",
    }
    assert can["auth"] == {"logout": {}}
    assert said["agentInfo"]["name"] == "crossdock"
    assert [method["id"] for method in said["authMethods"]] == ["hub-token"]


@requirement("initialize-version", "initialize-wrong-version")
async def test_a_version_that_it_does_not_speak_is_answered_with_the_one_it_does(
    hub: Hub, ann: str, transport: str
) -> None:
    for version in (0, 1, 2, 99, "1"):
        async with connected(hub, ann, transport, initialize=False) as editor:
            assert (await editor.call("initialize", {"protocolVersion": version}))["protocolVersion"] == 1
    for wrong in ("x", 70_000, None):
        async with connected(hub, ann, transport, initialize=False) as editor:
            assert (await editor.fault("initialize", {"protocolVersion": wrong})).code == -32602


@requirement("initialize-capabilities", "auth-terminal")
async def test_a_terminal_login_is_offered_to_whoever_can_open_one(
    hub: Hub, ann: str, transport: str
) -> None:
    async with connected(hub, ann, transport, capabilities={"auth": {"terminal": True}}) as editor:
        login = editor.initialized["authMethods"][0]
        assert (login["id"], login["type"], login["args"]) == ("hub-login", "terminal", ["login"])
        assert (await editor.fault("authenticate", {"methodId": "hub-login"})).code == -32602


@requirement("initialize-once")
async def test_initialize_comes_once(editor: Editor, transport: str) -> None:
    message = {"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {"protocolVersion": 1}}
    await editor.wire.send(message)
    await editor.until(editor.errors)
    assert [code for _, code in editor.errors()] == [-32600]


@requirement("initialize-first", "websocket-upgrade", on="websocket")
async def test_nothing_comes_before_initialize(hub: Hub, ann: str) -> None:
    async with connected(hub, ann, initialize=False) as editor:
        fault = await editor.fault("session/new", {"cwd": "/", "mcpServers": []})
        assert fault.code == -32600
        assert isinstance(editor.wire, WebSocketWire)
        assert len(editor.wire.accepted["acp-connection-id"]) > 20


@requirement("auth-authenticate", "auth-logout", "auth-required")
async def test_who_logged_out_authenticates_before_anything_else(editor: Editor) -> None:
    assert await editor.call("logout", {}) == {}
    assert (await editor.fault("session/list", {})).code == -32000
    assert (await editor.fault("session/new", {"cwd": "/", "mcpServers": []})).code == -32000
    assert (await editor.fault("authenticate", {"methodId": "other"})).code == -32602
    assert await editor.call("authenticate", {"methodId": "hub-token"}) == {}
    assert await editor.call("session/list", {}) == {"sessions": []}


@requirement("transport-credential", on="websocket")
@requirement("transport-credential", on="http")
async def test_a_connection_needs_a_credential(hub: Hub) -> None:
    for key in (None, "xd_agent_nonsense"):
        with pytest.raises(Refused) as refused:
            async with connected(hub, key or "", initialize=False):
                raise AssertionError("it was let in")
        assert refused.value.status == 401
        wire = HttpWire(hub.app.asgi, key, lambda _: None, {})
        for method in ("POST", "GET", "DELETE"):
            reply = await wire.request(method, b"{}")
            assert (reply.status, reply.json["error"]["code"]) == (401, -32000)


@requirement("transport-origin", on="websocket")
@requirement("transport-origin", on="http")
async def test_a_page_of_another_site_may_not_connect(hub: Hub, ann: str) -> None:
    for headers, status in (({"origin": "https://evil.example"}, 403), ({"host": "evil.example"}, 421)):
        with pytest.raises(Refused) as refused:
            async with connected(hub, ann, headers=headers, initialize=False):
                raise AssertionError("it was let in")
        assert refused.value.status == status
        assert (
            await HttpWire(hub.app.asgi, ann, lambda _: None, headers).request("POST", b"{}")
        ).status == status
