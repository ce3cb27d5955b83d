"""No method on any transport reaches somebody else's session, whatever ids, headers or `_meta` say."""

from typing import Any
from uuid import uuid4

import pytest

from schemas.vocabulary import Scope
from tests.adapters.acp.editor import CWD, Editor, connected
from tests.adapters.acp.executor import Worker
from tests.adapters.acp.wires import HttpWire
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement
BLOCKS = [{"type": "text", "text": "mine now"}]
REACHES: dict[str, dict[str, Any]] = {
    "session/load": {"cwd": CWD, "mcpServers": []},
    "session/resume": {"cwd": CWD},
    "session/fork": {"cwd": CWD, "mcpServers": []},
    "session/prompt": {"prompt": BLOCKS},
    "session/close": {},
    "session/cancel": {},
    "session/set_mode": {"modeId": "auto"},
    "session/set_config_option": {"configId": "mode", "value": "auto"},
}


@pytest.fixture(params=["same tenant", "operator"])
async def stranger(hub: Hub, request: pytest.FixtureRequest) -> str:
    """The key of somebody else; an operator's sessions are not ours either."""
    return await hub.key(Scope.ADMIN if request.param == "operator" else Scope.AGENT, "eve")


@requirement("isolation-methods", "meta-untrusted")
async def test_every_method_says_of_anothers_session_what_it_says_of_none(
    hub: Hub, editor: Editor, stranger: str, transport: str, worker: Worker
) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    asked = await held.ask()
    await editor.until(lambda: editor.asked)
    owner = {"ownerId": "ann", "session_id": session_id, "sessionId": session_id, "crossdock/ownerId": "ann"}
    async with connected(hub, stranger, transport, meta=owner) as other:
        for method, params in REACHES.items():
            of_hers = await other.fault(method, {"sessionId": session_id, **params, "_meta": owner})
            of_none = await other.fault(method, {"sessionId": "sess_none", **params, "_meta": owner})
            assert (
                (of_hers.code, of_hers.message)
                == (of_none.code, of_none.message)
                == (-32002, "No such session.")
            )
        assert await other.call("session/delete", {"sessionId": session_id}) == {}
        mine = await other.new()
        wrong = await other.fault(
            "session/prompt", {"sessionId": "x", "prompt": BLOCKS, "_meta": {"sessionId": mine}}
        )
        assert wrong.code == -32002
        listed = await other.call("session/list", {"_meta": owner})
        assert [info["sessionId"] for info in listed["sessions"]] == [mine]
        assert (other.updates, other.asked) == ([], [])
    await held.say("Still here.")
    await held.complete()
    assert (await editor.settled(turn))["stopReason"] == "end_turn"
    assert editor.text() == "Still here."
    assert (await hub.get(f"/approvals/{asked['id']}", key=held.key)).data["status"] != "approved"


@requirement("isolation-tenants")
async def test_another_tenant_sees_nothing(hub: Hub, editor: Editor, transport: str) -> None:
    session_id = await editor.new()
    far = await hub.key(Scope.AGENT, "ann", uuid4())
    async with connected(hub, far, transport) as other:
        assert await other.call("session/list") == {"sessions": []}
        assert (
            await other.fault("session/load", {"sessionId": session_id, **REACHES["session/load"]})
        ).code == -32002


@requirement("isolation-connections", on="http")
async def test_anothers_connection_is_not_there(hub: Hub, ann: str, eve: str) -> None:
    async with connected(hub, ann, "http") as editor:
        assert isinstance(editor.wire, HttpWire)
        theirs = HttpWire(hub.app.asgi, eve, lambda _: None, {})
        theirs.connection_id = editor.wire.connection_id
        body = b'{"jsonrpc":"2.0","id":1,"method":"session/list"}'
        for method, headers in (("POST", {}), ("GET", {"accept": "text/event-stream"}), ("DELETE", {})):
            assert (await theirs.request(method, body if method == "POST" else b"", headers)).status == 404
        assert await editor.call("session/list") == {"sessions": []}


@requirement("isolation-executors", "mcp-servers-passed")
async def test_what_the_clients_servers_need_is_for_the_executor_of_that_session_alone(
    hub: Hub, ann: str, editor: Editor, worker: Worker
) -> None:
    header = {"name": "Authorization", "value": "Bearer s3cret-of-ann"}
    servers = [{"type": "http", "name": "s", "url": "https://mcp.example/", "headers": [header]}]
    session_id = await editor.new(mcpServers=servers)
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    assert (await held.session())["mcp_servers"] == servers
    another = await Worker.registered(hub, "nosy")
    path = f"/tasks/{held.task['id']}"
    for key in (another.key, ann):
        refused = await hub.post(f"{path}/session", held.lease, key=key)
        assert refused.status in (403, 404, 409)
        assert "s3cret" not in refused.body.decode()
        refused = await hub.post(f"{path}/updates", {**held.lease, "updates": [{"update": {}}]}, key=key)
        assert refused.status in (403, 404, 409)
    for where in ("/events?per_page=100", path, f"{path}/messages"):
        assert "s3cret" not in (await hub.get(where)).body.decode()
    await held.complete()
    await editor.settled(turn)
    assert (await hub.post(f"{path}/session", held.lease, key=held.key)).status == 409
