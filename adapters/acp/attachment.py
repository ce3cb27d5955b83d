"""One session on one connection: its past, then what happens, each update once and in the order of the log.

Everything that a client is told about a session goes through here, one after the other; so a prompt's answer
comes after its turn's updates, and a loaded session's after its past. Nothing here is needed by the turn
itself: when the client goes, the turn does not notice.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from adapters.acp import commands, options, projection
from adapters.acp.asking import Asking
from adapters.acp.capabilities import ClientCapabilities
from adapters.acp.offers import config_options
from adapters.acp.projection import Merger, Said
from adapters.acp.questions import Permission, Question
from adapters.jsonrpc_peer import Call, Closed, Peer, RpcError
from core.approval_policy import open_to, routed
from core.caller import Caller
from core.errors import HubError, NotFound
from core.platform import Platform
from core.sessions.session import OneSession, Session, get_session
from core.sessions.transcript import OpenQuestions, follow_session, open_questions
from core.sessions.turns import OneTurn, Turn, look
from core.tail import Event, SlowReader
from core.tasks.artifacts import GetChunk, get_chunk
from core.tasks.messages import ListMessages, list_messages
from core.transitions import ASKING
from schemas.vocabulary import TaskState

T = TypeVar("T")

LAST: Final = 999_999_999
"""Behind every update of one event."""

_log = logging.getLogger(__name__)

_RUNNING: Final = frozenset(
    {TaskState.IN_PROGRESS.wire, TaskState.INPUT_REQUIRED.wire, TaskState.AUTH_REQUIRED.wire}
)
"""States in which what was asked can still be answered."""


@dataclass(frozen=True)
class Begin:
    """How a client comes to a session.

    `after` of None begins now, `(0, 0)` at the beginning. With `replay` the past is told in short, and
    `answer` is called when it has been told; without, `answer` is called before anything is told. It hears
    what is being asked, and the place behind which everything will be told.
    """

    after: tuple[int, int] | None = None
    replay: bool = False
    answer: Callable[[OpenQuestions, tuple[int, int]], Awaitable[None]] | None = None


class Attachment:
    """A session as one client follows it.

    `failed` hears why it ended by itself; `left` is called when it has nothing more to tell.
    """

    def __init__(
        self,
        platform: Platform,
        caller: Caller,
        peer: Peer,
        session: Session,
        client: ClientCapabilities,
        client_id: str,
        failed: Callable[[Exception], None],
    ) -> None:
        self.session = session
        self._platform = platform
        self._caller = caller
        self._peer = peer
        self._client = client
        self._client_id = client_id
        self._failed = failed
        self._asking = Asking(platform, caller, peer, session, client, self._pause)
        self._waiters: dict[UUID, list[Call]] = {}
        self._position = -1
        """Everything up to here has been told."""
        self._skip: tuple[int, int] | None = None
        self._ready = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._leaving: Callable[[], None] | None = None

    async def begin(self, begin: Begin) -> None:
        """Start to follow, or start over."""
        await self._stop()
        self._ready.clear()
        self._running = asyncio.create_task(self._run(begin), name="a session on a connection")

    async def ready(self) -> None:
        """Return once it follows."""
        await self._ready.wait()

    async def close(self) -> None:
        """The client is gone."""
        self._asking.close()
        await self._stop()
        self._waiters.clear()

    def leave(self, left: Callable[[], None]) -> None:
        """Go once no prompt waits for its answer any more."""
        self._leaving = left
        self._leave_if_idle()

    async def expect(self, task_id: UUID, call: Call) -> None:
        """Answer this call when the turn is over and all of it has been told; at once, when that is so."""
        self._waiters.setdefault(task_id, []).append(call)
        turn = await self._platform.read(self._caller, look, OneTurn(task_id))
        if turn.ended_at is not None and turn.ended_at <= self._position:
            await self._answer(task_id, projection.outcome(turn.task))
        elif turn.task.state in ASKING:
            await self._pause_unless_shown(task_id)

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _run(self, begin: Begin) -> None:
        try:
            await self._follow(begin)
        except Closed:
            pass
        except Exception as error:
            if not isinstance(error, HubError):
                _log.exception("a session could not be told")
            self._failed(error)
        finally:
            self._ready.set()  # whoever waits for it finds the connection ended

    async def _follow(self, begin: Begin) -> None:
        after: int | None
        self._skip = begin.after
        after = None if begin.after is None else max(begin.after[0] - 1, 0)
        merger = Merger() if begin.replay else None
        if begin.replay:
            after = 0  # what stands may have been said before the place from which the rest is told
        answer = None if begin.replay else begin.answer
        caught_up = False
        while True:
            feed = _generator(follow_session(self._platform, self._caller, self.session, after))
            try:
                async with aclosing(feed) as batches:
                    async for batch in batches:
                        if answer is not None:  # only now is nothing missed behind it
                            await answer(await self._questions(), begin.after or (batch.reached, LAST))
                            answer = None
                        for event in batch.events:
                            await self._tell(event, None if caught_up else merger, live=caught_up)
                            self._position = max(self._position, event.pos)
                        if batch.past or caught_up:
                            continue
                        self._position = max(self._position, batch.reached)
                        for said in self._end_of_past(merger):
                            await self._send(said)
                        await self._catch_up(begin)
                        caught_up = True
            except SlowReader:
                after = max(self._position, 0)

    def _end_of_past(self, merger: Merger | None) -> Iterator[Said]:
        """What stands at the end of a past that was told in short, the session's title included."""
        if merger is None:
            return
        yield from merger.end()
        if self.session.title is not None:
            title = {"sessionUpdate": "session_info_update", "title": self.session.title}
            yield Said(title, self._position, 0)

    async def _catch_up(self, begin: Begin) -> None:
        questions = await self._questions()
        if begin.answer is not None and begin.replay:
            await begin.answer(questions, (self._position, LAST))
        self._ready.set()
        await self._tell_commands()
        await self._asking.keep_only(set(questions.ids))
        for approval in questions.approvals:
            await self._asking.permission(Permission.of(approval))
        for request in questions.inputs:
            await self._asking.question(Question.of(request))

    async def _questions(self) -> OpenQuestions:
        try:
            return await self._platform.read(
                self._caller, open_questions, OneSession(self.session.session_id)
            )
        except NotFound:  # deleted meanwhile: what is left of it ends by itself
            return OpenQuestions((), ())

    async def _tell(self, event: Event, merger: Merger | None, *, live: bool) -> None:
        for said in await self._said(event, past=merger is not None):
            if self._skip is not None and said.place <= self._skip and not (merger and said.stands):
                continue
            for out in merger.add(said) if merger is not None else (said,):
                await self._send(out)
        if live:
            await self._ask(event)
        if projection.ends(event) and event.task_id is not None:
            await self._end(event)

    async def _said(self, event: Event, *, past: bool) -> Sequence[Said]:
        """The updates that an event is worth to this client."""
        task_id = None if event.task_id is None else str(event.task_id)
        if event.kind == "acp.update":
            return [
                Said(await self._completed(update), event.pos, index, task_id, meta, below)
                for index, update, meta, below in projection.posted(event)
                if self._takes(update)
            ]
        updates = [update async for update in self._worded(event, past)]
        return [Said(update, event.pos, index, task_id) for index, update in enumerate(updates)]

    async def _worded(self, event: Event, past: bool) -> AsyncIterator[projection.Update]:
        if event.kind == "task.message_sent":
            if event.data["role"] == "agent" or self._is_news(event.data["metadata"], past):
                for update in projection.message_of(event, await self._parts(event)):
                    yield update
        elif event.kind == "task.artifact_updated":
            for update in projection.artifact_of(event, await self._parts(event)):
                yield update
        elif event.kind in ("acp.session_configured", "acp.session_titled"):
            for update in await self._changed(event):
                yield update
        elif projection.begins(event) or projection.ends(event):
            turn = await self._turn(event)
            if projection.begins(event) and (past or projection.client_of(turn.task) != self._client_id):
                for update in projection.prompt_of(turn.task):
                    yield update
            if projection.ends(event):
                for update in projection.last_words(turn):
                    yield update
        elif projection.asks(event):
            question = Question.in_event(event)
            if not self._asking.shows(question):
                yield projection.chunk("agent", {"type": "text", "text": question.text}, f"q_{question.id}")

    async def _completed(self, update: projection.Update) -> projection.Update:
        """An agent's commands with the hub's own beside them; every other update as it is."""
        told = update.get("availableCommands")
        if update.get("sessionUpdate") != commands.UPDATE or not isinstance(told, list):
            return update
        return {
            **update,
            "availableCommands": await commands.with_playbooks(self._platform, self._caller, told),
        }

    async def _tell_commands(self) -> None:
        own = self.session.executor.get("commands") or ()
        offered = await commands.with_playbooks(self._platform, self._caller, own)
        if len(offered) > len(own):
            update = {"sessionUpdate": commands.UPDATE, "availableCommands": offered}
            await self._send(Said(update, self._position, 1))

    def _is_news(self, metadata: Mapping[str, Any], past: bool) -> bool:
        """Whether a message of the user is one that this client has not said itself, and no form's answer."""
        if metadata.get("input_id") is not None and "client" not in metadata:
            return False
        return past or metadata.get("client") != self._client_id

    def _takes(self, update: Mapping[str, Any]) -> bool:
        kind = update.get("sessionUpdate")
        if kind == "current_mode_update" and not options.is_mode(update.get("currentModeId")):
            return False  # of a mode that only the agent has, which this client has not been told of
        if kind == "config_option_update":
            return False  # the executor reports what it offers, and then all options are told together
        return self._client.takes(str(kind))

    async def _changed(self, event: Event) -> Sequence[projection.Update]:
        if event.kind == "acp.session_titled":
            return [{"sessionUpdate": "session_info_update", "title": event.data["title"]}]
        self.session = await self._platform.read(
            self._caller, get_session, OneSession(self.session.session_id)
        )
        offered = await config_options(self._platform, self._caller, self.session, self._client)
        updates: list[projection.Update] = [
            {"sessionUpdate": "config_option_update", "configOptions": offered}
        ]
        if event.data["option"] == "autonomy":
            mode = {"sessionUpdate": "current_mode_update", "currentModeId": self.session.autonomy}
            updates.insert(0, mode)
        return updates

    async def _ask(self, event: Event) -> None:
        data = event.data
        if event.kind == "approval.requested":
            if _asks(data, self._caller):
                await self._asking.permission(Permission.in_event(event))
        elif event.kind in ("approval.decided", "approval.expired"):
            await self._asking.settled(UUID(data["approval_id"]))
        elif event.kind == "task.message_sent" and data["metadata"].get("input_id") is not None:
            await self._asking.settled(UUID(data["metadata"]["input_id"]))
        elif projection.asks(event):
            if not await self._asking.question(Question.in_event(event)) and event.task_id is not None:
                await self._pause(event.task_id)
        elif (
            event.kind == "task.state_changed"
            and event.task_id is not None
            and data["to_state"] not in _RUNNING
        ):
            await self._asking.gone(event.task_id)

    async def _end(self, event: Event) -> None:
        task_id = event.task_id
        assert task_id is not None, "a turn is a task"
        if task_id not in self._waiters:
            return
        turn = await self._turn(event)
        self._position = event.pos
        await self._answer(task_id, projection.outcome(turn.task))

    async def _pause_unless_shown(self, task_id: UUID) -> None:
        questions = await self._questions()
        mine = [Question.of(found) for found in questions.inputs if found.task_id == task_id]
        if not any(self._asking.shows(question) for question in mine):
            await self._pause(task_id)

    async def _pause(self, task_id: UUID) -> None:
        """The turn waits for what the user says next, so it is the user's turn."""
        if task_id in self._waiters:
            turn = await self._platform.read(self._caller, look, OneTurn(task_id))
            if turn.task.state in ASKING:
                await self._answer(task_id, projection.pauses(turn.task))

    async def _answer(self, task_id: UUID, outcome: dict[str, Any] | RpcError) -> None:
        for call in self._waiters.pop(task_id, ()):
            if isinstance(outcome, RpcError):
                await call.fail(outcome)
            else:
                await call.respond(outcome)
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._leaving is not None and not self._waiters:
            left, self._leaving = self._leaving, None
            left()

    async def _turn(self, event: Event) -> Turn:
        assert event.task_id is not None, "a turn is a task"
        return await self._platform.read(self._caller, look, OneTurn(event.task_id))

    async def _parts(self, event: Event) -> Sequence[Mapping[str, Any]]:
        """The parts of a message or an artifact, which travel inside their event only when they are small."""
        parts: Sequence[Mapping[str, Any]] | None = event.data["parts"]
        if parts is not None or event.task_id is None:
            return parts or ()
        n = event.data["n"]
        if event.kind == "task.artifact_updated":
            chunk = GetChunk(event.task_id, event.data["artifact_id"], n)
            return await self._platform.read(self._caller, get_chunk, chunk)
        query = ListMessages(event.task_id, after=n - 1, limit=1)
        said = await self._platform.read(self._caller, list_messages, query)
        return said[0].parts if said else ()

    async def _send(self, said: Said) -> None:
        name = self.session.session_id
        await self._peer.notify("session/update", said.params(name), name)


def _generator(feed: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    assert isinstance(feed, AsyncGenerator), "core follows by generators, which must be closed"
    return feed


def _asks(data: Mapping[str, Any], caller: Caller) -> bool:
    """Whether a request for leave is put to this caller: named as its decider, or by the policy."""
    policy, decider = data.get("policy", {}), data["decider_id"]
    named = routed(policy) or decider == str(caller.principal_id)
    return named and open_to(policy, decider and UUID(decider), (), caller)
