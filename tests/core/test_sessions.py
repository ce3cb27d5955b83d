"""Sessions and their turns: one after the other, one owner's alone, nothing lost."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from core import approvals
from core.caller import Caller
from core.errors import Conflict, Forbidden, HubError, Invalid, NotFound, TooMany
from core.keyring import Keyring
from core.platform import Platform
from core.push import Seals
from core.sessions import choices, ending, executor, opening, session, transcript, turns
from core.sessions.moves import SESSION_MOVES, SessionMove
from core.sessions.session import OneSession, Session
from core.store import tables as t
from core.store.tx import Tx
from core.tasks.task import Claimed
from schemas.vocabulary import Scope, SessionStatus, TaskState
from tests.core.tasks.stage import Stage, on_face
from tests.fakes import FakeClock
from tests.properties import law

SERVERS = [{"name": "git", "command": "/bin/git-mcp", "args": [], "env": [{"name": "T", "value": "s3cret"}]}]


class Theatre(Stage):
    """A stage whose user speaks ACP."""

    def __init__(self, platform: Platform, clock: FakeClock) -> None:
        super().__init__(platform, clock)
        self.editor = on_face(self.user, "acp")
        platform.store.memory.setdefault(Seals, Seals()).install(Keyring("k" * 32))

    async def open(self, by: Caller | None = None, **wish: Any) -> Session:
        command = opening.OpenSession(**({"cwd": "/work"} | wish))
        return await self.platform.write(by or self.editor, opening.open_session, command)

    async def prompt(self, of: Session, text: str = "go", by: Caller | None = None, **more: Any) -> UUID:
        block = {"type": "text", "text": text}
        command = turns.PromptSession(of.session_id, [block], [{"text": text}], text, **more)
        return (await self.platform.write(by or self.editor, turns.prompt, command)).task_id

    async def session(self, of: Session) -> Session:
        return await self.platform.read(self.editor, session.get_session, OneSession(of.session_id))

    async def stop(self, of: Session, task_id: UUID | None = None) -> int:
        command = turns.StopTurns(of.session_id, task_id)
        return await self.platform.write(self.editor, turns.stop_turns, command)

    async def coder(self, name: str = "coder", **more: Any) -> Caller:
        return await self.agent(name, routing_tags=["acp"], **more)

    async def work(self, agent: Caller) -> Claimed:
        return await self.take(agent)

    async def post(self, agent: Caller, held: Claimed, *texts: str) -> None:
        updates = [
            {"update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}}
            for text in texts
        ]
        command = executor.PostUpdates(held.task.id, held.lease_id, updates)
        await self.platform.write(agent, executor.post_updates, command)


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> AsyncIterator[Theatre]:
    """A stage for editors, judged when the test is over."""
    stage = Theatre(platform, clock)
    yield stage
    offended = law.offences(await stage.numbered())
    assert not offended, law.verdict(offended)


async def refused(kind: type[HubError], call: Any) -> HubError:
    with pytest.raises(kind) as caught:
        await call
    return caught.value


def test_every_status_can_be_reached_and_left() -> None:
    reached = {arc.target for arc in SESSION_MOVES.values()} | {SessionStatus.INITIALIZING}
    left = {source for arc in SESSION_MOVES.values() for source in arc.sources}
    assert reached == left == set(SessionStatus)
    assert set(SESSION_MOVES) == set(SessionMove)


async def test_a_session_is_ready_when_it_is_open(stage: Theatre) -> None:
    opened = await stage.open(additional_directories=["/other"])
    assert (opened.status, opened.cwd, opened.autonomy) == (SessionStatus.IDLE, "/work", "ask")
    assert await stage.session(opened) == opened
    assert len(opened.session_id) > 22


async def test_opening_again_with_the_same_key_gives_the_same_session(stage: Theatre) -> None:
    keyed = replace(stage.editor, replay_key="one")
    first, second = (
        await stage.open(by=keyed, mcp_servers=SERVERS),
        await stage.open(by=keyed, mcp_servers=SERVERS),
    )
    assert first.session_id == second.session_id


async def test_turns_run_one_after_the_other_in_their_order(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder(max_concurrent=5)
    asked = [await stage.prompt(opened, f"turn {n}") for n in range(3)]
    for task_id in asked:
        held = await stage.work(coder)
        assert held.task.id == task_id
        assert not (await stage.claim(coder)).items
        await stage.complete(coder, task_id, held.lease_id)
    assert (await stage.session(opened)).status is SessionStatus.IDLE


@pytest.mark.parametrize("end", ["fail", "cancel", "refuse"])
async def test_a_turn_that_ends_badly_lets_the_next_one_run(stage: Theatre, end: str) -> None:
    opened, coder = await stage.open(), await stage.coder()
    first, second = await stage.prompt(opened), await stage.prompt(opened)
    held = await stage.work(coder)
    if end == "cancel":
        await stage.cancel(first, by=stage.editor)
    else:
        await getattr(stage, end)(coder, first, held.lease_id)
    assert (await stage.work(coder)).task.id == second


async def test_a_prompt_with_the_same_key_is_one_turn(stage: Theatre) -> None:
    opened = await stage.open()
    keyed = replace(stage.editor, replay_key="k")
    assert await stage.prompt(opened, by=keyed) == await stage.prompt(opened, by=keyed)
    await refused(Conflict, stage.prompt(opened, "other", by=keyed))


async def test_a_session_is_active_while_a_turn_waits_or_runs(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    await stage.prompt(opened, "Fix the  parser\nplease")
    active = await stage.session(opened)
    assert (active.status, active.title) == (SessionStatus.ACTIVE, "Fix the parser please")
    second = await stage.prompt(opened)
    held = await stage.work(coder)
    await stage.complete(coder, held.task.id, held.lease_id)
    assert (await stage.session(opened)).status is SessionStatus.ACTIVE
    await stage.cancel(second, by=stage.editor)
    assert (await stage.session(opened)).status is SessionStatus.IDLE


async def test_a_session_holds_so_many_turns_and_no_more(
    stage: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "QUEUED", 2)
    opened = await stage.open()
    for _ in range(2):
        await stage.prompt(opened)
    await refused(TooMany, stage.prompt(opened))


async def test_an_owner_holds_so_many_sessions_and_no_more(
    stage: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST", 2)
    first = await stage.open()
    await stage.open()
    await refused(TooMany, stage.open())
    await stage.platform.write(stage.editor, ending.close, OneSession(first.session_id))
    await stage.open()


async def test_stopping_cancels_what_waits_at_once_and_asks_what_runs(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    running, waiting = await stage.prompt(opened), await stage.prompt(opened)
    held = await stage.work(coder)
    assert await stage.stop(opened) == 2
    assert await stage.state(waiting) is TaskState.CANCELLED
    assert (await stage.get(running)).cancel_requested_at is not None
    await stage.cancel(running, by=coder, lease_id=held.lease_id)
    assert await stage.state(running) is TaskState.CANCELLED
    assert await stage.stop(opened) == 0


async def test_an_executor_that_ignores_the_wish_is_cancelled_after_the_grace(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    running = await stage.prompt(opened)
    await stage.work(coder)
    await stage.stop(opened)
    await stage.later(turns.GRACE_SECONDS)
    assert await stage.state(running) is TaskState.CANCELLED


async def test_one_turn_can_be_stopped_alone(stage: Theatre) -> None:
    opened = await stage.open()
    first, second = await stage.prompt(opened), await stage.prompt(opened)
    assert await stage.stop(opened, second) == 1
    assert (await stage.state(first), await stage.state(second)) == (TaskState.READY, TaskState.CANCELLED)


async def test_a_lost_executor_is_replaced_only_where_the_session_can_be_resumed(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()

    async def lost(turn: UUID, can_resume: bool | None) -> TaskState:
        held = await stage.work(coder)
        if can_resume is not None:
            report = executor.ReportSession(turn, held.lease_id, agent_session_id="a1", can_resume=can_resume)
            await stage.platform.write(coder, executor.report_session, report)
        await stage.later(61)
        return await stage.state(turn)

    assert await lost(await stage.prompt(opened), None) is TaskState.FAILED
    assert await lost(await stage.prompt(opened), False) is TaskState.FAILED
    again = await stage.prompt(opened)
    assert await lost(again, True) is TaskState.PENDING
    await stage.later(6)
    assert await lost(again, False) is TaskState.FAILED
    known = await stage.prompt(opened)
    assert await lost(known, True) is TaskState.PENDING
    await stage.stop(opened, known)
    assert await lost(await stage.prompt(opened), True) is TaskState.PENDING


async def test_the_agent_that_knows_the_session_gets_its_next_turn_first(stage: Theatre) -> None:
    opened, coder, other = await stage.open(), await stage.coder(), await stage.coder("other")
    first = await stage.prompt(opened)
    held = await stage.work(coder)
    report = executor.ReportSession(first, held.lease_id, agent_session_id="a1")
    await stage.platform.write(coder, executor.report_session, report)
    await stage.complete(coder, first, held.lease_id)
    await stage.prompt(opened)
    assert not (await stage.claim(other)).items
    again = await stage.work(coder)
    told = await stage.platform.read(coder, executor.brief, executor.TurnLease(again.task.id, again.lease_id))
    assert (told.agent_session_id, told.turn) == ("a1", 1)


async def test_the_brief_has_the_clients_servers_and_nobody_else_gets_it(stage: Theatre) -> None:
    opened, coder, other = await stage.open(mcp_servers=SERVERS), await stage.coder(), await stage.coder("o")
    await stage.prompt(opened)
    held = await stage.work(coder)
    wanted = executor.TurnLease(held.task.id, held.lease_id)
    told = await stage.platform.read(coder, executor.brief, wanted)
    assert (told.mcp_servers, told.cwd, told.autonomy) == (SERVERS, "/work", "ask")
    assert "s3cret" not in repr(told)
    await refused(NotFound, stage.platform.read(other, executor.brief, wanted))
    await refused(Forbidden, stage.platform.read(stage.user, executor.brief, wanted))
    await stage.complete(coder, held.task.id, held.lease_id)
    await refused(HubError, stage.platform.read(coder, executor.brief, wanted))


async def test_servers_lie_sealed_in_the_database_and_end_with_the_session(stage: Theatre) -> None:
    opened = await stage.open(mcp_servers=SERVERS)

    async def stored(tx: Tx, _: None) -> Any:
        row = await tx.one(t.acp_session.select())
        return None if row is None else row.mcp_servers

    text = await stage.platform.read(stage.editor, stored, None)
    assert text.startswith("enc:v2:")
    assert "s3cret" not in text
    await stage.platform.write(stage.editor, ending.close, OneSession(opened.session_id))
    assert await stage.platform.read(stage.editor, stored, None) is None


async def test_a_closed_session_takes_no_prompt_until_it_is_loaded(stage: Theatre) -> None:
    opened = await stage.open()
    running = await stage.prompt(opened)
    closed = await stage.platform.write(stage.editor, ending.close, OneSession(opened.session_id))
    assert closed.status is SessionStatus.CLOSED
    assert await stage.state(running) is TaskState.CANCELLED
    await refused(Conflict, stage.prompt(opened))
    command = opening.AttachSession(opened.session_id, "/work", [], [])
    assert (await stage.platform.write(stage.editor, opening.attach, command)).status is SessionStatus.IDLE
    await stage.prompt(opened)


async def test_a_session_never_changes_its_directory(stage: Theatre) -> None:
    opened = await stage.open()
    command = opening.AttachSession(opened.session_id, "/elsewhere")
    await refused(Invalid, stage.platform.write(stage.editor, opening.attach, command))


async def test_deleting_is_repeatable_and_final(stage: Theatre) -> None:
    opened = await stage.open()
    one = OneSession(opened.session_id)
    assert await stage.platform.write(stage.editor, ending.delete, one)
    assert not await stage.platform.write(stage.editor, ending.delete, one)
    await refused(NotFound, stage.session(opened))
    assert await stage.platform.read(stage.editor, session.list_sessions, session.ListSessions()) == []


CALLS: dict[str, tuple[Any, Any]] = {
    "get": (session.get_session, OneSession),
    "attach": (opening.attach, opening.AttachSession),
    "fork": (opening.fork, opening.ForkSession),
    "close": (ending.close, OneSession),
    "stop": (turns.stop_turns, turns.StopTurns),
    "prompt": (turns.prompt, lambda s: turns.PromptSession(s, [], [{"text": "x"}], "x")),
    "configure": (choices.configure, lambda s: choices.Configure(s, "autonomy", "auto")),
    "questions": (transcript.open_questions, OneSession),
    "chapters": (transcript.chapters, OneSession),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_foreign_session_is_as_unknown_as_one_that_never_was(stage: Theatre, name: str) -> None:
    opened = await stage.open()
    call, command = CALLS[name]
    strangers = [
        on_face(stage.caller(Scope.AGENT, "user"), "acp"),
        on_face(stage.admin, "acp"),
        stage.admin,
        replace(stage.editor, tenant_id=UUID(int=7)),
    ]
    unknown = await refused(NotFound, stage.platform.write(stage.editor, call, command("sess_none")))
    for stranger in strangers:
        told = await refused(NotFound, stage.platform.write(stranger, call, command(opened.session_id)))
        assert (told.message, told.details) == (unknown.message, unknown.details)


async def test_a_list_goes_page_by_page_and_has_only_ones_own(stage: Theatre) -> None:
    mine = []
    for n in range(5):
        stage.clock.advance(1)
        mine.append(await stage.open(cwd=f"/home/{n % 2}"))
    await stage.open(by=on_face(stage.admin, "acp"))
    seen: list[str] = []
    before = None
    while True:
        query = session.ListSessions(before=before, limit=2)
        page = await stage.platform.read(stage.editor, session.list_sessions, query)
        if not page:
            break
        seen += [found.session_id for found in page]
        before = (page[-1].updated_at, page[-1].id)
    assert seen == [found.session_id for found in reversed(mine)]
    here = await stage.platform.read(stage.editor, session.list_sessions, session.ListSessions(cwd="/home/1"))
    assert {found.cwd for found in here} == {"/home/1"}


async def test_choices_are_checked_and_reach_the_next_turn(stage: Theatre) -> None:
    opened, coder, other = await stage.open(), await stage.coder(), await stage.coder("other")

    async def choose(option: str, value: Any) -> Session:
        command = choices.Configure(opened.session_id, option, value)
        return await stage.platform.write(stage.editor, choices.configure, command)

    assert (await choose("autonomy", "auto")).autonomy == "auto"
    await refused(Invalid, choose("autonomy", "wild"))
    await refused(Invalid, choose("agent", "nobody"))
    await refused(Invalid, choose("model", "x"))
    await choose("agent", str(other.principal_id))
    await stage.prompt(opened)
    assert not (await stage.claim(coder)).items
    held = await stage.work(other)
    models = [{"id": "model", "type": "select", "options": [{"group": "g", "options": [{"value": "m1"}]}]}]
    report = executor.ReportSession(held.task.id, held.lease_id, config_options=models)
    await stage.platform.write(other, executor.report_session, report)
    assert (await choose("model", "m1")).config == {"agent": str(other.principal_id), "model": "m1"}
    await refused(Invalid, choose("model", "m2"))


async def test_who_takes_turns_can_be_chosen_among_those_that_are_there(stage: Theatre) -> None:
    coder = await stage.coder()
    await stage.agent("reviewer")
    since = stage.platform.now().replace(year=2000)
    found = await stage.platform.read(stage.editor, choices.agent_choices, since)
    assert [(choice.id, choice.name) for choice in found] == [(str(coder.principal_id), "coder")]


async def story(
    stage: Theatre, of: Session, after: int | None, enough: int
) -> tuple[list[tuple[str, Any]], int]:
    """So many events from there on, and where the past ended."""
    feed = transcript.follow_session(stage.platform, stage.editor, of, after)
    found: list[tuple[str, Any]] = []
    past = -1
    async with aclosing(cast(Any, feed)) as batches:
        async for batch in batches:
            if not batch.past and past < 0:
                past = len(found)
            found += [(event.kind, event.data) for event in batch.events]
            if past >= 0 and len(found) >= enough:
                return found, past
    raise AssertionError("a session's feed does not end by itself")


def texts(events: list[tuple[str, Any]]) -> list[str]:
    return [
        said["update"]["content"]["text"]
        for kind, data in events
        if kind == "acp.update"
        for said in data["updates"]
    ]


async def test_what_happened_is_told_again_in_its_order(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    for n in range(2):
        await stage.prompt(opened, f"turn {n}")
        held = await stage.work(coder)
        await stage.post(coder, held, f"{n}a", f"{n}b")
        await stage.post(coder, held, f"{n}c")
        await stage.complete(coder, held.task.id, held.lease_id)
    await stage.numbered()
    events, past = await story(stage, opened, 0, 0)
    assert past == len(events)
    assert texts(events) == ["0a", "0b", "0c", "1a", "1b", "1c"]


async def test_what_happens_comes_after_the_past_without_a_gap(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    await stage.prompt(opened)
    held = await stage.work(coder)
    await stage.post(coder, held, "before")
    await stage.numbered()
    feed = cast(Any, transcript.follow_session(stage.platform, stage.editor, opened, 0))
    said: list[str] = []
    async with aclosing(feed) as batches:
        async for batch in batches:
            said += texts([(event.kind, event.data) for event in batch.events])
            if not batch.past and not batch.events:
                await stage.post(coder, held, "after")
            if "after" in said:
                break
    assert said == ["before", "after"]


async def test_a_fork_has_the_past_and_none_of_the_future(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    await stage.prompt(opened, "shared")
    held = await stage.work(coder)
    await stage.post(coder, held, "shared")
    await stage.complete(coder, held.task.id, held.lease_id)
    await stage.numbered()
    forked = await stage.platform.write(stage.editor, opening.fork, opening.ForkSession(opened.session_id))
    for of, word in ((opened, "old"), (forked, "new")):
        await stage.prompt(of, word)
        held = await stage.work(coder)
        await stage.post(coder, held, word)
        await stage.complete(coder, held.task.id, held.lease_id)
    again = await stage.platform.write(stage.editor, opening.fork, opening.ForkSession(forked.session_id))
    await stage.numbered()
    assert texts((await story(stage, forked, 0, 0))[0]) == ["shared", "new"]
    assert texts((await story(stage, opened, 0, 0))[0]) == ["shared", "old"]
    assert again.parent_id == forked.id


async def test_an_answer_goes_to_the_turn_that_asks(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    first = await stage.prompt(opened)
    held = await stage.work(coder)
    await stage.ask(coder, first, held.lease_id, hold=True)
    command = turns.PromptSession(opened.session_id, [], [{"text": "this"}], "this", answers=True)
    asked = await stage.platform.write(stage.editor, turns.prompt, command)
    assert asked == turns.Asked(first, answered=True)
    assert await stage.state(first) is TaskState.IN_PROGRESS
    second = await stage.prompt(opened, answers=True)
    assert second != first


async def test_what_a_session_waits_for_can_be_asked_for(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    first = await stage.prompt(opened)
    held = await stage.work(coder)
    ask = approvals.AskApproval(first, held.lease_id, "rm -rf", options=[{"id": "yes", "kind": "allow_once"}])
    asked = await stage.platform.write(coder, approvals.ask, ask)
    await stage.ask(coder, first, held.lease_id, hold=True)
    found = await stage.platform.read(stage.editor, transcript.open_questions, OneSession(opened.session_id))
    assert [approval.id for approval in found.approvals] == [asked.id]
    assert [request.task_id for request in found.inputs] == [first]
    decided = approvals.DecideApproval(asked.id, option_id="yes")
    await stage.platform.write(stage.editor, approvals.decide, decided)
    await stage.answer(first)
    found = await stage.platform.read(stage.editor, transcript.open_questions, OneSession(opened.session_id))
    assert (found.approvals, found.inputs) == ([], [])


async def test_how_a_turn_ended_is_known_with_its_place_in_the_log(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    first = await stage.prompt(opened)
    held = await stage.work(coder)
    turn = await stage.platform.read(stage.editor, turns.look, turns.OneTurn(first))
    assert (turn.spoke, turn.ended_at) == (False, None)
    await stage.post(coder, held, "said")
    await stage.complete(coder, first, held.lease_id, {"text": "said"})
    await stage.numbered()
    turn = await stage.platform.read(stage.editor, turns.look, turns.OneTurn(first))
    assert turn.spoke
    assert turn.ended_at is not None


async def test_updates_of_a_lost_lease_are_refused(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    await stage.prompt(opened)
    held = await stage.work(coder)
    await stage.stop(opened)
    await stage.later(turns.GRACE_SECONDS)
    await refused(Conflict, stage.post(coder, held, "late"))


async def test_a_title_that_the_agent_gives_is_the_sessions(stage: Theatre) -> None:
    opened, coder = await stage.open(), await stage.coder()
    await stage.prompt(opened, "do it")
    held = await stage.work(coder)
    update = {"update": {"sessionUpdate": "session_info_update", "title": "Doing it"}}
    command = executor.PostUpdates(held.task.id, held.lease_id, [update])
    await stage.platform.write(coder, executor.post_updates, command)
    assert (await stage.session(opened)).title == "Doing it"
