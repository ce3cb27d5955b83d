"""Prompts are turns: told while they run, answered when they are over, queued, cancelled, and never lost."""

from typing import Any

import pytest

from tests.adapters.acp.editor import CWD, Editor, Fault, connected
from tests.adapters.acp.executor import Worker, said
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement
WRONG: list[Any] = [
    [],
    "text",
    [{"type": "text"}],
    [{"type": "pigeon"}],
    [{"type": "image", "data": "not base64!", "mimeType": "image/png"}],
    [{"type": "resource", "resource": {"uri": "file:///a"}}],
    [{"type": "resource_link", "name": "a"}],
    ["text"],
]


@requirement("prompt-updates-first", "prompt-stop-reason", "prompt-usage")
async def test_a_turn_is_told_in_order_and_answered_after_its_updates(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Count.")
    held = await worker.take()
    await held.say("one ", "two ", said("three", messageId="m"))
    await held.say(
        {"update": {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Look", "kind": "read"}}
    )
    usage = {"totalTokens": 3, "inputTokens": 2, "outputTokens": 1}
    await held.complete(usage=usage)
    result = await editor.settled(turn)
    assert (result["stopReason"], result["usage"]) == ("end_turn", usage)
    assert editor.text() == "one two three"
    assert editor.kinds()[-4:] == [*["agent_message_chunk"] * 3, "tool_call"]
    ended = [message for message in editor.heard if message.get("result") == result]
    told = [m for m in editor.heard if m.get("params", {}).get("update", {}).get("toolCallId") == "c"]
    assert editor.heard.index(told[0]) < editor.heard.index(ended[0])


@requirement("update-lossless", "meta-preserved")
async def test_what_an_agent_says_comes_out_as_it_went_in(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Go.")
    held = await worker.take()
    strange = {"sessionUpdate": "from_the_future", "deep": [{"x": None}, 1.5, "é\u2028"], "_meta": {"a/b": 1}}
    await held.say({"update": strange, "_meta": {"vendor/key": {"kept": True}}})
    await held.complete()
    await editor.settled(turn)
    told = next(m["params"] for m in editor.heard if m.get("params", {}).get("update") == strange)
    assert told["sessionId"] == session_id
    assert told["_meta"]["vendor/key"] == {"kept": True}
    assert told["_meta"]["crossdock/taskId"] == held.task["id"]


@requirement("prompt-content", "mcp-servers-passed")
async def test_the_executor_gets_what_was_said_word_by_word(editor: Editor, worker: Worker) -> None:
    servers = [{"name": "s", "command": "/bin/s", "args": ["-v"], "env": [{"name": "K", "value": "secret!"}]}]
    session_id = await editor.new(mcpServers=servers, additionalDirectories=["/var/data"])
    blocks = [
        {"type": "text", "text": "Look at ", "annotations": {"priority": 1}},
        {"type": "resource_link", "uri": "file:///a.py", "name": "a.py", "size": 3},
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///b", "text": "bee"}},
    ]
    editor.start("session/prompt", {"sessionId": session_id, "prompt": blocks})
    held = await worker.take()
    assert held.task["input"]["prompt"] == blocks
    assert "secret!" not in str(held.task)
    brief = await held.session()
    assert (brief["session_id"], brief["cwd"], brief["turn"]) == (session_id, "/home/ann/project", 0)
    assert brief["additional_directories"] == ["/var/data"]
    assert brief["mcp_servers"] == servers


@requirement("prompt-queue")
async def test_prompts_of_one_session_run_one_after_the_other(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turns = [editor.prompt(session_id, text) for text in ("first", "second", "third")]
    for text in ("first", "second", "third"):
        held = await worker.take()
        assert held.task["input"]["prompt"][0]["text"] == text
        assert await worker.nothing()
        await held.say(f"{text}. ")
        await held.complete()
    for turn in turns:
        assert (await editor.settled(turn))["stopReason"] == "end_turn"
    assert editor.text() == "first. second. third. "


@requirement("cancel-answer", "cancel-last-words")
async def test_a_cancelled_turn_says_its_last_words_and_is_no_error(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    running, waiting = editor.prompt(session_id, "long"), editor.prompt(session_id, "later")
    held = await worker.take()
    await held.say("begun, ")
    await editor.until(lambda: editor.text())
    await editor.notify("session/cancel", {"sessionId": session_id})
    assert await held.cancelled()
    await held.say("stopped")
    await held.post("cancel")
    assert (await editor.settled(running))["stopReason"] == "cancelled"
    assert (await editor.settled(waiting))["stopReason"] == "cancelled"
    assert editor.text() == "begun, stopped"


@requirement("load-running")
async def test_a_lost_connection_loses_nothing(hub: Hub, ann: str, worker: Worker, transport: str) -> None:
    async with connected(hub, ann, transport) as editor:
        session_id = await editor.new()
        editor.prompt(session_id, "Go on.")
        held = await worker.take()
        await held.say("one ", "two ")
        await editor.until(lambda: editor.text() == "one two ")
    await held.say("three ")
    async with connected(hub, ann, transport) as editor:
        await editor.load(session_id)
        assert (editor.text("user"), editor.text()) == ("Go on.", "one two three ")
        await held.say("four")
        await held.complete()
        await editor.until(lambda: editor.text() == "one two three four")


@requirement("cancel-request")
async def test_a_prompt_is_withdrawn_like_any_request(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    running, waiting = editor.prompt(session_id, "one"), editor.prompt(session_id, "two")
    held = await worker.take()
    second = editor._last
    await editor.notify("$/cancel_request", {"requestId": second})
    assert (await editor.settled(waiting))["stopReason"] == "cancelled"
    await held.complete()
    assert (await editor.settled(running))["stopReason"] == "end_turn"


@requirement("prompt-stop-reason")
async def test_why_a_turn_ended_is_told(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    for reason in ("max_tokens", "max_turn_requests", "refusal", "end_turn"):
        turn = editor.prompt(session_id, "Go.")
        await worker.echo(reason=reason)
        assert (await editor.settled(turn))["stopReason"] == reason


@requirement("prompt-failed")
async def test_a_turn_that_failed_is_an_error_with_its_task(editor: Editor, worker: Worker) -> None:
    turn = editor.prompt(await editor.new(), "Go.")
    held = await worker.take()
    error = {"category": "agent_error", "message": "It broke.", "recoverable": False}
    await held.post("fail", {"error": error})
    with pytest.raises(Fault) as fault:
        await editor.settled(turn)
    assert (fault.value.code, fault.value.message) == (-32603, "It broke.")
    assert fault.value.data["taskId"] == held.task["id"]


@requirement("prompt-content", "params-checked")
async def test_a_prompt_of_something_else_is_refused(editor: Editor) -> None:
    session_id = await editor.new()
    for blocks in WRONG:
        params = {"sessionId": session_id, "prompt": blocks}
        assert (await editor.fault("session/prompt", params)).code == -32602


async def test_a_prompt_under_the_same_key_is_one_turn(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    meta = {"crossdock/idempotencyKey": "k1"}
    async with connected(hub, ann, transport, meta={"crossdock/clientId": "c"}) as editor:
        session_id = await editor.new()
        editor.prompt(session_id, "Go.", _meta=meta)
        held = await worker.take()
    async with connected(hub, ann, transport, meta={"crossdock/clientId": "c"}) as editor:
        await editor.call("session/resume", {"sessionId": session_id, "cwd": CWD})
        turn = editor.prompt(session_id, "Go.", _meta=meta)
        await held.say("Once.")
        await held.complete()
        assert (await editor.settled(turn))["stopReason"] == "end_turn"
        assert editor.text() == "Once."
        assert await worker.nothing()


async def test_a_trace_that_a_prompt_names_goes_with_its_turn(editor: Editor, worker: Worker) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    turn = editor.prompt(await editor.new(), "Go.", _meta={"traceparent": trace})
    held = await worker.take()
    assert held.task["traceparent"] == trace
    await held.complete()
    await editor.settled(turn)
