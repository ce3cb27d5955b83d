"""Sessions: opened, loaded as they were seen, taken up, forked, listed, closed, deleted and configured."""

from typing import Any

import pytest

from tests.adapters.acp.editor import CWD, Editor, connected
from tests.adapters.acp.executor import Worker, said
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement
PLACE = {"cwd": CWD, "mcpServers": []}
CHANGES: list[dict[str, Any]] = [
    {"cwd": "relative"},
    {"cwd": None},
    {"cwd": 7},
    {"mcpServers": None},
    {"mcpServers": {}},
    {"mcpServers": [{"name": "s", "command": "relative", "args": [], "env": []}]},
    {"mcpServers": [{"name": "s", "command": "/s"}]},
    {"mcpServers": [{"type": "http", "name": "s", "url": "ftp://x", "headers": []}]},
    {"mcpServers": [{"type": "pigeon", "name": "s"}]},
    {"additionalDirectories": ["relative"]},
]
LOADS = ("session/load", "session/resume", "session/fork")


@requirement("new-answer", "modes-offered", "config-offered")
async def test_a_new_session_has_a_name_modes_and_options(editor: Editor) -> None:
    result = await editor.call("session/new", PLACE)
    assert result["modes"]["currentModeId"] == "ask"
    assert [mode["id"] for mode in result["modes"]["availableModes"]] == ["plan", "ask", "auto"]
    assert [option["id"] for option in result["configOptions"]] == ["agent", "mode"]
    assert all(option["type"] == "select" for option in result["configOptions"])
    assert result["sessionId"] != await editor.new()


@requirement("new-parameters", "params-checked")
async def test_what_a_session_needs_is_checked(editor: Editor) -> None:
    for change in CHANGES:
        params = {name: value for name, value in {**PLACE, **change}.items() if value is not None}
        fault = await editor.fault("session/new", params)
        assert (fault.code, fault.data["field"].partition("[")[0]) == (-32602, next(iter(change)))


@requirement("load-replays", "load-order", "load-same")
async def test_a_loaded_session_is_told_as_it_was_seen(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    async with connected(hub, ann, transport) as editor:
        session_id = await editor.new()
        turn = editor.prompt(session_id, "Begin.")
        held = await worker.take()
        thought = {"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "Hm."}}
        call = {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Look", "rawInput": {"a": 1}}
        await held.say({"update": thought}, "one ", "two", {"update": call})
        await held.say({"update": {"sessionUpdate": "plan", "entries": []}}, said("three", messageId="m"))
        await held.complete()
        await editor.settled(turn)
        live = editor.updates
    async with connected(hub, ann, transport) as editor:
        result = await editor.load(session_id)
        assert result["modes"]["currentModeId"] == "ask"
        kinds = [kind for kind in editor.kinds() if kind != "session_info_update"]
        assert kinds == [
            "user_message_chunk",
            "agent_thought_chunk",
            "agent_message_chunk",
            "tool_call",
            "plan",
            "agent_message_chunk",
        ]
        assert (editor.text("user"), editor.text()) == ("Begin.", "one twothree")
        assert call in editor.updates
        assert call in live
        answer = next(i for i, m in enumerate(editor.heard) if m.get("result") == result)
        last = max(i for i, m in enumerate(editor.heard) if m.get("method") == "session/update")
        assert last < answer


@requirement("resume-silent", "resume-goes-on")
async def test_a_session_that_is_taken_up_tells_nothing_of_its_past(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    async with connected(hub, ann, transport) as editor:
        session_id = await editor.new()
        turn = editor.prompt(session_id, "Begin.")
        held = await worker.take()
        await held.say("one ")
        await editor.until(lambda: editor.text())
        cursor = editor.heard[-1]["params"]["_meta"]["crossdock/seq"]
        await held.say("two ")
        await editor.until(lambda: editor.text() == "one two ")
        async with connected(hub, ann, transport) as other:
            result = await other.call("session/resume", {"sessionId": session_id, "cwd": CWD})
            assert "sessionId" not in result
            assert other.updates == []
            await held.say("three")
            await other.until(lambda: other.text() == "three")
        async with connected(hub, ann, transport) as other:
            meta = {"crossdock/afterSeq": cursor}
            await other.call("session/resume", {"sessionId": session_id, "cwd": CWD, "_meta": meta})
            await other.until(lambda: other.text() == "two three")
        await held.complete()
        await editor.settled(turn)


@requirement("load-cwd")
async def test_a_session_stays_in_its_directory(editor: Editor) -> None:
    session_id = await editor.new()
    for method in ("session/load", "session/resume"):
        params = {"sessionId": session_id, "cwd": "/elsewhere", "mcpServers": []}
        assert (await editor.fault(method, params)).code == -32602


@requirement("unknown-session")
async def test_a_session_that_is_not_there_is_a_resource_that_is_not_found(editor: Editor) -> None:
    for method in LOADS:
        fault = await editor.fault(method, {"sessionId": "sess_none", **PLACE})
        assert (fault.code, fault.data) == (-32002, {"uri": "sess_none"})
    for method, more in (
        ("session/close", {}),
        ("session/prompt", {"prompt": [{"type": "text", "text": "x"}]}),
        ("session/set_mode", {"modeId": "auto"}),
        ("session/set_config_option", {"configId": "mode", "value": "auto"}),
    ):
        assert (await editor.fault(method, {"sessionId": "sess_none", **more})).code == -32002


@requirement("list-all", "list-pages", "list-cwd", "list-cursor")
async def test_sessions_are_listed_page_by_page_newest_first(hub: Hub, ann: str, transport: str) -> None:
    async with connected(hub, ann, transport) as editor:
        assert await editor.call("session/list") == {"sessions": []}
        made = [await editor.new() for _ in range(52)]
        elsewhere = (await editor.call("session/new", {"cwd": "/b", "mcpServers": []}))["sessionId"]
        first = await editor.call("session/list", {})
        second = await editor.call("session/list", {"cursor": first["nextCursor"]})
        listed = [info["sessionId"] for info in (*first["sessions"], *second["sessions"])]
        assert sorted(listed) == sorted([*made, elsewhere])
        assert "nextCursor" not in second
        narrowed = await editor.call("session/list", {"cwd": "/b"})
        assert [(i["sessionId"], i["cwd"]) for i in narrowed["sessions"]] == [(elsewhere, "/b")]
        assert (await editor.fault("session/list", {"cursor": "nonsense"})).code == -32602


@requirement("list-all", "session-title")
async def test_a_session_is_called_after_its_first_prompt(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Write a poem.")
    await worker.echo("No.")
    await editor.settled(turn)
    await editor.until(lambda: "session_info_update" in editor.kinds())
    (info,) = (await editor.call("session/list"))["sessions"]
    assert (info["title"], info["updatedAt"][-1]) == ("Write a poem.", "Z")


@requirement("close-cancels", "close-keeps")
async def test_a_closed_session_cancels_its_turns_and_keeps_its_past(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    running, waiting = editor.prompt(session_id, "one"), editor.prompt(session_id, "two")
    held = await worker.take()
    assert await editor.call("session/close", {"sessionId": session_id}) == {}
    assert await held.cancelled()
    await held.post("cancel")
    assert (await editor.settled(running))["stopReason"] == "cancelled"
    assert (await editor.settled(waiting))["stopReason"] == "cancelled"
    assert await editor.call("session/close", {"sessionId": session_id}) == {}
    await editor.load(session_id)
    turn = editor.prompt(session_id, "again")
    await worker.echo("Yes.")
    assert (await editor.settled(turn))["stopReason"] == "end_turn"


@requirement("delete-gone", "delete-again")
async def test_a_deleted_session_is_nowhere(editor: Editor) -> None:
    session_id = await editor.new()
    assert await editor.call("session/delete", {"sessionId": session_id}) == {}
    assert await editor.call("session/delete", {"sessionId": session_id}) == {}
    assert await editor.call("session/list") == {"sessions": []}
    assert (await editor.fault("session/load", {"sessionId": session_id, **PLACE})).code == -32002


@requirement("fork-past")
async def test_a_fork_has_the_past_and_a_future_of_its_own(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "one")
    await worker.echo("Once.")
    await editor.settled(turn)
    forked = (await editor.call("session/fork", {"sessionId": session_id, **PLACE}))["sessionId"]
    turn = editor.prompt(forked, "two")
    await worker.echo("Twice.")
    await editor.settled(turn)
    for id, words in ((forked, "Once.Twice."), (session_id, "Once.")):
        told = len(editor.heard)
        await editor.load(id)
        again = [m["params"]["update"] for m in editor.heard[told:] if m.get("method") == "session/update"]
        chunks = [u["content"]["text"] for u in again if u["sessionUpdate"] == "agent_message_chunk"]
        assert "".join(chunks) == words


@requirement("modes-set", "config-set", "modes-in-step")
async def test_modes_and_options_are_one_and_every_client_hears_of_them(
    hub: Hub, ann: str, transport: str
) -> None:
    async with connected(hub, ann, transport) as editor, connected(hub, ann, transport) as other:
        session_id = await editor.new()
        await other.load(session_id)
        about = {"sessionId": session_id}
        assert await editor.call("session/set_mode", {**about, "modeId": "auto"}) == {}
        await other.until(lambda: "current_mode_update" in other.kinds())
        told = next(u for u in other.updates if u["sessionUpdate"] == "current_mode_update")
        assert told["currentModeId"] == "auto"
        await other.until(lambda: "config_option_update" in other.kinds())
        result = await editor.call(
            "session/set_config_option", {**about, "configId": "mode", "value": "plan"}
        )
        values = {option["id"]: option["currentValue"] for option in result["configOptions"]}
        assert values == {"agent": "any", "mode": "plan"}
        for method, wrong in (
            ("session/set_mode", {"modeId": "reckless"}),
            ("session/set_config_option", {"configId": "mode", "value": "reckless"}),
            ("session/set_config_option", {"configId": "colour", "value": "red"}),
            ("session/set_config_option", {"configId": "agent", "value": "nobody"}),
        ):
            assert (await editor.fault(method, {**about, **wrong})).code == -32602


@requirement("config-executor", "commands-told")
async def test_what_the_agent_itself_offers_is_offered(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    options = [{"value": "s", "name": "Small"}, {"value": "l", "name": "Large"}]
    model = {"id": "model", "name": "Model", "type": "select", "currentValue": "s", "options": options}
    await held.post("session", {"agent_session_id": "a1", "config_options": [model]}, method="PUT")
    commands = [{"name": "web", "description": "Search."}]
    await held.say({"update": {"sessionUpdate": "available_commands_update", "availableCommands": commands}})
    await editor.until(lambda: "available_commands_update" in editor.kinds())
    await editor.until(lambda: "config_option_update" in editor.kinds())
    about = {"sessionId": session_id, "configId": "model", "value": "l"}
    result = await editor.call("session/set_config_option", about)
    assert {o["id"]: o["currentValue"] for o in result["configOptions"]}["model"] == "l"
    assert (await held.session())["config"]["model"] == "l"
    await held.complete()
    await editor.settled(turn)
