"""Permissions and questions: asked of every client of the owner, answered once from anywhere, and patient."""

from typing import Any

import pytest

from tests.adapters.acp.editor import Editor, connected
from tests.adapters.acp.executor import Held, Worker
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub

requirement = pytest.mark.requirement
FORM = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


async def decided(hub: Hub, held: Held, approval_id: str) -> dict[str, object]:
    """An approval, once it is decided."""
    answer = await hub.get(f"/approvals/{approval_id}?wait_seconds=15", key=held.key)
    found: dict[str, object] = answer.data
    return found


@requirement("permission-asked", "permission-options", "permission-answer")
@pytest.mark.parametrize(("option", "status"), [("yes", "approved"), ("no", "rejected")])
async def test_leave_is_asked_with_the_agents_own_options(
    hub: Hub, editor: Editor, worker: Worker, option: str, status: str
) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Write it.")
    held = await worker.take()
    asked = await held.ask(rawInput={"path": "/a"})
    await editor.until(lambda: editor.asked)
    request = editor.asked[0]
    assert request["method"] == "session/request_permission"
    assert request["params"]["sessionId"] == session_id
    assert request["params"]["toolCall"]["rawInput"] == {"path": "/a"}
    assert [(o["optionId"], o["kind"]) for o in request["params"]["options"]] == [
        ("yes", "allow_once"),
        ("no", "reject_once"),
    ]
    await editor.choose(request, option)
    found = await decided(hub, held, asked["id"])
    assert found["status"] == status
    await held.complete()
    await editor.settled(turn)


@requirement("permission-cancelled")
async def test_leave_that_is_put_away_with_the_turn_cancels_it(editor: Editor, worker: Worker) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Write it.")
    held = await worker.take()
    await held.ask()
    await editor.until(lambda: editor.asked)
    await editor.notify("session/cancel", {"sessionId": session_id})
    await editor.respond(editor.asked[0], {"outcome": {"outcome": "cancelled"}})
    assert await held.cancelled()
    await held.post("cancel")
    assert (await editor.settled(turn))["stopReason"] == "cancelled"


@requirement("permission-garbage")
async def test_an_answer_that_chooses_nothing_decides_nothing(
    hub: Hub, editor: Editor, worker: Worker
) -> None:
    turn = editor.prompt(await editor.new(), "Write it.")
    held = await worker.take()
    invented = {"outcome": {"outcome": "selected", "optionId": "invented"}}
    wrong: list[Any] = [{}, [], None, {"outcome": 7}, invented]
    for n, answer in enumerate(wrong):
        asked = await held.ask()
        await editor.until(lambda n=n: len(editor.asked) > n)  # type: ignore[misc]
        await editor.respond(editor.asked[n], answer)
        await editor.call("session/list")  # the answer has been heard
        assert (await hub.get(f"/approvals/{asked['id']}", key=held.key)).data["status"] == "pending"
    await held.complete()
    await editor.settled(turn)


@requirement("permission-first-wins", "cancel-request-sent")
async def test_two_clients_are_asked_and_the_first_answer_is_taken_from_the_others_screen(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    async with connected(hub, ann, transport) as one, connected(hub, ann, transport) as two:
        session_id = await one.new()
        await two.load(session_id)
        turn = one.prompt(session_id, "Write it.")
        held = await worker.take()
        asked = await held.ask()
        await one.until(lambda: one.asked)
        await two.until(lambda: two.asked)
        await two.choose(two.asked[0], "yes")
        await one.until(lambda: one.withdrawn)
        assert one.withdrawn == [one.asked[0]["id"]]
        assert (await decided(hub, held, asked["id"]))["status"] == "approved"
        await one.choose(one.asked[0], "no")
        await held.say("Written.")
        await held.complete()
        assert (await one.settled(turn))["stopReason"] == "end_turn"
        await two.until(lambda: two.text() == "Written.")
        assert (two.text("user"), one.text("user")) == ("Write it.", "")
        assert two.withdrawn == []


@requirement("cancel-request-sent")
async def test_leave_that_is_given_over_rest_disappears_from_the_editor(
    hub: Hub, ann: str, editor: Editor, worker: Worker
) -> None:
    turn = editor.prompt(await editor.new(), "Write it.")
    held = await worker.take()
    asked = await held.ask()
    await editor.until(lambda: editor.asked)
    assert (await hub.post(f"/approvals/{asked['id']}", {"option_id": "yes"}, key=ann)).status == 200
    await editor.until(lambda: editor.withdrawn)
    assert editor.withdrawn == [editor.asked[0]["id"]]
    await held.complete()
    await editor.settled(turn)


@requirement("permission-patient")
async def test_leave_may_take_ten_hours(hub: Hub, clock: FakeClock, editor: Editor, worker: Worker) -> None:
    turn = editor.prompt(await editor.new(), "Write it.")
    held = await worker.take()
    asked = await held.ask()
    await editor.until(lambda: editor.asked)
    for _ in range(20):
        await held.post("lease", {"extend_seconds": 3600})
        clock.advance(1800)
    assert (await hub.get(f"/approvals/{asked['id']}", key=held.key)).data["status"] == "pending"
    await editor.choose(editor.asked[0], "yes")
    assert (await decided(hub, held, asked["id"]))["status"] == "approved"
    await held.complete()
    assert (await editor.settled(turn))["stopReason"] == "end_turn"


@requirement("permission-asked-again")
async def test_a_question_waits_for_whoever_comes_and_is_asked_once_a_connection(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    async with connected(hub, ann, transport) as editor:
        session_id = await editor.new()
        editor.prompt(session_id, "Write it.")
        held = await worker.take()
        asked = await held.ask()
        await editor.until(lambda: editor.asked)
    async with connected(hub, ann, transport) as editor:
        result = await editor.load(session_id)
        assert result["_meta"]["crossdock/pending"] == [asked["id"]]
        await editor.until(lambda: editor.asked)
        await editor.load(session_id)
        assert len(editor.asked) == 1
        await held.complete()


@requirement("elicitation-form", "elicitation-answer")
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_a_form_is_shown_to_a_client_that_can_show_it(
    hub: Hub, ann: str, transport: str, worker: Worker, action: str
) -> None:
    can: dict[str, Any] = {"elicitation": {"form": {}}}
    async with connected(hub, ann, transport, capabilities=can) as editor:
        session_id = await editor.new()
        turn = editor.prompt(session_id, "Paint.")
        held = await worker.take()
        await held.elicit(FORM, message="Which colour?")
        await editor.until(lambda: editor.asked)
        request = editor.asked[0]
        assert request["method"] == "elicitation/create"
        assert (request["params"]["mode"], request["params"]["requestedSchema"]) == ("form", FORM)
        content = {"content": {"colour": "red"}} if action == "accept" else {}
        await editor.respond(request, {"action": action, **content})
        told = await held.post("lease", {"wait_seconds": 15})
        assert told is not None
        said = (await hub.get(f"/tasks/{held.task['id']}/messages", key=held.key)).data[-1]
        assert said["parts"][0]["data"] == {"action": action, **content}
        await held.complete()
        assert (await editor.settled(turn))["stopReason"] == "end_turn"


@requirement("elicitation-url")
async def test_an_address_is_shown_to_a_client_that_can_open_it(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    async with connected(hub, ann, transport, capabilities={"elicitation": {"url": {}}}) as editor:
        turn = editor.prompt(await editor.new(), "Pay.")
        held = await worker.take()
        await held.elicit(mode="url", url="https://pay.example/1", elicitationId="e1", message="Pay there.")
        await editor.until(lambda: editor.asked)
        params = editor.asked[0]["params"]
        assert (params["mode"], params["url"], params["elicitationId"]) == (
            "url",
            "https://pay.example/1",
            "e1",
        )
        await editor.respond(editor.asked[0], {"action": "accept"})
        await held.post("lease", {"wait_seconds": 15})
        await held.complete()
        await editor.settled(turn)


@requirement("elicitation-gated")
async def test_a_client_that_can_show_no_form_is_asked_in_words_and_answers_with_its_next_prompt(
    editor: Editor, worker: Worker
) -> None:
    session_id = await editor.new()
    turn = editor.prompt(session_id, "Paint.")
    held = await worker.take()
    await held.post("request-input", {"parts": [{"text": "Which colour?"}], "hold": True})
    assert (await editor.settled(turn))["stopReason"] == "end_turn"
    assert (editor.text(), editor.asked) == ("Which colour?", [])
    answered = editor.prompt(session_id, "Red.")
    await held.post("lease", {"wait_seconds": 15})
    await held.say("Red it is.")
    await held.complete()
    assert (await editor.settled(answered))["stopReason"] == "end_turn"
    assert editor.text() == "Which colour?Red it is."


@requirement("updates-opt-in")
async def test_what_a_client_has_not_asked_for_it_is_not_told(
    hub: Hub, ann: str, transport: str, worker: Worker
) -> None:
    kinds = {"notice": "notices", "compaction_update": "compaction"}
    can: dict[str, Any] = {"session": {key: {} for key in kinds.values()}, "subagents": {}}
    async with (
        connected(hub, ann, transport) as plain,
        connected(hub, ann, transport, capabilities=can) as rich,
    ):
        session_id = await plain.new()
        await rich.load(session_id)
        turn = plain.prompt(session_id, "Go.")
        held = await worker.take()
        for kind in (*kinds, "subagent_update"):
            await held.say({"update": {"sessionUpdate": kind, "sessionId": "x"}})
        await held.complete()
        await plain.settled(turn)
        await rich.until(lambda: "subagent_update" in rich.kinds())
        assert set(kinds) <= set(rich.kinds())
        assert not {*kinds, "subagent_update"} & set(plain.kinds())
