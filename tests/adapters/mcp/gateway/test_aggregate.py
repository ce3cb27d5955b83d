"""Everything that was granted in one place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server import MCPServer

from adapters.mcp.gateway import aggregate, naming
from tests.adapters.mcp.gateway.conftest import Gate, asked
from tests.adapters.mcp.support import ANN, listen


@pytest.fixture
async def both(gate: Gate) -> Gate:
    """Two servers of different eras that offer the same, and both granted."""
    await gate.server("dual", "new")
    await gate.server("legacy", "old")
    for slug in ("new", "old"):
        await gate.grant(server=slug)
    return gate


async def test_tools_of_all_servers_are_there_beside_the_hubs_own(both: Gate) -> None:
    for client in (both.modern(path="/mcp"), await both.session(path="/mcp")):
        names = [tool["name"] for tool in (await client.result("tools/list"))["tools"]]
        assert {"submit_task", "find_tools", "call_tool", "new__echo", "old__echo"} <= set(names)
        for name in ("new__echo", "old__echo"):
            told = await client.result("tools/call", {"name": name, "arguments": {"text": name}})
            assert told["content"][0]["text"] == name
        own = await client.result("tools/call", {"name": "list_tasks", "arguments": {}})
        assert own["isError"] is False
    assert {(call.server, call.tool) for call in await both.calls()} == {("new", "echo"), ("old", "echo")}


async def test_a_token_of_a_task_sees_its_grants_and_nothing_of_the_hub(gate: Gate) -> None:
    await gate.server("dual", "new")
    gate.keys.callers["bound"] = replace(ANN, task_id=ANN.principal_id, lease_id=ANN.principal_id)
    answer = await gate.modern("bound", "/mcp").post("tools/list")
    assert answer.json()["error"]["data"]["details"]["reason_code"] == "lease_expired"


async def test_without_grants_there_is_the_hub_alone(gate: Gate) -> None:
    await gate.server("dual", "new")
    names = [tool["name"] for tool in (await gate.modern(path="/mcp").result("tools/list"))["tools"]]
    assert "submit_task" in names
    assert not [name for name in names if "__" in name or name.startswith("find")]
    for name in ("new__echo", "other__echo", "new__", "nothing"):
        told = await gate.modern(path="/mcp").error("tools/call", {"name": name, "arguments": {}})
        assert told["message"].startswith("Unknown tool")


async def test_prompts_and_resources_keep_their_addresses_unless_two_have_them(both: Gate) -> None:
    for client in (both.modern(path="/mcp"), await both.session(path="/mcp")):
        prompts = [prompt["name"] for prompt in (await client.result("prompts/list"))["prompts"]]
        assert prompts == ["new__greet", "old__greet"]
        got = await client.result("prompts/get", {"name": "old__greet", "arguments": {"who": "Ann"}})
        assert got["messages"][0]["content"]["text"] == "Greet Ann"
        uris = [found["uri"] for found in (await client.result("resources/list"))["resources"]]
        assert uris == ["hub+new:note://one", "hub+old:note://one"]
        read = await client.result("resources/read", {"uri": "hub+old:note://one"})
        assert read["contents"][0]["text"] == "the note"
        templates = (await client.result("resources/templates/list"))["resourceTemplates"]
        assert [one["uriTemplate"] for one in templates][-1] == "hub+old:note://{name}/text"
    narrowed = both.modern(path="/mcp?servers=old")
    uris = [found["uri"] for found in (await narrowed.result("resources/list"))["resources"]]
    assert uris == ["note://one"]
    read = await narrowed.result("resources/read", {"uri": "note://ann/text"})
    assert read["contents"][0]["text"] == "ann"
    missing = await narrowed.error("resources/read", {"uri": "other://x"})
    assert (missing["code"], missing["data"]) == (-32602, {"uri": "other://x"})


async def test_an_address_narrows_what_a_client_sees(both: Gate) -> None:
    client = both.modern(path="/mcp?tools=old__*,list_tasks")
    names = [tool["name"] for tool in (await client.result("tools/list"))["tools"]]
    assert names == ["list_tasks", "old__echo", "old__count", "old__ask", "old__hang"]
    told = await client.error("tools/call", {"name": "new__echo", "arguments": {"text": "x"}})
    assert told["message"] == "Unknown tool: new__echo"


async def test_a_long_list_is_searched(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "MOST_LISTED", 2)
    await gate.server("dual", "new")
    await gate.grant(server="new")
    client = gate.modern(path="/mcp")
    names = [tool["name"] for tool in (await client.result("tools/list"))["tools"]]
    assert "find_tools" in names
    assert "new__echo" not in names
    arguments = {"query": "say something again", "limit": 1}
    told = await client.result("tools/call", {"name": "find_tools", "arguments": arguments})
    (found,) = told["structuredContent"]["tools"]
    assert found["name"] == "new__echo"
    call = {"name": "call_tool", "arguments": {"name": "new__echo", "arguments": {"text": "hello"}}}
    told = await client.result("tools/call", call)
    assert told["content"][0]["text"] == "hello"
    deeper = {"name": "call_tool", "arguments": {"name": "call_tool", "arguments": {}}}
    assert (await client.error("tools/call", deeper))["code"] == -32602


async def test_questions_pass_through_the_whole_too(both: Gate) -> None:
    accepted = {"result": {"action": "accept", "content": {"colour": "red"}}}
    for slug in ("new", "old"):
        session = await both.session(path="/mcp", elicitation={})
        told = await asked(both, session, f"{slug}__ask", accepted)
        assert told["content"][0]["text"] == "red"


async def test_a_listener_hears_that_a_grant_has_changed_its_list(both: Gate) -> None:
    stream = listen(both.app, {"toolsListChanged": True}, path="/mcp")
    first = await stream.next()
    assert first is not None
    assert first["method"] == "notifications/subscriptions/acknowledged"
    await both.grant(tool="echo", server="old", calls_per_minute=5)
    told = await stream.next()
    assert told is not None
    assert told["method"] == "notifications/tools/list_changed"
    await stream.hang_up()


async def test_names_that_do_not_fit_are_cut_and_still_called(gate: Gate) -> None:
    server = MCPServer("long")
    name = "a.very/" + "long_" * 12 + "name"

    @server.tool(name=name)
    def tool() -> str:
        """Does it."""
        return "done"

    await gate.server("dual", "long", server)
    await gate.grant(server="long")
    client = gate.modern(path="/mcp")
    (outer,) = [
        t["name"] for t in (await client.result("tools/list"))["tools"] if t["name"].startswith("long")
    ]
    assert len(outer) <= 64
    told = await client.result("tools/call", {"name": outer, "arguments": {}})
    assert told["content"][0]["text"] == "done"


async def test_a_card_says_where_the_servers_are(gate: Gate) -> None:
    answer = await gate.http.get("/.well-known/mcp/server-card.json")
    remotes = answer.json()["remotes"]
    assert [remote["url"] for remote in remotes] == ["http://hub.test/mcp", "http://hub.test/mcp/crossdock"]
    assert remotes[0]["supportedProtocolVersions"][:2] == ["2026-07-28", "2025-11-25"]


@given(st.text(min_size=1, max_size=100))
def test_outer_names_fit_and_say_their_server(name: str) -> None:
    outer = naming.outer("slug", name)
    assert len(outer) <= 64
    assert outer.startswith("slug__")
    assert all(c.isascii() and (c.isalnum() or c in "_-") for c in outer)


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("note://{name}/text", "note://a/text", True),
        ("note://{name}/text", "note://a/b/text", False),
        ("file:///{+path}", "file:///a/b", True),
        ("x.y", "xzy", False),
    ],
)
def test_templates_fit_addresses(template: str, uri: str, fits: bool) -> None:
    assert naming.fits(template, uri) is fits
