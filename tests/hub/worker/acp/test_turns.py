"""Turns: what an agent says comes out whole and in order, and however it ends, the turn ends once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from hub.client import Conflict, Invalid
from hub.worker import TaskFailed
from hub.worker.acp import GENERIC, turn
from tests.hub.worker.acp.stage import PATIENCE, Stage, Told

Staged = Callable[..., Stage]


async def _failed(stage: Stage, text: str | Told, **more: Any) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        await stage.do(text, **more)
    return caught.value


async def test_what_the_agent_says_comes_out_in_order_and_its_end_is_the_output(staged: Staged) -> None:
    output, told = await staged().do("stream 500")
    assert told.text == "".join(f"{n} " for n in range(500))
    assert output["text"] == told.text
    assert output["stopReason"] == "end_turn"
    assert output["usage"]["totalTokens"] == 3


async def test_updates_are_passed_on_word_by_word(staged: Staged) -> None:
    said = {"sessionUpdate": "from_the_future", "list": [1, None, {"ä": 1.5}], "_meta": {"v/x": None}}
    params = {"sessionId": "SESSION", "update": said, "_meta": {"traceparent": "00-1"}, "more": [0]}
    line = json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": params})
    _, told = await staged().do(f"raw {json.dumps([line])}")
    assert told.updates_told == [{"update": said, "_meta": {"traceparent": "00-1"}, "more": [0]}]


async def test_what_a_session_below_says_keeps_its_name(staged: Staged) -> None:
    said = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "hm"}}
    params = {"sessionId": "below", "update": said}
    line = json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": params})
    output, told = await staged().do(f"raw {json.dumps([line])}")
    assert told.updates_told == [{"update": said, "childSessionId": "below"}]
    assert output["text"] == ""


async def test_garbage_ends_nothing_and_is_refused_where_it_is_meant_as_a_message(staged: Staged) -> None:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "still here"}}
    good = json.dumps(
        {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "SESSION", "update": update}}
    )
    lines = [
        "",
        "warning: something",
        "[1, 2]",
        '{"jsonrpc": "2.0"}',
        '{"half": ',
        '{"jsonrpc": "1.0", "method": "x"}',
        '{"jsonrpc": "2.0", "id": 999999, "result": {}}',
        '{"jsonrpc": "2.0", "id": {}, "method": "x"}',
        '{"jsonrpc": "2.0", "method": "session/update", "params": [1]}',
        '{"jsonrpc": "2.0", "method": "session/update", "params": {"update": 1}}',
        '{"jsonrpc": "2.0", "method": "_vendor/thing", "params": {}}',
        '{"jsonrpc": "2.0", "id": "a", "method": "craft/drainMidTurnQueue"}',
        '{"jsonrpc": "2.0", "id": "b", "method": "session/request_permission", "params": {"toolCall": 1}}',
        "{" * 100_000,
        good,
    ]
    output, _ = await staged().do(f"raw {json.dumps(lines)}")
    assert output["text"] == "still here"


async def test_what_no_store_takes_is_replaced_and_nothing_else(staged: Staged) -> None:
    content = '{"type": "text", "text": "a\\u0000b \\ud83d c \\ud83d\\ude00 \\u00e9"}'
    update = '{"sessionUpdate": "agent_message_chunk", "content": ' + content + "}"
    params = '{"sessionId": "SESSION", "update": ' + update + "}"
    line = '{"jsonrpc": "2.0", "method": "session/update", "params": ' + params + "}"
    output, _ = await staged().do(f"raw {json.dumps([line])}")
    assert output["text"] == "a\ufffdb \ufffd c 😀 é"


async def test_a_line_without_an_end_ends_the_agent_and_not_the_worker(staged: Staged) -> None:
    stage = staged()
    failed = await _failed(stage, "huge 20")
    assert "a line of more than" in failed.message
    output, _ = await stage.do("say on", session="s2")
    assert output["text"] == "on "


async def test_an_agent_that_dies_says_why_and_the_attempt_may_be_repeated_where_it_can_resume(
    staged: Staged,
) -> None:
    failed = await _failed(staged(), "die")
    assert "out of cheese" in failed.message
    assert (failed.category, failed.recoverable) == ("infrastructure", True)
    assert not (await _failed(staged("no-load"), "die")).recoverable


async def test_an_error_of_the_agent_is_the_tasks(staged: Staged) -> None:
    failed = await _failed(staged(), "nonsense")
    assert "no such script" in failed.message
    assert failed.category == "agent_error"


async def test_a_refusal_is_an_outcome_of_its_own(staged: Staged) -> None:
    output, _ = await staged().do("refuse")
    assert (output["stopReason"], output["outcome"]) == ("refusal", "refused")


async def test_a_session_keeps_its_agent_between_turns(staged: Staged) -> None:
    stage = staged()
    await stage.do("say one")
    output, told = await stage.do("recall", turn=1)
    assert output["text"].startswith("say one |")
    assert "notice" not in told.kinds


@pytest.mark.parametrize("can", [(), ("resume",)])
async def test_another_worker_takes_the_session_up_and_its_past_is_not_told_twice(
    staged: Staged, can: tuple[str, ...]
) -> None:
    stage = staged(*can)
    await stage.do("say one")
    stage.anew()
    output, told = await stage.do("recall", turn=1)
    assert output["text"].startswith("say one |")
    assert set(told.kinds) == {"agent_message_chunk"}


async def test_an_agent_that_forgets_says_so(staged: Staged) -> None:
    stage = staged("no-load")
    await stage.do("say one")
    stage.anew()
    output, told = await stage.do("recall", turn=1)
    assert "say one" not in output["text"]
    assert told.kinds[0] == "notice"


async def test_an_interrupted_turn_is_taken_up_where_the_agent_can(staged: Staged) -> None:
    stage = staged()
    await stage.do("say one")
    stage.anew()
    await stage.do("say two", attempt=2)
    output, _ = await stage.do("recall")
    assert "interrupted" in output["text"]
    stage = staged("no-load")
    failed = await _failed(stage, "say two", attempt=2)
    assert failed.category == "interrupted"


async def test_a_cancelled_turn_ends_by_the_agents_own_word(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CANCEL_SECONDS", PATIENCE)
    stage = staged()
    told = stage.turn("stream 100000 0.005")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: "5 " in told.text)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    numbers = [int(word) for word in told.text.split()]
    assert numbers == list(range(len(numbers)))
    stage._known["s1"] = told.reports[-1]["agent_session_id"]
    output, _ = await stage.do("recall")
    assert output["text"].startswith("stream 100000 0.005 |")  # it was not killed


async def test_an_agent_that_does_not_stop_is_stopped(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("hang")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: told.text == "hanging")
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE):
            await doing
    assert turn.CANCEL_SECONDS <= 2
    output, _ = await stage.do("say on")
    assert output["text"] == "on "


async def test_an_agent_that_asks_without_end_and_reads_nothing_is_held_back_and_stopped(
    staged: Staged,
) -> None:
    stage = staged()
    told = stage.turn("deaf")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: told.text == "deaf")
    (session,) = stage.agent._sessions
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE):
            await doing
    assert session.gone
    output, _ = await stage.do("say on")
    assert output["text"] == "on "


async def test_a_lost_lease_stops_the_agent(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("stream 100000 0.005")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: "5 " in told.text)
    await told.take_away()
    with pytest.raises(Conflict):
        async with asyncio.timeout(PATIENCE):
            await doing
    assert not stage.agent._sessions


async def test_an_update_that_the_hub_cannot_keep_does_not_end_the_turn(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("say one two three")
    refused = Invalid("not this")
    told.refuse_posts = refused
    doing = asyncio.create_task(stage.agent(told.claim, told))
    async with asyncio.timeout(PATIENCE):
        output = await doing
    assert output["text"] == "one two three "


async def test_a_task_of_no_session_is_a_session_of_one_turn(staged: Staged) -> None:
    stage = staged()
    output, told = await stage.do("say hi", session=None)
    assert output["text"] == "hi "
    assert told.reports == []


async def test_the_owners_choices_reach_the_agent(staged: Staged) -> None:
    for can in ((), ("models",), ("mode-option",)):
        output, _ = await staged(*can).do(
            "recall", autonomy="plan", config={"model": "large", "agent": "any"}
        )
        assert output["text"].endswith("mode=plan | model=large")


async def test_a_choice_that_the_agent_does_not_have_changes_nothing(staged: Staged) -> None:
    output, _ = await staged().do("recall", config={"weather": "fine"})
    assert output["text"].endswith("mode=ask | model=small")


async def test_an_agent_that_wants_a_login_is_logged_in_or_says_how(staged: Staged) -> None:
    output, _ = await staged("login").do("say hi")
    assert output["text"] == "hi "
    failed = await _failed(staged("login", profile=GENERIC), "say hi")
    assert failed.category == "auth_required"
    assert "Key; Web" in failed.message


async def test_an_agent_of_another_version_is_not_used(staged: Staged) -> None:
    failed = await _failed(staged("old"), "say hi")
    assert "version 0" in failed.message


async def test_a_command_that_is_no_agent_says_what_it_said(staged: Staged) -> None:
    stage = staged()
    stage.config = type(stage.config)(
        ["sh", "-c", "echo no such option >&2; exit 2"],
        environ=stage.environ,
        workspaces=[str(stage.work)],
    )
    stage.anew()
    failed = await _failed(stage, "say hi")
    assert "no such option" in failed.message


async def test_a_session_elsewhere_is_not_worked_on(staged: Staged) -> None:
    stage = staged()
    (stage.work / "out").symlink_to("/")
    for cwd in ("/", str(stage.directory), str(stage.work / ".."), str(stage.work / "out"), "relative"):
        failed = await _failed(stage, "say hi", cwd=cwd)
        assert failed.category == "workspace", cwd
    failed = await _failed(stage, "say hi", cwd=str(stage.work / "none"))
    assert "no directory" in failed.message


async def test_commands_that_a_client_brings_are_started_only_where_the_operator_says_so(
    staged: Staged,
) -> None:
    servers = [
        {"name": "git", "command": "/bin/git-mcp", "args": [], "env": []},
        {"type": "http", "name": "web", "url": "http://h/mcp", "headers": []},
        {"type": "sse", "name": "old", "url": "http://h/sse", "headers": []},
    ]
    output, told = await staged().do("servers", mcp_servers=servers)
    assert output["text"] == "web"
    said = " ".join(f"{s['update'].get('title')} {s['update'].get('description')}" for s in told.updates_told)
    assert "old (sse)" in said
    assert "does not start git" in said
    output, _ = await staged(client_servers=True).do("servers", mcp_servers=servers)
    assert output["text"] == "git web"


async def test_the_agent_does_not_see_the_hubs_key(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_API_KEY", "secret")
    output, _ = await staged().do("env")
    assert output["text"].split() == sorted({"AGENT_STATE", "LC_CTYPE", "PATH"} & set(output["text"].split()))
