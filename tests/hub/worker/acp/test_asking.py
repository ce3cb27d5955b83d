"""What an agent asks: by the rules, else by somebody, however long it takes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from hub.client import Message
from hub.worker.acp import Effect, Policy, Profile, Rule, turn
from hub.worker.acp.asking import answer_to
from tests.hub.worker.acp.stage import Stage

Staged = Callable[..., Stage]


def _decided(status: str, option: str | None = None, **more: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda asked: {"status": status, "option_id": option, **more}


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (_decided("approved", "once"), "chosen once"),
        (_decided("approved", "always"), "chosen always"),
        (_decided("approved"), "chosen once"),
        (_decided("rejected", "no"), "chosen no"),
        (_decided("rejected"), "chosen no"),
        (_decided("cancelled"), "cancelled"),
        (_decided("superseded"), "cancelled"),
        (_decided("expired"), "cancelled"),
    ],
)
async def test_a_decision_reaches_the_agent_as_one_of_its_own_options(
    staged: Staged, decision: Callable[[Any], dict[str, Any]], text: str
) -> None:
    stage = staged()
    told = stage.turn("ask rm -rf build")
    told.decide = decision
    output, _ = await stage.do(told)
    assert output["text"] == text


async def test_whoever_decides_sees_all_that_is_known_of_the_call(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("ask git push")
    told.decide = _decided("approved", "once")
    await stage.do(told)
    (asked,) = told.asked
    assert asked["title"] == "git push"
    assert asked["subject"]["toolCall"]["rawInput"] == {"command": "git push"}
    assert asked["subject"]["toolCall"]["kind"] == "execute"
    assert [option["id"] for option in asked["options"]] == ["once", "always", "no"]
    assert told.kinds[0] == "tool_call"  # it was told of before it was asked about


async def test_what_is_asked_at_once_is_shown_at_once(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("both")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: len(told.asked) == 2)  # and nothing is decided yet
    told.decide = _decided("approved")
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    again = stage.turn("both", session="s2")
    again.decide = _decided("approved")
    output, _ = await stage.do(again)
    assert output["text"] == "a b"


async def test_a_permission_that_ran_out_is_a_rejection_where_the_profile_says_so(staged: Staged) -> None:
    stage = staged(profile=Profile("x", rejects_expired=True))
    told = stage.turn("ask x")
    told.decide = _decided("expired")
    output, _ = await stage.do(told)
    assert output["text"] == "chosen no"


async def test_a_cancelled_turn_answers_what_is_asked(
    staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "CANCEL_SECONDS", 20.0)
    stage = staged()
    told = stage.turn("ask something")
    doing = asyncio.create_task(stage.agent(told.claim, told))
    await told.until(lambda: told.asked)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert told.text == "cancelled"


@pytest.mark.parametrize(
    ("rules", "autonomy", "text", "reason"),
    [
        ([Rule(Effect.ALLOW, "execute")], "ask", "chosen once", "rule execute"),
        ([Rule(Effect.ALLOW, "execute", "git *")], "ask", "chosen once", "rule execute:git *"),
        ([Rule(Effect.DENY, "*"), Rule(Effect.ALLOW, "*")], "auto", "chosen no", "rule *"),
        ([], "auto", "chosen once", "goes ahead"),
        ([], "plan", "chosen no", "only plans"),
    ],
)
async def test_what_a_rule_decides_is_asked_of_nobody_and_is_on_record(
    staged: Staged, rules: list[Rule], autonomy: str, text: str, reason: str
) -> None:
    output, told = await staged(policy=Policy(rules)).do("ask git push", autonomy=autonomy)
    assert output["text"] == text
    assert told.asked == []
    (notice,) = [said for said in told.updates_told if said["update"]["sessionUpdate"] == "notice"]
    assert reason in notice["update"]["description"]
    assert notice["_meta"]["crossdock/permission"]["optionId"] == text.split()[1]


async def test_a_mode_that_is_chosen_in_mid_turn_holds_from_then_on(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("ask git push")
    told.brief_later = stage.turn("", autonomy="auto").brief_now
    output, _ = await stage.do(told)
    assert (output["text"], told.asked) == ("chosen once", [])


async def test_a_rule_to_ask_stands_above_what_the_owner_lets_happen(staged: Staged) -> None:
    stage = staged(policy=Policy([Rule(Effect.ASK, "execute", "*push*"), Rule(Effect.ALLOW, "*")]))
    told = stage.turn("ask git push", autonomy="auto")
    told.decide = _decided("rejected", "no")
    output, _ = await stage.do(told)
    assert (output["text"], len(told.asked)) == ("chosen no", 1)


@pytest.mark.parametrize(
    "decision", [_decided("approved", "always"), _decided("approved", "once", remember=True)]
)
async def test_what_is_to_be_remembered_holds_for_the_same_in_the_same_session_alone(
    staged: Staged, decision: Callable[[Any], dict[str, Any]]
) -> None:
    stage = staged()
    first = stage.turn("ask make test")
    first.decide = decision
    await stage.do(first)
    again = stage.turn("ask make test")
    output, _ = await stage.do(again)
    assert (output["text"], again.asked) == ("chosen once", [])
    for other in (stage.turn("ask make install"), stage.turn("ask make test", session="s2")):
        other.decide = _decided("rejected", "no")
        output, _ = await stage.do(other)
        assert (output["text"], len(other.asked)) == ("chosen no", 1)


async def test_a_question_is_asked_word_by_word_and_its_answer_comes_back(staged: Staged) -> None:
    stage = staged()
    told = stage.turn("elicit Which word?")
    told.answer = [{"data": {"action": "accept", "content": {"word": "yes"}}}]
    output, _ = await stage.do(told)
    assert json.loads(output["text"]) == {"action": "accept", "content": {"word": "yes"}}
    ((part,),) = told.questions
    assert part["text"] == "Which word?"
    assert part["metadata"]["acp/elicitation"]["requestedSchema"]["required"] == ["word"]
    assert "sessionId" not in part["metadata"]["acp/elicitation"]


FORM: dict[str, Any] = {"requestedSchema": {"properties": {"n": {"type": "integer"}}}}
WORDS: dict[str, Any] = {"requestedSchema": {"properties": {"w": {"type": "string"}}}}
TWO: dict[str, Any] = {"requestedSchema": {"properties": {"a": {}, "b": {}}}}


@pytest.mark.parametrize(
    ("asked", "part", "answer"),
    [
        (WORDS, {"text": "yes"}, {"action": "accept", "content": {"w": "yes"}}),
        (FORM, {"text": " 7 "}, {"action": "accept", "content": {"n": 7}}),
        (FORM, {"text": "true"}, {"action": "decline"}),
        (FORM, {"text": "seven"}, {"action": "decline"}),
        (TWO, {"text": "yes"}, {"action": "decline"}),
        (TWO, {"data": {"a": 1}}, {"action": "accept", "content": {"a": 1}}),
        (TWO, {"data": {"action": "cancel"}}, {"action": "cancel"}),
        ({"mode": "url"}, {"text": "done"}, {"action": "accept"}),
    ],
)
def test_an_answer_in_words_is_taken_where_one_thing_was_asked(
    asked: dict[str, Any], part: dict[str, Any], answer: dict[str, Any]
) -> None:
    message = Message(id="m", role="user", parts=[part], raw={})
    assert answer_to(asked, message) == answer
